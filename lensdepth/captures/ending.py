"""The end of a model beside its states: final norm, unembedding and cap, without the model.

What is kept has been held against the model's own readout at every depth of a prompt, so that an
architecture which does something else there is refused when it is captured, and not misread later.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lensdepth.converted import digest
from lensdepth.finite import NotFinite, all_finite, first_row
from lensdepth.model import DepthModel
from lensdepth.outside import outside, shown
from lensdepth.readout import TOLERANCE
from lensdepth.writing import whole_file

READOUT = "readout.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptReadout:
    """The final norm and the unembedding of one model."""

    normalization: str
    """`LN`, `RMS` or `none`."""
    eps: float
    cap: float
    """Largest logit that a soft cap lets through; 0 without a cap."""
    unembed: Float[Tensor, "d_vocab d_model"]
    unembed_bias: Float[Tensor, " d_vocab"] | None
    weight: Float[Tensor, " d_model"] | None
    """Of the norm, as what it makes is multiplied by."""
    bias: Float[Tensor, " d_model"] | None

    def readout(
        self, resid: Float[Tensor, "*shape d_model"], columns: Tensor | None = None
    ) -> Float[Tensor, "*shape _"]:
        """Logits of states, float32; as `DepthModel.readout`.

        Raises:
            NotFinite: they are not.
        """
        x = resid.to(self.unembed.dtype)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.normalization == "LN":
            wide = wide - wide.mean(-1, keepdim=True)
        if self.normalization != "none":
            wide = wide / (wide.square().mean(-1, keepdim=True) + self.eps).sqrt()
        x = wide.to(x.dtype)
        if self.weight is not None:
            x = x * self.weight
        if self.bias is not None:
            x = x + self.bias
        if columns is None:
            logits = functional.linear(x, self.unembed, self.unembed_bias)
        else:
            logits = torch.einsum("...d,...cd->...c", x, self.unembed[columns])
            if self.unembed_bias is not None:
                logits = logits + self.unembed_bias[columns]
        logits = logits.float()
        if not all_finite(logits):
            row = first_row(logits.reshape(-1, logits.shape[-1]))
            raise NotFinite(f"Capture: the logits of state {row} are not finite.", row=row)
        return self.cap * torch.tanh(logits / self.cap) if self.cap else logits

    def save(self, path: Path) -> str:
        """Write it, whole or not at all; the SHA-256 of the file."""
        from safetensors.torch import save_file

        tensors = {
            name: value.contiguous()
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        told = {"normalization": self.normalization, "eps": self.eps, "cap": self.cap}
        with whole_file(path) as partial:
            with outside("safetensors", kind=OSError):
                save_file(tensors, partial, {"readout": json.dumps(told)})
            return digest_of(partial)


def digest_of(path: Path) -> str:
    """SHA-256 of a file; "" where there is none."""
    return digest(path) if path.is_file() else ""


def load_readout(path: Path, known: str, *, caller: str) -> KeptReadout:
    """What `KeptReadout.save` wrote.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged.
    """
    from safetensors import safe_open

    said = f"{caller}: {shown(str(path))}"
    if not path.is_file():
        raise FileNotFoundError(f"{said} is missing; capture again, which makes it anew.")
    if digest_of(path) != known:
        raise ValueError(f"{said} is damaged: it is not what was written; capture again.")
    with outside(f"{said} is no safetensors file"), safe_open(path, "pt") as file:
        told = json.loads((file.metadata() or {})["readout"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    absent: dict[str, Any] = {"unembed_bias": None, "weight": None, "bias": None}
    return KeptReadout(**told, **{**absent, **tensors})


def kept_readout(
    model: DepthModel, states: Float[Tensor, "*shape d_model"], *, caller: str
) -> KeptReadout:
    """The end of a model, once it gives the model's own logits of some states.

    Args:
        model: any wrapped model.
        states: of its own, at several depths.
        caller: of the public function.
    Raises:
        ValueError: its logits are made in another way than this file knows.
    """
    passes = model.passes
    with torch.no_grad(), passes.lock:
        wanted = model.readout(states).cpu()
        for candidate in _candidates(model):
            found = candidate.readout(states.cpu())
            scale = float(wanted.abs().max().clamp_min(1.0))
            if float((found - wanted).abs().max()) <= TOLERANCE.get(model.dtype, 1e-5) * scale:
                return candidate
    raise ValueError(
        f"{caller}: {shown(passes.name)} makes its logits in another way than by a norm, a matrix "
        f"and a cap, so its readout cannot be kept beside the states; leave readout out."
    )


def _candidates(model: DepthModel) -> list[KeptReadout]:
    """As the norm's weights are written, and as what they add to 1 (Gemma's)."""
    passes = model.passes
    if not passes.unembeds_by_matrix:
        return []
    norm = getattr(passes.model, "ln_final", None)
    norm = getattr(norm, "original_component", norm)
    parts: list[Tensor | None] = []
    for names in (("w", "weight"), ("b", "bias")):
        found = [getattr(norm, name, None) for name in names]
        tensors = [value for value in found if isinstance(value, Tensor)]
        parts.append(tensors[0].detach().cpu().clone() if tensors else None)
    unembed, unembed_bias = passes.unembedding()
    weight, bias = parts
    return [
        KeptReadout(
            normalization=passes.normalization,
            eps=passes.norm_eps,
            cap=passes.logit_cap,
            unembed=unembed.detach().cpu().contiguous(),
            unembed_bias=None if unembed_bias is None else unembed_bias.detach().cpu().clone(),
            weight=one,
            bias=bias,
        )
        for one in (weight, None if weight is None else weight + 1)
    ]
