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

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import generation, reading
from lensdepth.adoption import kept_while_moved, wrapped_once
from lensdepth.arguments import checked
from lensdepth.devices import parse_move
from lensdepth.finite import check_still_finite
from lensdepth.hooks import SiteEdit
from lensdepth.interface import ReadModel
from lensdepth.known import Knowledge, Known, check_decoder
from lensdepth.moving import is_in
from lensdepth.passes import Passes
from lensdepth.plain_runs import once
from lensdepth.polar import Edit
from lensdepth.provenance import Backend, ModelInfo
from lensdepth.readout import Readout
from lensdepth.residual import ResidualStream
from lensdepth.site import Stream
from lensdepth.standing import StandingPositions, as_steered, standing_edits, steered
from lensdepth.tokenizing import tokenized, unknown_words
from lensdepth.tokens import Positions, Prompts, TokenBatch, token_text


class DepthModel(ReadModel):
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
        self.passes = Passes(model, name)
        self.model = model
        self.backend: Backend = self.passes.backend
        self.tokenizer: Any = getattr(model, "tokenizer", None) if tokenizer is None else tokenizer
        self.n_layers, self.d_model = self.passes.n_layers, self.passes.d_model
        self.d_vocab, self.n_ctx = self.passes.d_vocab, self.passes.n_ctx
        self.double_bos, self.hook_points = double_bos, self.passes.hook_points
        check_decoder(self.passes)
        self.ending = Readout(self.passes)
        self._knowledge = Knowledge(self.passes)

    @classmethod
    def adopt(cls, model: Any) -> "DepthModel | None":
        """The wrapper of a TransformerLens model, made once and kept with it; None of all else."""
        return wrapped_once(model, cls)

    @property
    def device(self) -> torch.device:
        """Where the model is now."""
        return self.passes.device

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are in now."""
        return self.passes.dtype

    @property
    def known(self) -> Known:
        """What was found out about the model as it is now."""
        return self._knowledge.now

    @property
    def info(self) -> ModelInfo:
        """What a number measured on this model depends on; the fingerprint is taken only once.

        While edits stand here (`steer`), the name says so.
        """
        info = self._knowledge.info(self.tokenizer, double_bos=self.double_bos)
        return replace(info, name=as_steered(info.name, self.passes.lock))

    @checked
    def to(
        self,
        device: str | torch.device | torch.dtype | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> "DepthModel":
        """This model on another device or in another dtype: moved in place, as torch moves modules.

        All wrappers of the TransformerLens model go with it, and what was found out about it is
        found out anew. Passes of other threads end first, but a sweep of theirs goes on with the
        model as it is then. A narrower dtype rounds for good.

        Args:
            device: as for `load_model`, None leaves it; a dtype may stand here alone.
            dtype: as for `load_model`, None leaves it.
        Raises:
            ValueError: no such device or dtype, a weight beyond its range, or a model that cannot
                be moved; it is then as it was.
        """
        place, numbers = parse_move(device, dtype, caller="DepthModel.to")
        with self.passes.lock, kept_while_moved(self.model):
            if numbers and not is_in(self.model, numbers):
                self.known.remember(self.passes)
            self.passes.move(place, numbers)
        return self

    def check_weights(self) -> None:
        """Refuse weights that became NaN or infinite, by one pass over them and no forward pass;
        once in an analysis, however many sweeps it is made of."""
        passes, named = self.passes, self.model.named_parameters
        once(passes, "weights are finite", lambda: check_still_finite(dict(named()), passes.name))

    def warn_once(self, topic: str, message: str) -> None:
        """Log a warning about this model, the first time that its topic comes up."""
        self._knowledge.say_once(topic, message)

    @checked
    def tokenize(self, prompts: Prompts) -> TokenBatch:
        """Prompts as one right-padded batch.

        Texts get the special tokens that the tokenizer itself adds; token ids are taken as given.

        Raises:
            ValueError: a prompt is empty, too long or holds a token id out of range, or there is
                no tokenizer for text.
        """
        return tokenized(prompts, self.tokenizer, self.passes, self.double_bos, self.warn_once)

    def token_text(self, token: int) -> str:
        """What one token stands for, its leading space included."""
        return token_text(self.tokenizer, token)

    @checked
    def str_tokens(self, prompt: str | Sequence[int]) -> list[str]:
        """The tokens of one prompt, special ones included, as text."""
        return [self.token_text(token) for token in self.tokenize([prompt]).row(0)]  # type: ignore[list-item]

    @checked
    def unknown_words(self, prompt: str) -> dict[int, str]:
        """The words of a prompt that the tokenizer does not know, by the position of the token
        that stands for each; empty for most models, whose tokenizers know every word."""
        return unknown_words(prompt, self.tokenizer, self.double_bos)

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
        return reading.residual_stream(self, prompts, positions, batch_size)

    @checked
    def read(
        self,
        prompts: Prompts,
        hooks: Sequence[str],
        positions: Positions = "last",
        *,
        batch_size: int | None = None,
    ) -> dict[str, Float[Tensor, "batch pos _"]]:
        """Activations at many hooks, of any widths, from the same forward passes.

            >>> model.read("two months from January is", ["resid_post3", "z2"])["z2"].shape
            torch.Size([1, 1, 128])

        Args:
            prompts: as for `residual_stream`, like `positions` and `batch_size`.
            hooks: in full (`"blocks.3.hook_resid_post"`), or short as TransformerLens has it:
                `"resid_post3"`, `"z2"`, `"mlp_out0"`, `"embed"`.
        Returns:
            By the names asked for: float32, on the CPU, heads side by side, 0 beyond an end.
        Raises:
            ValueError: there is no such hook or position, none was asked for, or what is there
                has no positions.
            RuntimeError: a hook never ran.
        """
        return reading.activations(self, prompts, hooks, positions, batch_size)

    @checked
    def activations(
        self,
        prompts: Prompts,
        hooks: Sequence[str],
        positions: Positions = "last",
        *,
        batch_size: int | None = None,
    ) -> Float[Tensor, "hook batch pos d_hook"]:
        """What `read` gives at hooks of one width, as one tensor, in the order of `hooks`.

        Raises:
            ValueError: as `read`, or the hooks have several widths.
            RuntimeError: a hook never ran.
        """
        return reading.stack(self, prompts, hooks, positions, batch_size)

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
        logits to float32 before cap and scale. They lie where `resid` lies.

        Args:
            resid: states.
            columns: token ids, as many for each state, if only their logits are wanted.
            grad: let gradients pass to the states.
            linear: the logits as the unembedding gives them, before cap and scale.
        Raises:
            ValueError: a width or a token id that does not fit, or numbers that are not finite.
            RuntimeError: at depth L this does not reproduce the model's own logits (checked once).
        """
        return self.ending.read(resid, columns, grad=grad, linear=linear)

    def unembedding(
        self,
    ) -> tuple[Float[Tensor, "d_vocab d_model"], Float[Tensor, " d_vocab"] | None]:
        """The unembedding as the model holds it, a row a token, and its bias if it has one.

        Raises:
            ValueError: the model reads its logits by something that is no plain matrix.
        """
        return self.ending.unembedding()

    @checked
    def attention(
        self, prompts: Prompts, layers: Sequence[int], *, batch_size: int | None = None
    ) -> Float[Tensor, "layer batch head query key"]:
        """Attention probabilities of some blocks, float32, on the CPU.

        What lies beyond a prompt's own end, as query or as key, is NaN.

        Raises:
            ValueError: there is no such hook.
            RuntimeError: a hook never ran.
        """
        return reading.attention(self, prompts, layers, batch_size)

    @checked
    def logits(
        self, prompts: Prompts, positions: Positions = "last", *, batch_size: int | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Next-token logits at the asked positions, float32, on the CPU; 0 beyond an end."""
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
            positions: where to read the logits; as for `residual_stream`, like `batch_size`.
        Raises:
            ValueError: there is no such hook or position, or there is not one source per prompt.
            RuntimeError: an edit never ran.
        """
        yield from reading.edited_logits(self, batch, edit_sets, positions, batch_size)

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

        With a cache each new token runs one position. The first and the last such step are held
        against plain passes; where they differ, or there is no cache, it says so and does without.

        Args:
            max_new_tokens: fewer if the model ends its text or its context is full.
            temperature: 0 takes the most likely token each time; higher ones sample.
            seed: of the sampling.
            use_cache: keep keys and values from token to token.
        Raises:
            ValueError: a number of tokens or a temperature that is none.
        """
        step = reading.cached_step(self) if use_cache else None
        return generation.generate(self, prompt, step, max_new_tokens, temperature, seed)

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
            edit: a function of base and source states (`polar`), alike in every pass.
            depths: depths 0...L at stream `"resid_pre"`, else blocks.
            positions: `"all"`, or indices or a slice from the start of each text as it grows.
            source: one state for all depths, or one for each; None for edits that need none.
            stream: where in the block.
            head: at stream `"z"`, the one head to edit; None edits all heads side by side.
        Raises:
            ValueError: an argument does not fit the model; before anything is attached.
            RuntimeError: on leaving, forward passes ran and the edit never acted.
        """
        edits = standing_edits(self.passes, edit, depths, positions, source, stream, head)
        self.ending.check()  # of the model as it is
        with steered(self, edits):
            yield self


def __getattr__(name: str) -> Any:
    # It stands above this file, and is known by this name as well.
    if name == "load_model":
        return import_module("lensdepth.loading").load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
