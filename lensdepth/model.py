"""One wrapper for both TransformerLens lines: load a model, read its residual stream, edit it.

>>> model = load_model("calendar")
>>> model.residual_stream("two months from January is").resid.shape
torch.Size([11, 1, 1, 128])
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import loading
from lensdepth.hooks import SiteEdit, capture, depth_hook
from lensdepth.loading import BackendChoice
from lensdepth.provenance import ModelInfo
from lensdepth.residual import ResidualStream
from lensdepth.tokens import Positions, Prompts, TokenBatch, pad_tokens, resolve_positions


def load_model(
    name_or_path: str | Path,
    *,
    backend: BackendChoice = "auto",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "float32",
    name: str | None = None,
    trust_remote_code: bool = False,
) -> "DepthModel":
    """Load a model with raw weights."""
    loaded = loading.load(
        name_or_path,
        backend=backend,
        device=torch.device(device or "cpu"),
        dtype=dtype if isinstance(dtype, torch.dtype) else loading.DTYPES[dtype],
        trust_remote_code=trust_remote_code,
    )
    model = DepthModel(loaded.model, tokenizer=loaded.tokenizer, name=name or loaded.name)
    model.info = replace(
        model.info, architecture=loaded.architecture, fingerprint=loaded.fingerprint
    )
    return model


class DepthModel:
    """A decoder-only model seen by depth."""

    def __init__(self, model: Any, *, tokenizer: Any = None, name: str | None = None) -> None:
        self.model = model
        self.tokenizer = model.tokenizer if tokenizer is None else tokenizer
        cfg = model.cfg
        bridge = type(model).__name__ == "TransformerBridge"
        self.n_layers: int = cfg.n_layers
        self.d_model: int = cfg.d_model
        self.n_ctx: int = cfg.n_ctx
        self.d_vocab: int = cfg.d_vocab
        weight = next(iter(model.parameters()))
        self.device: torch.device = weight.device
        self.dtype: torch.dtype = weight.dtype
        self.info = ModelInfo(
            name=name or cfg.model_name,
            architecture=getattr(cfg, "architecture", None) or cfg.original_architecture or "",
            backend="bridge" if bridge else "hooked",
            weights="raw",
            n_layers=self.n_layers,
            d_model=self.d_model,
            d_vocab=self.d_vocab,
            n_heads=cfg.n_heads,
            n_ctx=self.n_ctx,
            normalization=str(cfg.normalization_type),
            dtype=str(self.dtype).removeprefix("torch."),
            device=str(self.device),
            fingerprint="0" * 16,
        )

    def tokenize(self, prompts: Prompts) -> TokenBatch:
        """Prompts as one right-padded batch, with the tokenizer's own special tokens."""
        if isinstance(prompts, TokenBatch):
            return prompts
        if isinstance(prompts, str):
            prompts = [prompts]
        rows = [
            self.tokenizer(prompt)["input_ids"]
            if isinstance(prompt, str)
            else list(map(int, prompt))
            for prompt in prompts
        ]
        return pad_tokens(rows, pad_id=0)

    def str_tokens(self, prompt: str | Sequence[int]) -> list[str]:
        """The prompt's tokens as strings."""
        ids = self.tokenize([prompt]).row(0)
        return [self.tokenizer.decode([token]) for token in ids]

    def residual_stream(
        self, prompts: Prompts, positions: Positions = "last", *, batch_size: int | None = None
    ) -> ResidualStream:
        """Residual states at every depth and the asked positions."""
        batch = self.tokenize(prompts)
        asked = resolve_positions(batch, positions)
        names = [depth_hook(depth, self.n_layers) for depth in range(self.n_layers + 1)]
        resid = torch.zeros(self.n_layers + 1, *asked.shape, self.d_model)
        for rows in self._batches(batch, batch_size):
            part = batch[rows]
            kept = self._capture(part, names, asked[rows])
            for depth, name in enumerate(names):
                resid[depth, rows] = kept[name].float().cpu()
        resid[:, asked < 0] = 0
        return ResidualStream(resid=resid, positions=asked, tokens=batch, info=self.info)

    def readout(self, resid: Float[Tensor, "*shape d_model"]) -> Float[Tensor, "*shape d_vocab"]:
        """Logits of residual states by the model's own final norm and unembedding."""
        with torch.inference_mode():
            states = resid.to(device=self.device, dtype=self.dtype).reshape(1, -1, self.d_model)
            logits = self.model.unembed(self.model.ln_final(states)).float()
            cap = getattr(self.model.cfg, "output_logits_soft_cap", 0.0) or 0.0
            if cap > 0:
                logits = cap * torch.tanh(logits / cap)
        return logits.reshape(*resid.shape[:-1], -1).to(resid.device).clone()

    def logits(
        self, prompts: Prompts, positions: Positions = "last", *, batch_size: int | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Next-token logits at the asked positions, float32, on the CPU."""
        batch = self.tokenize(prompts)
        return next(self.run_edits(batch, [()], positions=positions, batch_size=batch_size))

    def log_probs(
        self, prompts: Prompts, positions: Positions = "last", *, batch_size: int | None = None
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Next-token log-probabilities at the asked positions."""
        return self.logits(prompts, positions, batch_size=batch_size).log_softmax(-1)

    def run_edits(
        self,
        batch: TokenBatch,
        edit_sets: Iterable[Sequence[SiteEdit]],
        *,
        positions: Positions = "last",
        batch_size: int | None = None,
    ) -> Iterator[Float[Tensor, "batch pos d_vocab"]]:
        """Logits of one run per set of edits."""
        asked = resolve_positions(batch, positions)
        final = depth_hook(self.n_layers, self.n_layers)
        for edits in edit_sets:
            parts = []
            for rows in self._batches(batch, batch_size):
                part = batch[rows]
                mine = [
                    replace(
                        edit,
                        positions=edit.positions[rows],
                        source=None if edit.source is None else edit.source[rows],
                    )
                    for edit in edits
                ]
                kept = self._capture(part, [final], asked[rows], edits=mine)
                parts.append(self.readout(kept[final]).cpu())
            yield torch.cat(parts)

    def generate(
        self, prompt: str, *, max_new_tokens: int = 20, temperature: float = 0.0, seed: int = 0
    ) -> str:
        """Continue a text."""
        ids = self.tokenize(prompt).row(0)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(max_new_tokens):
            logits = self.logits([ids[-self.n_ctx :]])[0, 0]
            if temperature > 0:
                probs = (logits / temperature).softmax(-1)
                ids.append(int(torch.multinomial(probs, 1, generator=generator)))
            else:
                ids.append(int(logits.argmax()))
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _batches(self, batch: TokenBatch, batch_size: int | None) -> Iterator[slice]:
        size = batch_size or 32
        for start in range(0, len(batch), size):
            yield slice(start, start + size)

    def _capture(
        self,
        batch: TokenBatch,
        names: Sequence[str],
        positions: Int[Tensor, "batch site"],
        *,
        edits: Sequence[SiteEdit] = (),
    ) -> dict[str, Tensor]:
        with torch.inference_mode():
            return capture(
                self.model,
                self._forward,
                batch.tokens.to(self.device),
                names,
                positions.to(self.device),
                edits=edits,
                lengths=batch.lengths,
            )

    def _forward(self, tokens: Int[Tensor, "batch pos"]) -> Any:
        return self.model(tokens, return_type="logits")
