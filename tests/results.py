"""Results made by hand, with planted numbers, for tests of what is said and drawn about them."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.ablation import CONTROLS, EDITS, AblationProfile
from lensdepth.geometry import GeometryProfile
from lensdepth.lens import LensProfile
from lensdepth.patching import PatchProfile
from lensdepth.provenance import ModelInfo, Provenance, make_provenance

N_LAYERS, N = 8, 30


def provenance(*, name: str = "toy", task: str = "toys", weights: str = "raw") -> Provenance:
    info = ModelInfo(
        name=name,
        architecture="ToyForCausalLM",
        backend="bridge",
        weights="processed" if weights == "processed" else "raw",
        n_layers=N_LAYERS,
        d_model=4,
        d_vocab=11,
        n_heads=2,
        n_ctx=16,
        normalization="RMS",
        dtype="float32",
        device="cpu",
        fingerprint="0" * 16,
    )
    return make_provenance("by_hand", info, task=task, prompts=["a"] * N, settings={})


def step(at: float, *, rising: bool = True, slope: float = 4.0) -> Float[Tensor, " depth"]:
    """A smooth step at a depth."""
    curve = torch.sigmoid(slope * (torch.arange(N_LAYERS + 1) - at))
    return curve if rising else 1 - curve


def spread(
    curve: Float[Tensor, " depth"], *, noise: float = 0.0, seed: int = 0
) -> Float[Tensor, "depth prompt"]:
    """The curve for every prompt, with noise."""
    generator = torch.Generator().manual_seed(seed)
    return curve[:, None] + noise * torch.randn(len(curve), N, generator=generator)


def trials(curve: Float[Tensor, " depth"], *, n: int = N) -> Float[Tensor, "depth prompt"]:
    """1 for as large a share of the prompts as the curve says."""
    return (torch.arange(n)[None] < (curve[:, None] * n).round()).float()


def lens(at: float = 5.0, *, flat: bool = False, name: str = "toy") -> LensProfile:
    curve = torch.full((N_LAYERS + 1,), 2.0) if flat else 4 * step(at, rising=False)
    kl = spread(curve, noise=0.05)[..., None]
    shape = (N_LAYERS + 1, N, 1)
    return LensProfile(
        provenance=provenance(name=name),
        position=torch.full((N, 1), 3),
        token=torch.zeros(N, 1, dtype=torch.long),
        kl=kl,
        entropy=torch.ones(shape),
        top1_agreement=trials(step(at))[..., None],
        top_tokens=torch.ones(*shape, 2, dtype=torch.long),
        top_log_probs=torch.full((*shape, 2), -0.5),
        target_log_prob=-torch.ones(shape),
        target_rank=torch.zeros(shape),
        foil_log_prob=-torch.ones(shape),
        foil_rank=torch.ones(shape),
        vocabulary={"0": "is", "1": "<|endoftext|>"},
    )


def patch(at: float | None = 4.0, *, control: float = 0.1) -> PatchProfile:
    """Curves that cross at a depth, or of which the input's leads throughout."""
    later = torch.zeros(N_LAYERS + 1) if at is None else step(at)
    early = torch.ones(N_LAYERS + 1) if at is None else 1 - step(at)
    success = torch.stack([trials(early), trials(later)]).movedim(-1, 0).movedim(1, -1)[..., None]
    shuffled = trials(torch.full((N_LAYERS + 1,), control)).T[..., None, None].expand_as(success)
    others = [torch.ones_like(success), success]
    return PatchProfile(
        provenance=provenance(),
        mode="denoise",
        stream="resid_pre",
        edit="full",
        method="exact",
        metrics=("logit_diff", "kl", "success"),
        positions=("input", "prediction"),
        labels=("input", "prediction"),
        heads=(),
        depths=torch.arange(N_LAYERS + 1),
        base_values=-torch.ones(3, N),
        source_values=torch.ones(3, N),
        values=torch.stack([2 * success - 1, *others]),
        controls=("shuffled_source",),
        control_values=torch.stack([2 * shuffled - 1, others[0], shuffled])[None],
        self_patch_error=0.0,
        exact_values=None,
        rank_correlation=None,
    )


def ablation(*, direction: float = 0.9, norm: float = 0.1, random: float = 0.4) -> AblationProfile:
    """Each part moves its share of the logit difference from the middle on, the norm none at L."""
    shares = dict(zip((*EDITS, *CONTROLS), (1.0, direction, norm, random, 0.0), strict=True))
    moved = torch.stack([spread(s * step(4.0), noise=0.05, seed=2) for s in shares.values()])
    moved[2, -1] = 0.0
    return AblationProfile(
        provenance=provenance(),
        mode="denoise",
        position="prediction",
        depths=torch.arange(N_LAYERS + 1),
        edits=tuple(shares),
        base_logit_diff=-torch.ones(N),
        source_logit_diff=torch.ones(N),
        logit_diff=2 * moved - 1,
        kl=torch.ones_like(moved),
        flip=torch.ones_like(moved),
        success=torch.ones_like(moved),
        angle=torch.ones(N_LAYERS + 1, N),
        norm_ratio=torch.full((N_LAYERS + 1, N), 1.05),
        self_patch_error=0.0,
    )


def geometry(*, rho: float = 0.8, p: float = 0.001) -> GeometryProfile:
    """Angles follow predictions from the middle on with correlation `rho`; norms do not."""
    coupling = rho * step(4.0)
    coupling[0] = torch.nan
    flat = torch.zeros(N_LAYERS + 1)
    return GeometryProfile(
        provenance=provenance(),
        norm=spread(torch.arange(1.0, N_LAYERS + 2), noise=0.1),
        step_angle=spread(step(4.0), noise=0.01)[1:].abs(),
        cosine=spread(flat, noise=0.1),
        standardized_cosine=spread(flat, noise=0.1),
        effective_rank=3 + flat,
        effective_rank_low=2.5 + flat,
        effective_rank_high=3.5 + flat,
        coupling_prompts=torch.arange(N),
        angle_js=coupling,
        angle_js_low=coupling - 0.05,
        angle_js_high=coupling + 0.05,
        angle_js_p=torch.full((N_LAYERS + 1,), p),
        norm_js=flat,
        norm_js_low=flat - 0.05,
        norm_js_high=flat + 0.05,
        norm_js_p=flat + 0.7,
    )


def interval(curve: Float[Tensor, " depth"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high) around a curve."""
    mean = curve.double().numpy()
    return mean, mean - 0.1, mean + 0.1
