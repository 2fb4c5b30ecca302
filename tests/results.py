"""Results made by hand, with planted numbers, for tests of what is said and drawn about them."""

from dataclasses import replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from lensdepth.ablation import (
    CONTROLS,
    EDITS,
    AblationProfile,
    DecodingProfile,
    DoseProfile,
)
from lensdepth.claims import ClaimTable
from lensdepth.claims.estimate import Estimate
from lensdepth.claims.judged import judge_claims
from lensdepth.claims.result import make_finding
from lensdepth.claims.statements import STATEMENTS
from lensdepth.geometry import GeometryProfile
from lensdepth.geometry.coupling import coupling_names
from lensdepth.lens import LensProfile
from lensdepth.locality import LocalityProfile
from lensdepth.outcome import Effects
from lensdepth.patching import PatchProfile
from lensdepth.provenance import ModelInfo, Provenance, make_provenance
from lensdepth.report.measured import Measured
from lensdepth.steering import SteeringProfile
from lensdepth.tasks import Task
from lensdepth.transition import find_crossing, find_steering_crossing, find_transition

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
        labels=("input", "prediction"),
        outcome=Effects(
            metrics=("logit_diff", "kl", "success"),
            coords={
                "control": ("none", "shuffled_source"),
                "depth": tuple(range(N_LAYERS + 1)),
                "position": ("input", "prediction"),
                "head": ("all",),
            },
            values=torch.stack(
                [
                    torch.stack([2 * success - 1, *others]),
                    torch.stack([2 * shuffled - 1, others[0], shuffled]),
                ],
                dim=1,
            ),
            base=-torch.ones(3, N),
            source=torch.ones(3, N),
        ),
        self_patch_error=0.0,
        exact_values=None,
        rank_correlation=None,
    )


def ablation(*, direction: float = 0.9, norm: float = 0.1, random: float = 0.4) -> AblationProfile:
    """Each part moves its share of the logit difference from the middle on, the norm none at L."""
    shares = dict(zip((*EDITS, *CONTROLS), (1.0, direction, norm, 0.5, random, 0.0), strict=True))
    moved = torch.stack([spread(s * step(4.0), noise=0.05, seed=2) for s in shares.values()])
    moved[2, -1] = 0.0
    moved = rearrange(moved, "edit depth pair -> edit 1 pair depth 1")
    return AblationProfile(
        provenance=provenance(),
        mode="denoise",
        to="source",
        coordinates="raw",
        n_reference=0,
        at_end=("always",),
        outcome=Effects(
            metrics=("logit_diff", "kl", "flip", "success"),
            coords={
                "edit": tuple(shares),
                "scope": ("local",),
                "depth": tuple(range(N_LAYERS + 1)),
                "position": ("prediction",),
            },
            values=torch.stack([2 * moved - 1, *[torch.ones_like(moved)] * 3]),
            base=torch.stack([-torch.ones(N), *[torch.zeros(N)] * 3]),
            source=torch.ones(4, N),
        ),
        angle=torch.ones(N, N_LAYERS + 1, 1),
        norm_ratio=torch.full((N, N_LAYERS + 1, 1), 1.05),
        self_patch_error=0.0,
    )


def locality(*, local: float = 2.0, whole: float = 3.0) -> LocalityProfile:
    """Block 3 alone moves `local`, block 5 half a nat, all together `whole`."""
    effects = torch.zeros(N_LAYERS)
    effects[3], effects[5] = local, 0.5
    alone = effects[None] + torch.linspace(-1e-3, 1e-3, N)[:, None]
    every = torch.full((N,), whole)
    return LocalityProfile(
        provenance=provenance(),
        mode="denoise",
        stream="attn_out",
        edit="full",
        position="prediction",
        metric="logit_diff",
        depths=torch.arange(N_LAYERS),
        base_value=-torch.ones(N),
        source_value=torch.full((N,), whole) - 1,
        local=alone,
        whole=every,
        without=every[:, None] - alone,
        direct=alone / 4,
        total=alone,
        total_at_base_scale=alone,
    )


def dose(*, half: float = 4.0, norm: float = 0.0) -> DoseProfile:
    """Half of the turn moves 0.6 of the logit difference from a depth on; the norm `norm` of it
    at its largest factor."""
    parts, doses = zip(
        *[(part, dose) for part in ("direction", "random_direction") for dose in (0.0, 0.5, 1.0)],
        *[("norm", factor) for factor in (0.5, 1.0, 2.0)],
        strict=True,
    )
    sizes = [0.0, 0.6, 1.0, 0.0, 0.2, 0.4, 0.0, 0.0, norm]
    moved = torch.stack([spread(size * step(half)).T for size in sizes])
    return DoseProfile(
        provenance=provenance(),
        mode="denoise",
        coordinates="raw",
        position="prediction",
        parts=parts,
        doses=torch.tensor(doses),
        angle=torch.ones(N, N_LAYERS + 1),
        outcome=Effects(
            metrics=("logit_diff", "kl", "flip", "success"),
            coords={"dose": tuple(range(len(parts))), "depth": tuple(range(N_LAYERS + 1))},
            values=torch.stack([2 * moved - 1, 3 * moved, moved, moved]),
            base=torch.stack([-torch.ones(N), *[torch.zeros(N)] * 3]),
            source=torch.ones(4, N),
        ),
    )


def steering(at: float | None = 4.0, *, sustained: float | None = None) -> SteeringProfile:
    """Curves that cross at a depth; the norm does nothing, controls neither.

    Sustained, output-centric steering works from the start, unless `sustained` says where.
    """
    edits = ("full", "direction", "norm", "random", "shuffled")
    success = torch.zeros(len(edits), 2, 2, N_LAYERS + 1, N)
    for s, crossing in enumerate((at, sustained)):
        early = torch.ones(N_LAYERS + 1) if crossing is None else 1 - step(crossing)
        late = torch.ones(N_LAYERS + 1) if s and crossing is None else step(crossing or 99.0)
        success[:2, s] = torch.stack([trials(early), trials(late)])
    success = rearrange(success, "edit scope position depth pair -> edit scope pair depth position")
    start = {"logit_diff": -4.0, "success": 0.0, "answer_probability": 0.0, "kl_to_source": 5.0}
    end = {"logit_diff": 4.0, "success": 1.0, "answer_probability": 1.0, "kl_to_source": 0.0}
    return SteeringProfile(
        provenance=provenance(),
        mode="denoise",
        outcome=Effects(
            metrics=(*start, "flip"),
            coords={
                "edit": edits,
                "scope": ("local", "suffix"),
                "depth": tuple(range(N_LAYERS + 1)),
                "position": ("input", "prediction"),
            },
            values=torch.stack([success, success, success, 5 * (1 - success), success]),
            base=torch.tensor([*start.values(), 0.0])[:, None].expand(5, N),
            source=torch.tensor([*end.values(), 1.0])[:, None].expand(5, N),
        ),
        labels=(("January", "May"), ("March", "July")),
        base_label=torch.zeros(2, N, dtype=torch.long),
        source_label=torch.ones(2, N, dtype=torch.long),
        folds=torch.arange(N).expand(2, N) % 5,
        centroid_sizes=torch.full((2, 2, N), 7),
        strength=1.0,
        budget=None,
        vector_norm=torch.ones(N, N_LAYERS + 1, 2),
        state_norm=torch.ones(N_LAYERS + 1, 2),
    )


def decoding(*, norm: float = 0.6, p: float = 0.001) -> DecodingProfile:
    """The norm tells `beta` from the middle on with a score and a p-value; the direction all."""
    score = torch.stack([norm * step(4.0), torch.ones(N_LAYERS + 1), torch.ones(N_LAYERS + 1)])
    p_values = torch.full((3, N_LAYERS + 1), 1e-4)
    p_values[0] = torch.where(step(4.0) > 0.5, p, 0.8)
    return DecodingProfile(
        provenance=provenance(),
        position="prediction",
        coordinates="raw",
        depths=torch.arange(N_LAYERS + 1),
        parts=("norm", "direction", "state"),
        labels=("beta",),
        kinds=("class",),
        n_classes=(4,),
        n_samples=(N,),
        skipped={"unit": "it is constant"},
        score=score[None],
        low=score[None] - 0.1,
        high=score[None] + 0.1,
        null_mean=torch.full((1, 3, N_LAYERS + 1), 0.25),
        null_high=torch.full((1, 3, N_LAYERS + 1), 0.4),
        p=p_values[None],
        difference_low=torch.full((1, N_LAYERS + 1), -0.5),
        difference_high=torch.full((1, N_LAYERS + 1), -0.1),
    )


def geometry(*, rho: float = 0.8, p: float = 0.001) -> GeometryProfile:
    """Angles follow predictions from the middle on with correlation `rho`; norms do not."""
    coupling = rho * step(4.0)
    coupling[0] = torch.nan
    flat = torch.zeros(N_LAYERS + 1)
    values = dict.fromkeys(("cosine", "centred_cosine", "standardized_cosine"), flat + 0.1)
    values |= dict.fromkeys(("effective_rank", "participation_ratio", "two_nn"), flat + 3)
    for target in ("js", "alpha"):
        values |= dict.fromkeys(coupling_names(target), flat)
    values |= {"angle_js": coupling, "angle_js_given_norm": coupling}
    value = torch.stack(list(values.values()))
    alike = 1 - (torch.arange(N_LAYERS + 1.0)[:, None] - torch.arange(N_LAYERS + 1.0)).abs() / 10
    return GeometryProfile(
        provenance=provenance(),
        norm=spread(torch.arange(1.0, N_LAYERS + 2), noise=0.1),
        step_angle=spread(step(4.0), noise=0.01)[1:].abs(),
        angle_to_final=spread(1 - step(4.0), noise=0.01).abs(),
        update=spread(step(4.0), noise=0.01)[1:].abs(),
        update_angle=spread(1 + flat, noise=0.01)[1:],
        attn_write=spread(step(4.0), noise=0.01)[1:].abs(),
        mlp_write=None,
        massive=torch.zeros(N_LAYERS + 1, N),
        curvature=spread(2 + flat, noise=0.01),
        coupling_prompts=torch.arange(N),
        contexts=("alpha",),
        measures=tuple(values),
        value=value,
        low=value - 0.05,
        high=value + 0.05,
        p=torch.stack([torch.full_like(flat, p if name == "angle_js" else 0.7) for name in values]),
        cka=alike,
        cka_low=alike - 0.05,
        cka_high=alike + 0.05,
        procrustes=alike,
        procrustes_low=alike - 0.05,
        procrustes_high=alike + 0.05,
        procrustes_chance=torch.zeros_like(alike),
        pairs=torch.tensor([[0, 1], [0, 2], [1, 2]]),
        pair_angle=spread(1 + flat, noise=0.1)[:, :3],
        pair_js=torch.tensor([0.1, 0.2, 0.3]),
    )


def interval(curve: Float[Tensor, " depth"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high) around a curve."""
    mean = curve.double().numpy()
    return mean, mean - 0.1, mean + 0.1


def claims(**effects: float | None) -> ClaimTable:
    """A finding for each statement: clearly beyond its threshold, or as given by its key."""
    findings = []
    for one in STATEMENTS:
        beyond = {"greater": 2.0, "less": 0.5, "equivalent": 0.1}[one.expect] * one.threshold
        effect = effects.get(one.key, beyond)
        found = None if effect is None else Estimate(value=effect, se=0.01, n=N)
        findings.append(
            make_finding(
                one.key,
                found,
                says=one.says,
                unit=one.unit,
                expect=one.expect,
                threshold=one.threshold,
                reason="too few" if found is None else "",
            )
        )
    nothing = torch.full((N_LAYERS + 1,), float("nan"))
    return ClaimTable(
        provenance=provenance(),
        claims=tuple(judge_claims(findings)),
        findings=tuple(findings),
        accuracy=1.0,
        n_pairs=N,
        n_prompts=N,
        located=1.0,
        handover=step(4.0),
        handover_low=nothing,
        handover_high=nothing,
    )


def report(task: Task, *, name: str = "toy", **changes: object) -> Measured:
    """A report of planted numbers, on a task of as many pairs."""
    profile, patched, steered = lens(5.0, name=name), patch(4.0), steering(4.0)
    index = [i % len(task) for i in range(N)]
    findings = Measured(
        task=task.select(index),
        lens=profile,
        tokens=lens(5.0, name=name),
        transition=find_transition(profile, n_resamples=50),
        patch=patched,
        crossing=find_crossing(patched, n_resamples=50),
        steering=steered,
        steering_crossing=find_crossing(steered, n_resamples=50),
        sustained_crossing=find_steering_crossing(steered, scope="suffix", n_resamples=50),
        commitment=None,
        change_point=None,
        locality=locality(),
        ablation=ablation(),
        dose=dose(),
        decoding=decoding(),
        geometry=geometry(),
        claims=claims(),
        seed=0,
        absent={},
        seconds={"lens": 0.1},
    )
    return replace(findings, **changes)
