"""Forward passes of a TransformerLens model, and all in which its two lines differ.

HookedTransformer and TransformerBridge take other arguments, keep keys and values in other ways
and hold their unembedding elsewhere; above this file nobody needs to know, and nobody reads the
model's `cfg` but the engine's blocks and what makes a twin of it. Passes run in the model's dtype,
without dropout, and without gradients unless asked for.

Hooks stand on the model itself, so a pass has it to itself: one lock a model, whoever wraps it, is
held from the first hook to the last number read, for one pass and not for a sweep of them.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import moving
from lensdepth.backends import backend_of
from lensdepth.bounds import bounds
from lensdepth.fingerprints import configuration_fingerprint, settings_fingerprint
from lensdepth.hooks import Hook, SiteEdit, StopPass, acting_numbers, capture, hooked
from lensdepth.progress import let_in
from lensdepth.provenance import Backend, Weights
from lensdepth.site import depth_hook
from lensdepth.tally import clock, counting, drawn_states
from lensdepth.tokens import TokenBatch, of_like_lengths
from lensdepth.turns import as_evaluated, lock_of

TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 16384}
"""Largest number of tokens, padding included, in one forward pass of an automatic batch size."""


FREE = 8
"""Padding of up to so much of a full pass is cheaper than another pass."""


class Passes:
    """One model's forward passes.

    Args:
        model: a HookedTransformer or a TransformerBridge.
        name: what to call it, for errors; None asks the model.
    Raises:
        TypeError: it is neither.
    """

    def __init__(self, model: Any, name: str | None = None) -> None:
        self.model = model
        self.backend: Backend = backend_of(model)
        self.name = name or str(getattr(model.cfg, "model_name", "custom"))
        self.hook_points: Mapping[str, Any] = model.hook_dict
        self.n_layers: int = model.cfg.n_layers
        self.d_model: int = model.cfg.d_model
        self.d_vocab: int = model.cfg.d_vocab
        self.n_ctx: int = model.cfg.n_ctx
        self.depth_hooks = [depth_hook(depth, self.n_layers) for depth in range(self.n_layers + 1)]
        """Where the residual state of each depth is."""
        self._n_bytes: tuple[moving.State | None, int] = None, 0

    @property
    def device(self) -> torch.device:
        """Where the model is now."""
        return next(self.model.parameters()).device

    def device_of(self, part: Any) -> torch.device:
        """Where a part of it is; the model's own where the part has no weights."""
        weight = next(part.parameters(), None) if part is not None else None
        return self.device if weight is None else weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are in now."""
        return next(self.model.parameters()).dtype

    @property
    def state(self) -> moving.State:
        """Device, dtype, and how often that changed: another one means other numbers."""
        return moving.state_of(self.model)

    @property
    def circumstances(self) -> tuple[moving.State, tuple[int, ...]]:
        """What a pass depends on besides its tokens: the model's state, and which functions act."""
        with self.lock:
            return self.state, acting_numbers(self.hook_points)

    @property
    def architecture(self) -> str:
        """Class name of the Hugging Face model, if that is known, else of the model itself."""
        cfg = self.model.cfg
        named = getattr(cfg, "architecture", None) or getattr(cfg, "original_architecture", None)
        return str(named or type(self.model).__name__)

    @property
    def configuration(self) -> str:
        """Fingerprint of the configuration: of a bridge's Hugging Face model, or of the `cfg`.

        The two never agree, for each has entries of its own.
        """
        if self.backend == "bridge":
            return configuration_fingerprint(self.model.original_model.config)
        return settings_fingerprint(vars(self.model.cfg))

    @property
    def n_bytes(self) -> int:
        """What the weights take."""
        state, n_bytes = self._n_bytes
        if state != self.state:
            n_bytes = sum(p.numel() * p.element_size() for p in self.model.parameters())
            self._n_bytes = self.state, n_bytes
        return n_bytes

    @property
    def is_causal(self) -> bool:
        """Whether it reads from left to right."""
        return getattr(self.model.cfg, "attention_dir", "causal") == "causal"

    @property
    def n_heads(self) -> int:
        """Heads of a block."""
        return self.model.cfg.n_heads

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.model.cfg.d_head

    @property
    def d_mlp(self) -> int:
        """Width of a block's MLP; four states where the configuration does not say."""
        return getattr(self.model.cfg, "d_mlp", None) or 4 * self.d_model

    @property
    def normalization(self) -> str:
        """The kind of the final norm: `LN`, `RMS` or `none`."""
        kind = str(getattr(self.model.cfg, "normalization_type", None)).removesuffix("Pre")
        return kind if kind in ("LN", "RMS") else "none"

    @property
    def norm_eps(self) -> float:
        """What a norm adds to the mean square."""
        return float(self.model.cfg.eps)

    @property
    def logit_cap(self) -> float:
        """Largest logit that a soft cap lets through; 0 without a cap."""
        return max(0.0, float(getattr(self.model.cfg, "output_logits_soft_cap", 0.0) or 0.0))

    @property
    def learns_positions(self) -> bool:
        """Whether learned position embeddings are added to those of the tokens."""
        return getattr(self.model.cfg, "positional_embedding_type", None) == "standard"

    @property
    def weights(self) -> Weights:
        """Whether TransformerLens folded norms, or centred the unembedding or the embedding."""
        model = self.model
        folded = str(getattr(model.cfg, "normalization_type", "")).endswith("Pre")
        if folded or getattr(model, "_weights_processed", False):
            return "processed"  # HookedTransformer says the former, the bridge the latter
        for part, weight in (("unembed", "W_U"), ("embed", "W_E")):
            rows = getattr(getattr(model, part, None), weight, None)
            if rows is None:
                continue
            rows = rows.detach()[:64].double()
            # Centring leaves means of rounding size, as no row of a trained matrix has by chance.
            rounding = 4 * torch.finfo(model.cfg.dtype).eps / rows.shape[-1] ** 0.5 + 1e-6
            if rows.abs().mean() > 0 and rows.mean(-1).abs().max() <= rounding * rows.abs().mean():
                return "processed"
        return "raw"

    @property
    def resid_mid_is_branch(self) -> bool:
        """Whether what is changed at resid_mid reaches the MLP alone, as on the bridge."""
        return self.backend == "bridge"

    def d_hook(self, hook: str, head: int | None = None) -> int:
        """Width of a state at a hook in a block, heads side by side or the one named."""
        if not hook.endswith(".hook_z"):
            return self.d_model
        return self.d_head * (self.n_heads if head is None else 1)

    def check_head(self, hook: str, head: int | None, caller: str) -> None:
        """Refuse a head that is not there.

        Raises:
            ValueError: with the heads that are.
        """
        n_heads = self.n_heads if hook.endswith(".hook_z") else 0
        if head is not None and not 0 <= head < n_heads:
            there = f"heads are 0...{n_heads - 1}" if n_heads else "there are no heads"
            raise ValueError(f"{caller}: the edit at {hook!r} names head {head}; {there}.")

    def token_bytes(self, longest: int) -> int:
        """What a block makes of one token, in a pass whose longest prompt is so long."""
        # A state, its projections and sums; the MLP's inner states; scores and weights in float32.
        in_dtype = 10 * self.d_model + 4 * self.d_mlp
        return in_dtype * self.dtype.itemsize + 4 * 4 * self.n_heads * longest

    def batches(self, batch: TokenBatch, batch_size: int | None) -> Iterator[Int[Tensor, " row"]]:
        """Rows of one forward pass each, prompts of like lengths together.

        Without a batch size, at most that of the analysis at work (`bounds`), or as many as its
        memory holds.

        Raises:
            ValueError: the batch size is not positive.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        most = TOKENS_PER_BATCH.get(self.device.type, TOKENS_PER_BATCH["cpu"])
        size, memory = batch_size or bounds().batch_size, bounds().max_memory

        def at_once(longest: int) -> int:
            fits = most if memory is None else min(most, memory // self.token_bytes(longest))
            return size or max(1, fits // longest)

        for rows in of_like_lengths(batch.lengths, at_once, free=most // FREE):
            yield rows
            let_in()

    def forward(self, tokens: Int[Tensor, "batch pos"], cache: Any = None) -> Any:
        """The model's own logits; with a cache, of tokens that go on where it ends."""
        if self.backend == "bridge":
            past = {} if cache is None else {"past_key_values": cache}
            return self.model(tokens, return_type="logits", use_cache=cache is not None, **past)
        if cache is not None:
            past = {"past_kv_cache": cache, "attention_mask": torch.ones_like(tokens)}
            return self.model(tokens, return_type="logits", **past)
        # With padding on the left, HookedTransformer would mask whatever equals the pad token.
        side = {} if self.model.tokenizer is None else {"padding_side": "right"}
        return self.model(tokens, return_type="logits", **side)

    def start_cache(
        self, token: Int[Tensor, "batch 1"]
    ) -> tuple[Float[Tensor, " d_vocab"], Any | None]:
        """Logits after the first token, and a cache that holds it if the model keeps one.

        Of one token alone, since a bridge gives its cache away only with the logits of every
        position.
        """
        token = token.to(self.device)
        with torch.no_grad(), self.at_work():
            if self.backend == "bridge":
                options = {"return_type": "logits_and_cache", "use_cache": True}
                logits, cache = self.model(token, **options)
            else:
                # TransformerLens 4 has no such class.
                caches = importlib.import_module("transformer_lens.cache.key_value_cache")
                kind = caches.TransformerLensKeyValueCache
                cache = kind.init_cache(self.model.cfg, self.device, len(token))
                logits = self.forward(token, cache)
        return logits[0, -1].float().cpu(), cache

    def capture(
        self,
        batch: TokenBatch,
        hooks: Sequence[str],
        positions: Int[Tensor, "batch site"],
        *,
        edits: Sequence[SiteEdit] = (),
        grad: bool = False,
        cache: Any = None,
    ) -> dict[str, Tensor]:
        """Activations of one pass at some positions; it ends when all of `hooks` were reached."""
        tally, start = counting(), clock()
        if tally is not None and tally.rehearsed:
            tally.plain += int(batch.lengths.sum()) * self.n_layers
            return self._rehearsed(batch, hooks, positions)
        with torch.set_grad_enabled(grad), self.at_work():
            found = capture(
                self.hook_points,
                lambda tokens: self.forward(tokens, cache),
                batch.tokens.to(self.device),
                hooks,
                positions.to(self.device),
                edits=edits,
                resid_mid_is_branch=self.resid_mid_is_branch,
            )
        if tally is not None:
            tally.plain += int(batch.lengths.sum()) * self.n_layers
            tally.plain_seconds += clock() - start
        return found

    def _rehearsed(
        self, batch: TokenBatch, hooks: Sequence[str], positions: Int[Tensor, "batch site"]
    ) -> dict[str, Tensor]:
        widths = {hook: self.d_hook(hook) for hook in hooks}
        widest = max(widths.values())

        def drawn(alone: bool) -> Tensor:
            states = drawn_states(batch.tokens, positions, widest, alone=alone)
            return states.to(self.device, self.dtype)

        # What enters block 0 knows of its own token alone: edits there may change nothing.
        first = self.depth_hooks[0]
        above = drawn(False) if {*hooks} - {first} else torch.empty(0, dtype=self.dtype)
        entering = drawn(True) if first in widths else above
        return {
            hook: (entering if hook == first else above)[..., :width]
            for hook, width in widths.items()
        }

    def capture_whole(self, batch: TokenBatch, hooks: Sequence[str]) -> dict[str, Tensor]:
        """Whole activations of one pass, float32, on the CPU; it ends with the last of them.

        Raises:
            RuntimeError: a hook never ran.
        """
        kept: dict[str, Tensor] = {}

        def keep(hook: str) -> Hook:
            def function(activation: Tensor) -> None:
                kept[hook] = activation.detach().float().cpu()
                if len(kept) == len(hooks):
                    raise StopPass

            return hook, function

        attached = hooked(self.hook_points, [keep(hook) for hook in hooks])
        with torch.no_grad(), self.at_work(), attached, suppress(StopPass):
            self.forward(batch.tokens.to(self.device))
        silent = [hook for hook in hooks if hook not in kept]
        if silent:
            raise RuntimeError(
                f"The hook {silent[0]!r} took a function and never ran it, so nothing was read."
            )
        return kept

    @property
    def unembeds_by_matrix(self) -> bool:
        """Whether logits come from one matrix, of which columns can be had one by one."""
        linear = getattr(self.model.unembed, "original_component", self.model.unembed)
        return hasattr(linear, "W_U") or isinstance(linear, torch.nn.Linear)

    def unembedding(
        self,
    ) -> tuple[Float[Tensor, "d_vocab d_model"], Float[Tensor, " d_vocab"] | None]:
        """The unembedding as the model holds it, a row a token, and its bias if it has one."""
        unembed = self.model.unembed
        if self.backend == "hooked":
            return unembed.W_U.T, unembed.b_U
        return unembed.original_component.weight, unembed.original_component.bias

    def after_unembedding(self, logits: Tensor) -> Tensor:
        """Cap and scale: the bridge's adapter knows those of its architecture."""
        if self.backend == "bridge":
            return self.model.adapter.apply_output_logits_transform(logits)
        cap = self.logit_cap
        return cap * torch.tanh(logits / cap) if cap else logits

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held by whoever runs the model, or changes or counts its hooks."""
        return lock_of(self.model)

    @contextmanager
    def differentiating(self, caller: str) -> Iterator[None]:
        """With gradients, whatever mode the caller is in.

        Raises:
            ValueError: the weights were made in inference mode, which forbids it for good.
        """
        what = "be differentiated through it"
        moving.check_ordinary(self.model, self.name, caller=caller, what=what)
        with torch.inference_mode(False), torch.enable_grad():
            yield

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Alone with the model, and without dropout: round all that runs its modules.

        Every module's training flag is afterwards what it was.
        """
        with self.lock, as_evaluated(self.model):
            yield

    def move(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """Put the model on a device and its weights into a dtype; see `moving.move`."""
        moving.move(self.model, self.name, device, dtype)
