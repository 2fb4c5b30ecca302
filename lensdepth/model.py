"""One wrapper for both TransformerLens lines: load a model, read it by depth, edit it.

Reach for `load_model` with a name or a folder, and for `DepthModel` with a model at hand:

    >>> model = load_model("calendar")
    >>> model.residual_stream("two months from January is").resid.shape  # depth batch pos d_model
    torch.Size([11, 1, 1, 128])
    >>> model.generate("two months from January is", max_new_tokens=1)
    'two months from January is March'

Weights are raw: norms not folded, nothing centred. Forward passes run in the model's dtype and
without gradients, batch by batch; what comes out is float32 and finite.

Any number of threads may use a model, its wrappers and its sweeps at once, and get what they would
get one after another: they take turns, pass by pass. `steer` holds in its own context alone.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import generation, metrics
from lensdepth.adoption import wrapped_once
from lensdepth.arguments import checked
from lensdepth.conversion import BackendChoice, convert
from lensdepth.fingerprints import fingerprint, model_configuration, tokenizer_fingerprint
from lensdepth.finite import NotFinite, advice, all_finite, first_row
from lensdepth.hooks import (
    SiteEdit,
    Stream,
    apply_edit,
    check_hook,
    depth_hook,
    site_hook,
)
from lensdepth.loading import load_checkpoint, parse_device, parse_dtype
from lensdepth.outside import outside, shown
from lensdepth.passes import Passes, weights_of
from lensdepth.polar import Edit
from lensdepth.provenance import Backend, ModelInfo
from lensdepth.readout import Readout
from lensdepth.residual import ResidualStream
from lensdepth.standing import (
    StandingEdit,
    StandingPositions,
    is_steered,
    standing,
    standing_positions,
)
from lensdepth.tokens import (
    Positions,
    Prompts,
    TokenBatch,
    has_double_bos,
    pad_tokens,
    resolve_positions,
    token_text,
)

logger = logging.getLogger(__name__)

MOST_SHOWN = 24
"""Tokens of a prompt that a warning spells out."""
STEERED = " (steered)"
"""Behind the name of a model while `steer` is at work."""
_LOADING = threading.Lock()
"""One model is loaded at a time: transformers changes torch's default dtype meanwhile."""
_N_CACHED: ContextVar[int] = ContextVar("n_cached", default=0)
"""Positions that stand in a key/value cache in front of those of the pass at work here."""


@checked
def load_model(
    name_or_path: str | Path,
    *,
    backend: BackendChoice = "auto",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "float32",
    name: str | None = None,
    trust_remote_code: bool = False,
    double_bos: bool = True,
) -> "DepthModel":
    """Load a decoder-only model with raw weights.

    Args:
        name_or_path: a bundled model ("calendar", "tiny"), a folder in Hugging Face format, or a
            name on the Hugging Face hub, tried in this order. An adapter beside the weights is
            merged into them, which needs peft.
        backend: `"auto"` takes HookedTransformer where the installed TransformerLens has it and
            it reproduces this model's Hugging Face logits, else the bridge. A HookedTransformer
            copies the weights: loading one takes the memory of two models.
        device: such as `"cpu"` or `"cuda:1"`; None takes a CUDA device where there is one.
        dtype: `"float32"`, `"float16"`, `"bfloat16"` or `"float64"`.
        name: what to call it in results.
        trust_remote_code: run code that comes with the model.
        double_bos: see `DepthModel`.
    Raises:
        ValueError: one line: no such model (the nearest names are offered), not a causal decoder,
            missing or damaged files, weights that are not finite, no such device or dtype, or a
            backend that cannot hold it.
    """
    if backend not in ("auto", "hooked", "bridge"):
        raise ValueError(
            f"load_model: backend must be 'auto', 'hooked' or 'bridge', got {backend!r}."
        )
    numbers = parse_dtype(dtype)
    # Weights that are made in inference mode can never be differentiated.
    with _LOADING, torch.inference_mode(False):
        checkpoint = load_checkpoint(
            name_or_path,
            device=parse_device(device),
            dtype=numbers,
            trust_remote_code=trust_remote_code,
        )
        model, _ = convert(checkpoint, backend, numbers)
    wrapped = DepthModel(
        model,
        tokenizer=checkpoint.tokenizer,
        name=name or checkpoint.name,
        double_bos=double_bos,
    )
    # The Hugging Face model gives the same fingerprints whichever backend holds it.
    wrapped._own_info = replace(
        wrapped._describe(checkpoint.fingerprint, checkpoint.configuration),
        architecture=checkpoint.architecture,
    )
    return wrapped


class DepthModel:
    """A decoder-only model seen by depth.

    Depth 0 is the input of block 0, depth d the output of block d - 1, and depth L = n_layers is
    what the final norm reads.

    Args:
        model: a HookedTransformer or a TransformerBridge, used as it is: processed weights stay
            processed, and `info.weights` says so.
        tokenizer: in place of the model's own. Without any, prompts are token ids.
        name: what to call it in results.
        double_bos: where a text begins with the BOS token and the tokenizer puts another in front,
            read both, and say so once; False reads one.
    Raises:
        TypeError: the model is of neither class.
        ValueError: it is not a causal decoder with a residual stream.
    """

    @checked
    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        name: str | None = None,
        double_bos: bool = True,
    ) -> None:
        self.passes = Passes(model)
        self.model = model
        self.backend: Backend = self.passes.backend
        self.tokenizer: Any = getattr(model, "tokenizer", None) if tokenizer is None else tokenizer
        self.n_layers: int = model.cfg.n_layers
        self.d_model: int = model.cfg.d_model
        self.d_vocab: int = model.cfg.d_vocab
        self.n_ctx: int = model.cfg.n_ctx
        self.device: torch.device = self.passes.device
        self.dtype: torch.dtype = self.passes.dtype
        self.double_bos = double_bos
        """Whether a second BOS token, in front of one in the text, is kept."""
        self._name = name or str(getattr(model.cfg, "model_name", "custom"))
        self.hook_points: Mapping[str, Any] = self.passes.hook_points
        """TransformerLens's hook points by name."""
        self._depth_hooks = [depth_hook(depth, self.n_layers) for depth in range(self.n_layers + 1)]
        self._warned: set[str] = set()
        self.replay_checked: dict[str, int] = {}
        """Streams at which the replay engine was compared with plain hooks, the longest prompts
        of those comparisons, and how many functions were attached to the model then."""
        if getattr(model.cfg, "attention_dir", "causal") != "causal":
            raise ValueError(f"DepthModel: {self._name!r} attends in both directions.")
        absent = [hook for hook in self._depth_hooks if hook not in self.hook_points]
        if absent or not hasattr(model, "unembed"):
            raise ValueError(
                f"DepthModel: {self._name!r} is no decoder with a residual stream that "
                f"TransformerLens names: it lacks {(absent or ['unembed'])[0]}."
            )
        self._readout = Readout(self.passes, self._depth_hooks[-1])

    @classmethod
    def adopt(cls, model: Any) -> "DepthModel | None":
        """The wrapper of a TransformerLens model, made once and kept with it; None of all else."""
        return wrapped_once(model, cls)

    @property
    def info(self) -> ModelInfo:
        """What a number measured on this model depends on; the fingerprint is taken only once.

        While edits stand here (`steer`), the name says so.
        """
        own = self._own_info
        return replace(own, name=own.name + STEERED) if is_steered(self.passes.lock) else own

    @cached_property
    def _own_info(self) -> ModelInfo:
        return self._describe(fingerprint(self.model.state_dict()), model_configuration(self.model))

    @property
    def _n_cached(self) -> int:
        return _N_CACHED.get()

    def _describe(self, weights: str, configuration: str) -> ModelInfo:
        cfg = self.model.cfg
        kind = str(getattr(cfg, "normalization_type", None) or "none").removesuffix("Pre")
        return ModelInfo(
            name=self._name,
            architecture=str(
                getattr(cfg, "architecture", None)
                or getattr(cfg, "original_architecture", None)
                or type(self.model).__name__
            ),
            backend=self.backend,
            weights=weights_of(self.model),
            n_layers=self.n_layers,
            d_model=self.d_model,
            d_vocab=self.d_vocab,
            n_heads=cfg.n_heads,
            n_ctx=self.n_ctx,
            normalization=kind if kind in ("LN", "RMS") else "none",
            dtype=str(self.dtype).removeprefix("torch."),
            device=str(self.device),
            fingerprint=weights,
            configuration=configuration,
            tokenizer="" if self.tokenizer is None else tokenizer_fingerprint(self.tokenizer),
            double_bos=self.double_bos,
        )

    def check_edit(self, edit: SiteEdit, batch: TokenBatch, *, caller: str) -> SiteEdit:
        """The edit with positions from the start, once it fits the model and the batch.

        Raises:
            ValueError: there is no such hook or head, a position lies outside its prompt, or there
                is not one source per prompt.
        """
        check_hook(self.hook_points, edit.hook)
        if edit.source is not None and len(edit.source) != len(batch):
            raise ValueError(
                f"{caller}: one source state per prompt is needed, "
                f"got {len(edit.source)} for {len(batch)} prompts."
            )
        self._check_head(edit.hook, edit.head, caller)
        return replace(edit, positions=resolve_positions(batch, edit.positions)[:, 0])

    def _check_head(self, hook: str, head: int | None, caller: str) -> None:
        n_heads = self.model.cfg.n_heads if hook.endswith(".hook_z") else 0
        if head is not None and not 0 <= head < n_heads:
            there = f"heads are 0...{n_heads - 1}" if n_heads else "there are no heads"
            raise ValueError(f"{caller}: the edit at {hook!r} names head {head}; {there}.")

    def check_weights(self) -> None:
        """Refuse weights that became NaN or infinite; one pass over them, no forward pass.

        Raises:
            ValueError: with the name of the first such weight.
        """
        named = dict(self.model.named_parameters())
        # A sum is not finite where a summand is not, and costs no more than reading the weight.
        sums = torch.stack([metrics.widen(w.detach()).sum().double().cpu() for w in named.values()])
        wrong = (~sums.isfinite()).nonzero()[:, 0].tolist()
        if wrong:
            name = list(named)[wrong[0]]
            raise ValueError(
                f"{self._name!r}: weight {name} holds NaN or infinite numbers "
                f"({len(wrong)} of {len(named)} weights do); load the model anew."
            )

    @checked
    @contextmanager
    def differentiating(self, caller: str) -> Iterator[None]:
        """With gradients, whatever mode the caller is in.

        Raises:
            ValueError: the weights were made in inference mode, which forbids it for good.
        """
        if any(weight.is_inference() for weight in self.model.parameters()):
            raise ValueError(
                f"{caller}: {self._name!r} was made inside torch.inference_mode(), so nothing can "
                f"be differentiated through it; make or load it outside."
            )
        with torch.inference_mode(False), torch.enable_grad():
            yield

    def warn_once(self, topic: str, message: str) -> None:
        """Log a warning about this model, the first time that its topic comes up."""
        if topic not in self._warned:
            self._warned.add(topic)
            logger.warning("%s: %s", self._name, message)

    @checked
    def tokenize(self, prompts: Prompts) -> TokenBatch:
        """Prompts as one right-padded batch.

        Texts get the special tokens that the tokenizer itself adds; token ids are taken as given.

        Raises:
            ValueError: a prompt is empty, too long or holds a token id out of range, or there is
                no tokenizer for text.
        """
        if isinstance(prompts, TokenBatch):
            batch = TokenBatch(
                tokens=_ordinary(prompts.tokens.cpu()), lengths=_ordinary(prompts.lengths.cpu())
            )
        else:
            given = [prompts] if isinstance(prompts, str) else list(prompts)
            rows = [self._ids(prompt, i) for i, prompt in enumerate(given)]
            self._warn_of_unknown(given, rows)
            # Padding is never read; a token of the prompt is one that every model takes.
            batch = pad_tokens(rows, pad_id=rows[0][0] if rows else 0)
        longest = int(batch.lengths.max())
        if longest > self.n_ctx:
            raise ValueError(
                f"tokenize: prompt {int(batch.lengths.argmax())} has {longest} tokens; "
                f"{self._name!r} reads at most {self.n_ctx}."
            )
        used = batch.tokens[batch.mask]
        wrong = used[(used < 0) | (used >= self.d_vocab)]
        if len(wrong):
            raise ValueError(
                f"tokenize: token id {int(wrong[0])} is out of range; "
                f"{self._name!r} has {self.d_vocab} tokens."
            )
        return batch

    def _ids(self, prompt: str | Sequence[int] | Tensor, index: int) -> list[int]:
        if not isinstance(prompt, str):
            ids = [int(token) for token in prompt]
        elif self.tokenizer is None:
            raise ValueError("tokenize: this model has no tokenizer; give token ids, not text.")
        elif not prompt.strip():
            ids = []
        else:
            with outside(f"tokenize: prompt {index}, {shown(prompt)}, cannot be tokenized"):
                ids = list(self.tokenizer(prompt)["input_ids"])
            if has_double_bos(self.tokenizer, prompt, ids):
                ids = self._of_double_bos(prompt, ids)
        if not ids:
            raise ValueError(f"tokenize: prompt {index} is empty.")
        return ids

    def _of_double_bos(self, prompt: str, ids: list[int]) -> list[int]:
        """What is read of a text with a BOS token in front of its own."""
        if not self.double_bos:
            return ids[1:]
        self.warn_once(
            "double_bos",
            f"the prompt {shown(prompt)} begins with {self.token_text(ids[0])}, and the tokenizer "
            f"puts another in front; both are read. double_bos=False (--single-bos) reads one.",
        )
        return ids

    def _warn_of_unknown(self, prompts: Sequence[Any], rows: Sequence[list[int]]) -> None:
        """Say once a batch what a closed vocabulary lacks: the model reads nothing of it."""
        tokenizer = self.tokenizer
        unknown = getattr(tokenizer, "unk_token_id", None)
        if unknown is None or unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id):
            return  # GPT-2 calls its one special token unknown too, and never uses it as such
        for prompt, ids in zip(prompts, rows, strict=True):
            if isinstance(prompt, str) and unknown in ids:
                shown = " ".join(self.token_text(token) for token in ids[:MOST_SHOWN])
                logger.warning(
                    "%r does not know every word of %r and reads %s there: %s",
                    self._name,
                    prompt if len(prompt) <= 8 * MOST_SHOWN else prompt[: 8 * MOST_SHOWN] + "…",
                    tokenizer.unk_token,
                    shown if len(ids) <= MOST_SHOWN else f"{shown} …",
                )
                return

    def token_text(self, token: int) -> str:
        """What one token stands for, its leading space included."""
        if self.tokenizer is None:
            return str(token)
        return token_text(self.tokenizer, token)

    @checked
    def str_tokens(self, prompt: str | Sequence[int]) -> list[str]:
        """The tokens of one prompt, special ones included, as text."""
        return [self.token_text(token) for token in self.tokenize([prompt]).row(0)]  # type: ignore[list-item]

    @checked
    def residual_stream(
        self, prompts: Prompts, positions: Positions = "last", *, batch_size: int | None = None
    ) -> ResidualStream:
        """Residual states at every depth, at the asked positions alone.

        The forward pass ends at the last block: nothing is unembedded.

        Args:
            prompts: texts, token ids or a batch.
            positions: `"last"`, `"all"`, or indices, one or several per prompt; negative ones
                count from each prompt's own end.
            batch_size: prompts in one forward pass; None bounds the tokens in it.
        """
        batch = self.tokenize(prompts)
        asked = resolve_positions(batch, positions)
        resid = torch.zeros(self.n_layers + 1, *asked.shape, self.d_model, dtype=torch.float32)
        for rows in self.passes.batches(batch, batch_size):
            kept = self._captured(batch[rows], self._depth_hooks, asked[rows])
            for depth, hook in enumerate(self._depth_hooks):
                resid[depth, rows] = kept[hook].to(device="cpu", dtype=torch.float32)
        resid[:, asked < 0] = 0
        return ResidualStream(resid=resid, positions=asked, tokens=batch, info=self.info)

    @checked
    def activations(
        self,
        prompts: Prompts,
        hooks: Sequence[str],
        positions: Positions = "last",
        *,
        batch_size: int | None = None,
    ) -> Float[Tensor, "hook batch pos d_hook"]:
        """Activations at some hooks, at the asked positions, float32, on the CPU.

        Args:
            prompts: texts, token ids or a batch.
            hooks: full hook names of one width, in any order; `z` comes with its heads side by
                side.
            positions: as for `residual_stream`; what stands beyond a prompt's end is 0.
            batch_size: prompts in one forward pass; None bounds the tokens in it.
        Raises:
            ValueError: there is no such hook or position, none was asked for, or what is there
                has no positions or another width.
            RuntimeError: a hook never ran.
        """
        batch = self.tokenize(prompts)
        asked = resolve_positions(batch, positions)
        if not hooks:
            raise ValueError("activations: hooks must be a list of hook names, got none.")
        for hook in hooks:
            check_hook(self.hook_points, hook)
        parts = []
        for rows in self.passes.batches(batch, batch_size):
            kept = self._captured(batch[rows], hooks, asked[rows])
            flat = [kept[hook].flatten(2).float().cpu() for hook in hooks]
            widths = [part.shape[-1] for part in flat]
            if len(set(widths)) > 1:
                raise ValueError(
                    f"activations: hooks of one width are needed, got "
                    f"{', '.join(f'{h} ({w})' for h, w in zip(hooks, widths, strict=True))}. Ask "
                    f"for each width by itself."
                )
            parts.append(torch.stack(flat))
        found = torch.cat(parts, dim=1)
        found[:, asked < 0] = 0
        return found

    @checked
    def readout(
        self,
        resid: Float[Tensor, "*shape d_model"],
        columns: Int[Tensor, "*shape column"] | None = None,
        *,
        grad: bool = False,
        linear: bool = False,
    ) -> Float[Tensor, "*shape d_vocab"] | Float[Tensor, "*shape column"]:
        """Logits of residual states, by the model's own final norm, unembedding, bias, cap, scale.

        The norm's statistics are those of each state. States are taken to the model's dtype for
        the norm and the unembedding (so states that the model itself made lose nothing), and
        logits to float32 before cap and scale. They lie on the device on which `resid` lies.

        Args:
            resid: states.
            columns: token ids, as many for each state, if only their logits are wanted: that is
                far less work than the whole vocabulary.
            grad: let gradients pass to the states.
            linear: the logits as the unembedding gives them, before cap and scale.
        Raises:
            ValueError: states of another width, a token id out of range, or numbers that are not
                finite (`NotFinite`).
            RuntimeError: at depth L this does not reproduce the model's own logits (checked once).
        """
        if resid.shape[-1] != self.d_model:
            raise ValueError(
                f"readout: the last axis of resid must be d_model, {self.d_model}, got shape "
                f"{list(resid.shape)}."
            )
        if columns is not None and ((columns < 0) | (columns >= self.d_vocab)).any():
            raise ValueError(
                f"readout: columns must be token ids 0...{self.d_vocab - 1}, got "
                f"{int(columns.min())} to {int(columns.max())}."
            )
        self._readout.check(self._name)
        return self._readout.read(resid, columns, grad=grad, linear=linear)

    def unembedding(
        self,
    ) -> tuple[Float[Tensor, "d_vocab d_model"], Float[Tensor, " d_vocab"] | None]:
        """The unembedding as the model holds it, a row a token, and its bias if it has one.

        Raises:
            ValueError: the model reads its logits by something that is no plain matrix.
        """
        if not self._readout.columns_fit:
            raise ValueError(
                f"unembedding: {self._name!r} reads its logits by something other than one matrix "
                f"and a bias, so they cannot be split into parts."
            )
        return self.passes.unembedding()

    @checked
    def attention(
        self, prompts: Prompts, layers: Sequence[int], *, batch_size: int | None = None
    ) -> Float[Tensor, "layer batch head query key"]:
        """Attention probabilities of some blocks, float32, on the CPU.

        What lies beyond a prompt's own end, as query or as key, is NaN.

        Args:
            prompts: texts, token ids or a batch.
            layers: block numbers.
            batch_size: prompts in one forward pass; None bounds the tokens in it.
        Raises:
            ValueError: there is no such hook.
            RuntimeError: a hook never ran.
        """
        batch = self.tokenize(prompts)
        hooks = [f"blocks.{layer}.attn.hook_pattern" for layer in layers]
        n_pos, n_heads = batch.tokens.shape[1], self.model.cfg.n_heads
        found = torch.full(
            (len(hooks), len(batch), n_heads, n_pos, n_pos), torch.nan, dtype=torch.float32
        )
        for rows in self.passes.batches(batch, batch_size):
            kept = self.passes.capture_whole(batch[rows], hooks)
            for i, hook in enumerate(hooks):
                width = kept[hook].shape[-1]
                found[i, rows, :, :width, :width] = kept[hook]
        real = batch.mask[:, None, :, None] & batch.mask[:, None, None, :]
        # HookedTransformer puts 0 where scores are NaN: a token that looks nowhere at all.
        seen = torch.where(real, found, 0.0).sum(-1)
        blank = ~(seen > 0) & batch.mask[:, None, :]
        if blank.any():
            raise self.not_finite(batch, int(blank.nonzero()[0, 1]))
        return torch.where(real, found, torch.nan)

    @checked
    def logits(
        self, prompts: Prompts, positions: Positions = "last", *, batch_size: int | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Next-token logits at the asked positions, float32, on the CPU.

        With `"all"`, what stands beyond a prompt's end is 0.
        """
        batch = self.tokenize(prompts)
        return next(self.run_edits(batch, [()], positions=positions, batch_size=batch_size))

    @checked
    def log_probs(
        self, prompts: Prompts, positions: Positions = "last", *, batch_size: int | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Next-token log-probabilities at the asked positions, in nats, float32, on the CPU."""
        return self.logits(prompts, positions, batch_size=batch_size).log_softmax(-1)

    @checked
    def run_edits(
        self,
        batch: TokenBatch,
        edit_sets: Iterable[Sequence[SiteEdit]],
        *,
        positions: Positions = "last",
        batch_size: int | None = None,
    ) -> Iterator[Float[Tensor, "batch pos d_vocab"]]:
        """One run per set of edits: logits at the asked positions, float32, on the CPU.

        All edits of a set act in one forward pass, later ones on what earlier ones produced.
        Large batches run in parts, and an edit sees one part at a time: what differs from prompt
        to prompt belongs in its `source`.

        Args:
            batch: the base prompts.
            edit_sets: what to change in each run; an empty set is a plain run.
            positions: where to read the logits.
            batch_size: prompts in one forward pass; None bounds the tokens in it.
        Raises:
            ValueError: there is no such hook or position, or there is not one source per prompt.
            RuntimeError: an edit never ran.
        """
        batch = self.tokenize(batch)
        asked = resolve_positions(batch, positions)
        last = self.n_layers
        for edits in edit_sets:
            checked = [self.check_edit(edit, batch, caller="run_edits") for edit in edits]
            out = torch.zeros(*asked.shape, self.d_vocab, dtype=torch.float32)
            for rows in self.passes.batches(batch, batch_size):
                mine = [edit.of(rows) for edit in checked]
                state = self.edited_states(batch[rows], mine, [last], asked[rows])[0]
                try:
                    out[rows] = self.readout(state).cpu()
                except NotFinite as error:
                    row = error.row // asked.shape[1]
                    raise self.not_finite(batch[rows], row, edits=mine) from error
            out[asked < 0] = 0
            yield out

    @checked
    def edited_states(
        self,
        batch: TokenBatch,
        edits: Sequence[SiteEdit],
        depths: Sequence[int],
        positions: Int[Tensor, "batch pos"],
        *,
        grad: bool = False,
    ) -> Float[Tensor, "depth batch pos d_model"]:
        """Residual states of one edited run, in the model's dtype and on its device.

        One forward pass that ends at the deepest of `depths`; the plain way, hook by hook.

        Args:
            batch: the base prompts.
            edits: acting at or before the deepest depth, as `check_edit` gives them.
            depths: in ascending order.
            positions: indices from each prompt's start.
            grad: let gradients pass from the edits' sources.
        """
        # What enters a block has been through every edit at that depth.
        hooks = [
            self._depth_hooks[depth] if depth == self.n_layers else site_hook("resid_pre", depth)
            for depth in depths
        ]
        kept = self._captured(batch, hooks, positions, edits=edits, grad=grad)
        return torch.stack([kept[hook] for hook in hooks])

    def _captured(
        self,
        batch: TokenBatch,
        hooks: Sequence[str],
        positions: Int[Tensor, "batch pos"],
        *,
        edits: Sequence[SiteEdit] = (),
        grad: bool = False,
        cache: Any = None,
    ) -> dict[str, Tensor]:
        """`Passes.capture`, whose numbers are finite at real positions.

        Raises:
            NotFinite: they are not.
        """
        kept = self.passes.capture(batch, hooks, positions, edits=edits, grad=grad, cache=cache)
        for states in kept.values():
            if not all_finite(states):
                real = torch.where(
                    positions.to(states.device)[..., None] >= 0, states.flatten(2), 0
                )
                if not real.isfinite().all():
                    raise self.not_finite(batch, first_row(real), edits=edits)
        return kept

    @checked
    def not_finite(
        self,
        batch: TokenBatch,
        row: int,
        *,
        edits: Sequence[SiteEdit] = (),
        reading: int | None = None,
    ) -> NotFinite:
        """The error about a run that gave NaN or infinite numbers: where they begin, in words.

        The prompt is run once more by itself, without edits, and looked at everywhere.

        Args:
            batch: the prompts of the run.
            row: the first prompt concerned.
            edits: what was changed in that run.
            reading: the depth at which logits, and not states, came out so.
        """
        one = batch[torch.tensor([row])]
        ids = one.row(0)
        text = str(ids) if self.tokenizer is None else self.tokenizer.decode(ids)
        of = f"of the prompt {shown(text)}"
        everywhere = torch.arange(len(ids))[None]
        kept = self.passes.capture(one, self._depth_hooks, everywhere)
        wrong = torch.stack([~kept[hook][0].isfinite().all(-1) for hook in self._depth_hooks])
        if wrong.any():
            depth, at = wrong.nonzero()[0].tolist()
            where = (
                f"the residual stream is not finite from depth {depth} of {self.n_layers} on, "
                f"first at token {at} ({shown(self.token_text(ids[at]))}) {of}"
            )
        elif edits:
            where = (
                f"what is put in at {edits[0].hook} makes the run {of} not finite, which is finite "
                f"without; look for NaN in what is put in, or change less"
            )
        elif len(ids) < batch.tokens.shape[1] and not self._overflows(kept):
            # A weight of 0 in attention does not keep NaN out: 0 times NaN is NaN.
            where = (
                f"the run {of} is finite by itself and not beside longer prompts, since what pads "
                f"it is not; give it one at a time, or pad with another token"
            )
        elif reading is not None and reading < self.n_layers:
            where = f"the logits read at depth {reading} are not finite {of}"
        else:
            where = f"the states are finite and the logits read from depth {self.n_layers} are "
            where += f"not, {of}"
        dtype = str(self.dtype).removeprefix("torch.")
        return NotFinite(f"{self.info.name!r} in {dtype}: {where}. {advice(self.dtype)}", row=row)

    def _overflows(self, kept: Mapping[str, Tensor]) -> bool:
        """Whether logits of finite last states are not finite."""
        try:
            self._readout.read(kept[self._depth_hooks[-1]], None, grad=False, linear=False)
        except NotFinite:
            return True
        return False

    def embedded(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        """What enters block 0 at every position, in the model's dtype and on its device."""
        n_prompts, n_pos = tokens.shape
        batch = TokenBatch(tokens=tokens.cpu(), lengths=torch.full((n_prompts,), n_pos))
        everywhere = torch.arange(n_pos).expand(n_prompts, -1)
        return self.edited_states(batch, (), [0], everywhere)[0]

    @checked
    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 20,
        temperature: float = 0.0,
        seed: int = 0,
        use_cache: bool = True,
    ) -> str:
        """The prompt and what the model continues it with.

        With a cache each new token runs one position. The first and the last such step are
        compared with plain passes; where they differ, or the model has no cache, it says so once
        and the text is made without.

        Args:
            prompt: the text to continue.
            max_new_tokens: fewer if the model ends its text or its context is full.
            temperature: 0 takes the most likely token each time; higher ones sample.
            seed: of the sampling.
            use_cache: keep keys and values from token to token.
        Raises:
            ValueError: more than one prompt, a number of tokens or a temperature that is none.
        """
        if not isinstance(prompt, str):
            raise ValueError(
                f"generate: one prompt as text is needed, got {type(prompt).__name__}."
            )
        if not isinstance(max_new_tokens, int) or max_new_tokens < 0:
            raise ValueError(
                f"generate: max_new_tokens must be a whole number, 0 or more, got {max_new_tokens}."
            )
        if not 0 <= temperature < float("inf"):
            raise ValueError(f"generate: temperature must be 0 or more, got {temperature}.")
        ids = self.tokenize(prompt).row(0)
        longest = min(len(ids) + max_new_tokens, self.n_ctx)
        end = getattr(self.tokenizer, "eos_token_id", None)

        def plain(ids: Sequence[int]) -> Float[Tensor, " d_vocab"]:
            return self.logits([list(ids)])[0, 0]

        def extended(next_logits: generation.NextLogits) -> list[int]:
            choose = generation.sampler(temperature, seed)
            return generation.continue_tokens(ids, longest, next_logits, choose, end)

        whole = None
        if use_cache and longest > len(ids) + 1:  # one token is one pass in any case
            tolerance = generation.TOLERANCE.get(self.dtype, 1e-4)
            try:
                cached = generation.CachedLogits(plain, self._cached_step(), tolerance)
                whole = extended(cached)
                cached.check_last()
            except generation.Uncacheable as reason:
                whole = None
                self.warn_once("cache", f"text is generated without a cache, since {reason}.")
        if whole is None:
            whole = extended(plain)
        # What the tokenizer makes of its own ids, less the prompt's part, keeps the prompt as is.
        text, given = (
            self.tokenizer.decode(part, skip_special_tokens=True)
            for part in (whole, whole[: len(ids)])
        )
        return prompt + text[len(given) :]

    @contextmanager
    @checked
    def steer(
        self,
        edit: Edit,
        *,
        depths: int | Sequence[int],
        positions: StandingPositions = "all",
        source: Float[Tensor, "*depth d_source"] | None = None,
        stream: Stream = "resid_pre",
        head: int | None = None,
    ) -> Iterator["DepthModel"]:
        """Let an edit act in every forward pass of the model, until the context is left.

            >>> with model.steer(polar.add(4.0), depths=[5], source=vector) as steered:
            ...     steered.generate("two months from January is")

        Whatever reads the model in this context sees it steered; other threads see it as it is,
        unless they run in a copy of this context (`contextvars.copy_context().run`). Contexts
        nest: at one hook, inner ones act on what outer ones produced. Texts are generated by this
        class alone: a cache that it does not know would shift the positions.

        Args:
            edit: from `lensdepth.polar`, or any function of base and source states; it treats
                each state by itself and alike in every pass.
            depths: depths 0...L at stream `"resid_pre"`, else blocks.
            positions: `"all"`, or indices or a slice from the start of each text, prompt and
                generated tokens alike.
            source: one state for all depths, or one for each of `depths`; None for edits that
                need nothing.
            stream: where in the block.
            head: at stream `"z"`, the one head to edit; None edits all heads side by side.
        Raises:
            ValueError: an argument does not fit the model; before anything is attached.
            RuntimeError: on leaving, forward passes ran and the edit never acted.
        """
        edits = self._standing_edits(edit, depths, positions, source, stream, head)
        self._readout.check(self._name)  # of the model as it is
        with standing(
            self.hook_points,
            edits,
            last=self._depth_hooks[-1],
            n_cached=_N_CACHED.get,
            resid_mid_is_branch=self.backend == "bridge",
            lock=self.passes.lock,
            elsewhere=self._say_steered_elsewhere,
        ):
            yield self

    def _say_steered_elsewhere(self) -> None:
        self.warn_once(
            "elsewhere",
            "it is steered in another context; this one sees it as it is. To carry steering into "
            "a thread, run what it does by contextvars.copy_context().run.",
        )

    def _standing_edits(
        self,
        edit: Edit,
        depths: int | Sequence[int],
        positions: StandingPositions,
        source: Tensor | None,
        stream: Stream,
        head: int | None,
    ) -> list[StandingEdit]:
        asked = [depths] if isinstance(depths, int) else list(depths)
        if not asked or len(set(asked)) < len(asked):
            raise ValueError(f"steer: depths must be one at least, and each once; got {asked}.")
        hooks = [
            depth_hook(depth, self.n_layers) if stream == "resid_pre" else site_hook(stream, depth)
            for depth in asked
        ]
        for hook in hooks:
            check_hook(self.hook_points, hook)
            self._check_head(hook, head, "steer")
        d_source = self.d_model
        if stream == "z":
            d_source = self.model.cfg.d_head * (self.model.cfg.n_heads if head is None else 1)
        if source is not None:
            if tuple(source.shape) not in ((d_source,), (len(asked), d_source)):
                raise ValueError(
                    f"steer: source must have shape [{d_source}] or, for {len(asked)} depths, "
                    f"[{len(asked)}, {d_source}]; got {list(source.shape)}."
                )
            if not source.isfinite().all():
                raise ValueError("steer: source holds NaN or infinite numbers; give finite ones.")
            source = source.expand(len(asked), d_source)
        places = standing_positions(positions, self.n_ctx)
        edits = [
            StandingEdit(
                hook=hook,
                positions=places,
                edit=edit,
                source=None if source is None else source[i],
                head=head,
            )
            for i, hook in enumerate(hooks)
        ]
        # An edit that lacks its source, or gives another shape, fails here and not in mid-pass.
        probe = replace(edits[0].of(torch.zeros(1, dtype=torch.long)), head=None)
        apply_edit(
            probe, torch.ones(1, d_source, device=self.device, dtype=torch.float32), probe.source
        )
        return edits

    def _cached_step(self) -> generation.CachedStep:
        """Passes on one text that go on where the last one ended.

        Raises:
            Uncacheable: when it runs, the model keeps no keys and values.
        """
        last = self._depth_hooks[-1]
        cache: Any = None

        def step(ids: Sequence[int], n_cached: int) -> Float[Tensor, " d_vocab"]:
            nonlocal cache
            tokens = torch.tensor([list(ids)])
            if cache is None:
                logits, cache = self.passes.start_cache(tokens[:, :1])
                if cache is None:
                    raise generation.Uncacheable("it keeps no keys and values")
                if len(ids) == 1:
                    return logits
                tokens, n_cached = tokens[:, 1:], 1
            batch = TokenBatch(tokens=tokens, lengths=torch.tensor([tokens.shape[1]]))
            before = _N_CACHED.set(n_cached)
            try:
                kept = self._captured(batch, [last], batch.last[:, None], cache=cache)
            finally:
                _N_CACHED.reset(before)
            return self.readout(kept[last][0, 0]).cpu()

        return step


def _ordinary(x: Tensor) -> Tensor:
    """The same numbers, of which a gradient may make use even if inference mode made them."""
    return x.clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x
