"""One wrapper for both TransformerLens lines: load a model, read it by depth, edit it.

Reach for `load_model` with a name or a folder, and for `DepthModel` with a model at hand:

    >>> model = load_model("calendar")
    >>> model.residual_stream("two months from January is").resid.shape  # depth batch pos d_model
    torch.Size([11, 1, 1, 128])
    >>> model.generate("two months from January is", max_new_tokens=1)
    'two months from January is March'

Weights are raw: norms not folded, nothing centred. Forward passes run in the model's dtype and
without gradients, batch by batch; what comes out is float32.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import generation, metrics
from lensdepth.conversion import BackendChoice, convert
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
from lensdepth.standing import StandingEdit, StandingPositions, standing, standing_positions
from lensdepth.tokens import Positions, Prompts, TokenBatch, pad_tokens, resolve_positions
from lensdepth.weights import fingerprint

logger = logging.getLogger(__name__)

MOST_SHOWN = 24
"""Tokens of a prompt that a warning spells out."""
STEERED = " (steered)"
"""Behind the name of a model while `steer` is at work."""


def load_model(
    name_or_path: str | Path,
    *,
    backend: BackendChoice = "auto",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "float32",
    name: str | None = None,
    trust_remote_code: bool = False,
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
    checkpoint = load_checkpoint(
        name_or_path,
        device=parse_device(device),
        dtype=numbers,
        trust_remote_code=trust_remote_code,
    )
    model, _ = convert(checkpoint, backend, numbers)
    wrapped = DepthModel(model, tokenizer=checkpoint.tokenizer, name=name or checkpoint.name)
    # The Hugging Face weights give the same fingerprint whichever backend holds them.
    wrapped.info = replace(
        wrapped._describe(checkpoint.fingerprint), architecture=checkpoint.architecture
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
    Raises:
        TypeError: the model is of neither class.
        ValueError: it is not a causal decoder with a residual stream.
    """

    def __init__(self, model: Any, *, tokenizer: Any = None, name: str | None = None) -> None:
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
        self._name = name or str(getattr(model.cfg, "model_name", "custom"))
        self.hook_points: Mapping[str, Any] = self.passes.hook_points
        """TransformerLens's hook points by name."""
        self._depth_hooks = [depth_hook(depth, self.n_layers) for depth in range(self.n_layers + 1)]
        self._n_cached = 0
        """Positions that stand in a key/value cache in front of those of the pass at work."""
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

    @cached_property
    def info(self) -> ModelInfo:
        """What a number measured on this model depends on; the fingerprint is taken only once."""
        return self._describe(fingerprint(self.model.state_dict()))

    def _describe(self, digest: str) -> ModelInfo:
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
            fingerprint=digest,
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

    def warn_once(self, topic: str, message: str) -> None:
        """Log a warning about this model, the first time that its topic comes up."""
        if topic not in self._warned:
            self._warned.add(topic)
            logger.warning("%s: %s", self._name, message)

    def tokenize(self, prompts: Prompts) -> TokenBatch:
        """Prompts as one right-padded batch.

        Texts get the special tokens that the tokenizer itself adds; token ids are taken as given.

        Raises:
            ValueError: a prompt is empty, too long or holds a token id out of range, or there is
                no tokenizer for text.
        """
        if isinstance(prompts, TokenBatch):
            batch = TokenBatch(tokens=prompts.tokens.cpu(), lengths=prompts.lengths.cpu())
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
        if not ids:
            raise ValueError(f"tokenize: prompt {index} is empty.")
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
        text = self.tokenizer.decode([token])
        piece = self.tokenizer.convert_ids_to_tokens(token)
        # SentencePiece drops the space of a first word when it decodes.
        return f" {text}" if str(piece).startswith("▁") and not text.startswith(" ") else text

    def str_tokens(self, prompt: str | Sequence[int]) -> list[str]:
        """The tokens of one prompt, special ones included, as text."""
        return [self.token_text(token) for token in self.tokenize([prompt]).row(0)]  # type: ignore[list-item]

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
        resid = torch.zeros(self.n_layers + 1, *asked.shape, self.d_model)
        for rows in self.passes.batches(batch, batch_size):
            kept = self.passes.capture(batch[rows], self._depth_hooks, asked[rows])
            for depth, hook in enumerate(self._depth_hooks):
                resid[depth, rows] = kept[hook].to(device="cpu", dtype=torch.float32)
        resid[:, asked < 0] = 0
        return ResidualStream(resid=resid, positions=asked, tokens=batch, info=self.info)

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
            hooks: full hook names of one stream; `z` comes with its heads side by side.
            positions: as for `residual_stream`; what stands beyond a prompt's end is 0.
            batch_size: prompts in one forward pass; None bounds the tokens in it.
        Raises:
            ValueError: there is no such hook or position.
            RuntimeError: a hook never ran.
        """
        batch = self.tokenize(prompts)
        asked = resolve_positions(batch, positions)
        for hook in hooks:
            check_hook(self.hook_points, hook)
        # The last one ends the pass, so they go in the order in which the model reaches them.
        ordered = sorted(hooks, key=_block_of)
        parts = []
        for rows in self.passes.batches(batch, batch_size):
            kept = self.passes.capture(batch[rows], ordered, asked[rows])
            parts.append(torch.stack([kept[hook].flatten(2).float().cpu() for hook in hooks]))
        found = torch.cat(parts, dim=1)
        found[:, asked < 0] = 0
        return found

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
            RuntimeError: at depth L this does not reproduce the model's own logits (checked once).
        """
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
        found = torch.full((len(hooks), len(batch), n_heads, n_pos, n_pos), torch.nan)
        for rows in self.passes.batches(batch, batch_size):
            kept = self.passes.capture_whole(batch[rows], hooks)
            for i, hook in enumerate(hooks):
                width = kept[hook].shape[-1]
                found[i, rows, :, :width, :width] = kept[hook]
        real = batch.mask[:, None, :, None] & batch.mask[:, None, None, :]
        return torch.where(real, found, torch.nan)

    def logits(
        self, prompts: Prompts, positions: Positions = "last", *, batch_size: int | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Next-token logits at the asked positions, float32, on the CPU.

        With `"all"`, what stands beyond a prompt's end is 0.
        """
        batch = self.tokenize(prompts)
        return next(self.run_edits(batch, [()], positions=positions, batch_size=batch_size))

    def log_probs(
        self, prompts: Prompts, positions: Positions = "last", *, batch_size: int | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Next-token log-probabilities at the asked positions, in nats, float32, on the CPU."""
        return self.logits(prompts, positions, batch_size=batch_size).log_softmax(-1)

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
            out = torch.zeros(*asked.shape, self.d_vocab)
            for rows in self.passes.batches(batch, batch_size):
                mine = [edit.of(rows) for edit in checked]
                state = self.edited_states(batch[rows], mine, [last], asked[rows])[0]
                out[rows] = self.readout(state).cpu()
            out[asked < 0] = 0
            yield out

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
        kept = self.passes.capture(batch, hooks, positions, edits=edits, grad=grad)
        return torch.stack([kept[hook] for hook in hooks])

    def embedded(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        """What enters block 0 at every position, in the model's dtype and on its device."""
        n_prompts, n_pos = tokens.shape
        batch = TokenBatch(tokens=tokens.cpu(), lengths=torch.full((n_prompts,), n_pos))
        everywhere = torch.arange(n_pos).expand(n_prompts, -1)
        return self.edited_states(batch, (), [0], everywhere)[0]

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

        Everything that reads the model sees it steered. Contexts nest: at one hook, inner ones act
        on what outer ones produced. Texts are generated by this class alone: a cache that it does
        not know would shift the positions.

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
        own = self._name
        # Whatever is measured meanwhile is measured on the steered model, and its results say so.
        self._rename(own.removesuffix(STEERED) + STEERED)
        try:
            with standing(
                self.hook_points,
                edits,
                last=self._depth_hooks[-1],
                n_cached=lambda: self._n_cached,
                resid_mid_is_branch=self.backend == "bridge",
            ):
                yield self
        finally:
            self._rename(own)

    def _rename(self, name: str) -> None:
        self._name = name
        if "info" in vars(self):  # else it is not asked for yet, and costs a pass over the weights
            self.info = replace(self.info, name=name)

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
        apply_edit(probe, torch.ones(1, d_source, device=self.device), probe.source)
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
            self._n_cached = n_cached
            try:
                state = self.passes.capture(batch, [last], batch.last[:, None], cache=cache)[last][
                    0, 0
                ]
            finally:
                self._n_cached = 0
            return self.readout(state).cpu()

        return step


def _block_of(hook: str) -> int:
    """The block that a hook belongs to; -1 for what comes before them all."""
    return int(hook.split(".")[1]) if hook.startswith("blocks.") else -1
