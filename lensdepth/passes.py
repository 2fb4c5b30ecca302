"""Forward passes of a TransformerLens model, and all in which its two lines differ.

HookedTransformer and TransformerBridge take other arguments, keep keys and values in other ways
and hold their unembedding elsewhere; above this file nobody needs to know. Passes run in the
model's dtype, without dropout, and without gradients unless asked for.

Hooks stand on the model itself, so a pass has it to itself: one lock a model, whoever wraps it, is
held from the first hook to the last number read, for one pass and not for a sweep of them.
"""

import importlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import HUGGING_FACE, is_hugging_face
from lensdepth.hooks import Hook, SiteEdit, StopPass, capture, hooked
from lensdepth.outside import shown
from lensdepth.provenance import Backend, Weights
from lensdepth.tokens import TokenBatch

TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 16384}
"""Largest number of tokens, padding included, in one forward pass of an automatic batch size."""


_LOCKS: WeakKeyDictionary[Any, AbstractContextManager[Any]] = WeakKeyDictionary()
_LOCKS_CHANGE = threading.Lock()


def lock_of(model: Any) -> AbstractContextManager[Any]:
    """The lock of a model's modules; a thread that holds it may take it again.

    It is the same for every wrapper of one model, and for two bridges into one Hugging Face model.
    """
    owner = getattr(model, "original_model", model)
    with _LOCKS_CHANGE:
        lock = _LOCKS.get(owner)
        if lock is None:
            lock = _LOCKS[owner] = threading.RLock()
        return lock


class Passes:
    """One model's forward passes.

    Args:
        model: a HookedTransformer or a TransformerBridge.
    Raises:
        TypeError: it is neither.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.backend: Backend = backend_of(model)
        self.hook_points: Mapping[str, Any] = model.hook_dict
        weight = next(model.parameters())
        self.device: torch.device = weight.device
        self.dtype: torch.dtype = weight.dtype

    def batches(self, batch: TokenBatch, batch_size: int | None) -> Iterator[slice]:
        """Rows of one forward pass each.

        Raises:
            ValueError: the batch size is not positive.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        budget = TOKENS_PER_BATCH.get(self.device.type, TOKENS_PER_BATCH["cpu"])
        size = batch_size or max(1, budget // batch.tokens.shape[1])
        for start in range(0, len(batch), size):
            yield slice(start, start + size)

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
        with torch.set_grad_enabled(grad), self.at_work():
            return capture(
                self.hook_points,
                lambda tokens: self.forward(tokens, cache),
                batch.tokens.to(self.device),
                hooks,
                positions.to(self.device),
                edits=edits,
                resid_mid_is_branch=self.backend == "bridge",
            )

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
        cap = self.model.cfg.output_logits_soft_cap
        return cap * torch.tanh(logits / cap) if cap > 0 else logits

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held by whoever runs the model, or changes or counts its hooks."""
        return lock_of(self.model)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Alone with the model, and without dropout: round all that runs its modules.

        Every module's training flag is afterwards what it was.
        """
        with self.lock, self._as_evaluated():
            yield

    @contextmanager
    def _as_evaluated(self) -> Iterator[None]:
        # A bridge does not own all of its Hugging Face model: dropout may stand there.
        roots = [self.model, getattr(self.model, "original_model", self.model)]
        training: set[torch.nn.Module] = set()
        if any(root.training for root in roots):
            training = {part for root in roots for part in root.modules() if part.training}
        for module in training:
            module.training = False
        try:
            yield
        finally:
            for module in training:
                module.training = True


def backend_of(model: Any) -> Backend:
    """Which of TransformerLens's two classes a model is.

    Raises:
        TypeError: neither.
    """
    names = {kind.__name__ for kind in type(model).__mro__}
    if "TransformerBridge" in names:
        return "bridge"
    if "HookedTransformer" in names:
        return "hooked"
    hint = HUGGING_FACE if is_hugging_face(model) else "load_model takes names and folders"
    raise TypeError(
        f"DepthModel: needs a HookedTransformer or a TransformerBridge, got "
        f"{shown(type(model).__name__)[1:-1]}; {hint}."
    )


def weights_of(model: Any) -> Weights:
    """Whether TransformerLens folded norms, or centred the unembedding or the embedding."""
    folded = str(getattr(model.cfg, "normalization_type", "")).endswith("Pre")
    if folded or getattr(model, "_weights_processed", False):
        return "processed"  # HookedTransformer says the former, the bridge the latter
    for part, weight in (("unembed", "W_U"), ("embed", "W_E")):
        rows = getattr(getattr(model, part, None), weight, None)
        if rows is None:
            continue
        rows = rows.detach()[:64].double()
        # Centring leaves means of rounding size, which no row of a trained matrix has by chance.
        rounding = 4 * torch.finfo(model.cfg.dtype).eps / rows.shape[-1] ** 0.5 + 1e-6
        if rows.abs().mean() > 0 and rows.mean(-1).abs().max() <= rounding * rows.abs().mean():
            return "processed"
    return "raw"
