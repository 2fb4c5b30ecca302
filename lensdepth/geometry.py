"""Geometry of the residual states by depth, and whether it follows the prediction.

Norms, the angle turned in each layer, how many dimensions the cloud of prompts fills, and the
correlation of pairwise angles (and norm differences) with pairwise divergences of the model's
final distributions (claims C3, C4 and C6 of Haim & McNamee, arXiv 2602.04931). Position 0 is an
attention sink with a huge norm and is left out unless asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import rankdata
from torch import Tensor

from lensdepth import metrics, polar, stats
from lensdepth.model import DepthModel
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.roles import gather_prompts
from lensdepth.storage import load_result, save_result
from lensdepth.tasks import Task
from lensdepth.tokens import Positions, Prompts, resolve_positions

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Array = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class GeometryProfile:
    """Geometry at one position of each prompt; intervals are over prompts."""

    provenance: Provenance
    norm: Float[Tensor, "depth prompt"]
    """Length of each state."""
    step_angle: Float[Tensor, "layer prompt"]
    """Angle in radians between the states before and after each block."""
    cosine: Float[Tensor, "depth prompt"]
    """Mean cosine of a prompt's state to the other prompts' states."""
    standardized_cosine: Float[Tensor, "depth prompt"]
    """The same after each coordinate is standardised over prompts, so that no one of them rules."""
    effective_rank: Float[Tensor, " depth"]
    """exp(entropy) of the normalised spectrum of the centred cloud; at least 1."""
    effective_rank_low: Float[Tensor, " depth"]
    effective_rank_high: Float[Tensor, " depth"]
    coupling_prompts: Int[Tensor, " sample"]
    """Prompts between which pairwise measures were taken."""
    angle_js: Float[Tensor, " depth"]
    """Spearman correlation, over pairs of prompts, of the angle between their states with the
    Jensen-Shannon divergence between their final next-token distributions."""
    angle_js_low: Float[Tensor, " depth"]
    angle_js_high: Float[Tensor, " depth"]
    angle_js_p: Float[Tensor, " depth"]
    """Mantel permutation p-value, two-sided, not corrected over depths."""
    norm_js: Float[Tensor, " depth"]
    """The same for the difference of norms."""
    norm_js_low: Float[Tensor, " depth"]
    norm_js_high: Float[Tensor, " depth"]
    norm_js_p: Float[Tensor, " depth"]

    @property
    def n_layers(self) -> int:
        return self.norm.shape[0] - 1

    def to_frame(self) -> "pd.DataFrame":
        """One row a depth and measure: value with its 95 % interval over prompts."""
        import pandas as pd

        rows = []
        for measure, values, depths in (
            ("norm", self.norm, range(self.n_layers + 1)),
            ("step_angle", self.step_angle, range(1, self.n_layers + 1)),
            ("cosine", self.cosine, range(self.n_layers + 1)),
            ("standardized_cosine", self.standardized_cosine, range(self.n_layers + 1)),
        ):
            mean, low, high = stats.bootstrap_mean(values.T.numpy())
            for depth, m, lo, hi in zip(depths, mean, low, high, strict=True):
                rows.append((depth, measure, m, lo, hi, np.nan))
        for measure in ("effective_rank", "angle_js", "norm_js"):
            p = getattr(self, f"{measure}_p", None)
            for depth in range(self.n_layers + 1):
                bounds = [
                    getattr(self, measure + end)[depth].item() for end in ("", "_low", "_high")
                ]
                rows.append((depth, measure, *bounds, np.nan if p is None else p[depth].item()))
        frame = pd.DataFrame(rows, columns=["depth", "measure", "value", "low", "high", "p"])
        frame.insert(1, "relative_depth", frame["depth"] / self.n_layers)
        return frame

    def plot(self) -> "Figure":
        """Norm, step angle, effective rank, and coupling to the prediction, by depth."""
        from lensdepth import plotting

        depths = np.arange(self.n_layers + 1)
        norm = plotting.Curve.from_interval(
            "norm", *stats.bootstrap_mean(self.norm.T.numpy()), role="norm"
        )
        step = plotting.Curve.from_interval(
            "step angle, rad",
            *stats.bootstrap_mean(self.step_angle.T.numpy()),
            role="direction",
            depths=depths[1:],
        )
        rank, angle_js, norm_js = (
            plotting.Curve.from_interval(
                title,
                *(getattr(self, name + end).numpy() for end in ("", "_low", "_high")),
                role=role,
            )
            for name, title, role in (
                ("effective_rank", "effective rank", "full"),
                ("angle_js", "Spearman: angle with JS of predictions", "direction"),
                ("norm_js", "Spearman: norm difference with JS of predictions", "norm"),
            )
        )
        return plotting.depth_panels(
            [norm, step, rank, angle_js, norm_js],
            n_layers=self.n_layers,
            title="Geometry by depth",
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "GeometryProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)


def geometry_profile(
    model: DepthModel,
    prompts: Task | Prompts,
    *,
    positions: Positions = "last",
    include_first: bool = False,
    n_coupling: int = 160,
    n_resamples: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> GeometryProfile:
    """Measure the cloud of residual states at one position of each prompt, depth by depth.

    Args:
        model: any wrapped model.
        prompts: a task (its clean prompts), or at least three prompts as text or token ids.
        positions: "last", or one index per prompt.
        include_first: allow position 0, the attention sink.
        n_coupling: pairwise measures are taken on a random sample of at most this many prompts.
        n_resamples: bootstrap resamples, and permutations of the Mantel test. None takes 400, or 40
            for each depth where that is more: a p-value cannot fall below 1 / (1 + n_resamples),
            and Holm's correction multiplies it by the number of depths.
        seed: of the sample, the bootstrap and the permutations.
    Returns:
        GeometryProfile.
    Raises:
        ValueError: fewer than three prompts, more than one position a prompt, or position 0.
    Source: effective rank: Roy & Vetterli 2007; Mantel 1967; standardised cosine: Timkey & van
        Schijndel 2021, arXiv 2109.04404.
    Example:
        >>> geometry_profile(model, load_task("months", model)).angle_js
    """
    task, texts, batch = gather_prompts(model, prompts)
    if len(batch) < 3:
        raise ValueError(
            f"geometry_profile: a cloud needs at least 3 prompts, got {len(batch)}; pass more."
        )
    position = resolve_positions(batch, positions)
    if position.shape[1] != 1:
        raise ValueError(
            f"geometry_profile: one position a prompt is needed, got {position.shape[1]}; "
            f"pass 'last' or one index per prompt."
        )
    at_first = (position == 0).flatten().nonzero().flatten().tolist()
    if at_first and not include_first:
        raise ValueError(
            f"geometry_profile: prompt {at_first[0]} would be read at position 0, an attention "
            f"sink; use longer prompts or pass include_first=True."
        )
    resid = model.residual_stream(batch, positions=position, batch_size=batch_size).resid[:, :, 0]
    if n_resamples is None:
        n_resamples = max(400, 40 * (model.n_layers + 1))
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.permutation(len(texts))[:n_coupling])
    final = metrics.log_probs(model.readout(resid[-1, sample]))
    js_ranks = _pairwise_ranks(_pairwise_js(final))
    measures: dict[str, list[np.ndarray]] = {}
    for states in resid:
        chosen = states[sample]
        distances = {
            # Row by row: all pairs at once would hold prompt * prompt * d_model numbers.
            "angle_js": torch.stack([polar.angle(x.expand_as(chosen), chosen) for x in chosen]),
            "norm_js": (polar.norm(chosen)[:, None] - polar.norm(chosen)[None]).abs(),
        }
        for name, distance in distances.items():
            ranks = _pairwise_ranks(distance.double().nan_to_num(0.0).numpy())
            found = mantel(ranks, js_ranks, n_resamples=n_resamples, seed=seed)
            measures.setdefault(name, []).append(np.array(found))
        rank = effective_rank(states)
        low, high = _rank_interval(states, n_resamples=min(n_resamples, 200), seed=seed)
        measures.setdefault("effective_rank", []).append(np.array((rank, low, high)))
    columns = {
        name + end: torch.tensor(np.array(values)[:, i], dtype=torch.float32)
        for name, values in measures.items()
        for i, end in enumerate(("", "_low", "_high", "_p")[: len(values[0])])
    }
    return GeometryProfile(
        provenance=make_provenance(
            "geometry_profile",
            model.info,
            task=task.name if task is not None else "prompts",
            prompts=texts,
            settings={
                "positions": positions if isinstance(positions, str) else "given",
                "n_coupling": len(sample),
                "n_resamples": n_resamples,
            },
            seed=seed,
        ),
        norm=polar.norm(resid),
        step_angle=polar.angle(resid[:-1], resid[1:]),
        cosine=_mean_cosine(resid),
        standardized_cosine=_mean_cosine(_standardize(resid)),
        coupling_prompts=torch.from_numpy(sample),
        **columns,
    )


def effective_rank(states: Float[Tensor, "prompt d_model"]) -> float:
    """exp of the entropy of the normalised eigenvalues of the covariance.

    1 for a line, n for a ball in n dimensions; NaN where all states are the same.
    Source: Roy & Vetterli 2007, "The effective rank", with squared singular values.
    """
    centred = states.double() - states.double().mean(0)
    spectrum = torch.linalg.svdvals(centred).square()
    # What is left of rounding when equal states are centred is not a direction.
    if spectrum.sum() <= 1e-24 * states.double().square().sum():
        return float("nan")
    p = spectrum / spectrum.sum()
    return torch.special.entr(p).sum().exp().item()


def _rank_interval(
    states: Float[Tensor, "prompt d_model"], *, n_resamples: int, seed: int
) -> tuple[float, float]:
    """Interval by leaving out prompts: the bootstrap's repeated prompts would lower the rank.

    Half of the prompts at a time; the spread of half-sample estimates is that of the full-sample
    one for a statistic with root-n error (Politis, Romano & Wolf 1999, the half-sampling case).
    """
    generator = torch.Generator().manual_seed(seed)
    n = len(states)
    full = effective_rank(states)
    if np.isnan(full):
        return full, full
    halves = np.array(
        [
            effective_rank(states[torch.randperm(n, generator=generator)[: max(2, n // 2)]])
            for _ in range(n_resamples)
        ]
    )
    # Fewer prompts fill fewer dimensions, so only the spread of the halves is used.
    low, high = stats.percentile_interval(halves - np.nanmean(halves))
    return full + float(low), full + float(high)


def _pairwise_js(final: Float[Tensor, "prompt d_vocab"]) -> Float[Array, "prompt prompt"]:
    """Jensen-Shannon divergence in nats of every pair, one row of pairs at a time."""
    rows = [metrics.js_divergence(row.expand_as(final), final) for row in final]
    return torch.stack(rows).double().numpy()


def _pairwise_ranks(distance: Float[Array, "prompt prompt"]) -> Float[Array, "prompt prompt"]:
    """Distances of pairs replaced by their ranks; symmetric, zero on the diagonal."""
    i, j = np.triu_indices(len(distance), 1)
    ranks = np.zeros_like(distance)
    # Rounding noise must not rank pairs that are equally far.
    ranks[i, j] = rankdata(distance[i, j].round(6))
    return ranks + ranks.T


def _weighted_correlation(
    a: Float[Array, "prompt prompt"],
    b: Float[Array, "prompt prompt"],
    weight: Float[Array, "resample prompt"],
) -> Float[Array, " resample"]:
    """Pearson correlation over pairs i != j, a pair counting weight[i] * weight[j]."""

    def over_pairs(x: Float[Array, "prompt prompt"]) -> Float[Array, " resample"]:
        return np.einsum("ri,ri->r", weight @ x, weight)

    off_diagonal = 1.0 - np.eye(len(a))
    # A resample of one prompt alone has no pairs, and equal distances have no variance: NaN.
    with np.errstate(invalid="ignore", divide="ignore"):
        n = over_pairs(off_diagonal)
        mean_a, mean_b = over_pairs(a) / n, over_pairs(b) / n
        covariance = over_pairs(a * b) / n - mean_a * mean_b
        variance = (over_pairs(a * a) / n - mean_a**2) * (over_pairs(b * b) / n - mean_b**2)
        return np.where(variance > 1e-9, covariance / np.sqrt(variance), np.nan)


def mantel(
    a: Float[Array, "prompt prompt"],
    b: Float[Array, "prompt prompt"],
    *,
    n_resamples: int = 400,
    seed: int = 0,
) -> tuple[float, float, float, float]:
    """Correlation of two matrices of pairwise ranks: (rho, low, high, p).

    Pairs that share a prompt are not independent, so prompts are what is resampled for the
    interval and permuted for the two-sided p-value. The ranks are those of the whole sample.
    NaN with p = 1 where either matrix is constant.
    Source: Mantel 1967, "The detection of disease clustering".
    """
    n = len(a)
    rho = _weighted_correlation(a, b, np.ones((1, n)))[0]
    if np.isnan(rho):
        return float("nan"), float("nan"), float("nan"), 1.0
    counts = stats.resample_counts(n, n_resamples, seed).astype(float)
    low, high = stats.percentile_interval(_weighted_correlation(a, b, counts))
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(n, 1)
    x, y = a - a[i, j].mean(), b[i, j] - b[i, j].mean()
    scale = np.sqrt((x[i, j] ** 2).sum() * (y**2).sum())
    null = np.empty(n_resamples)
    for k in range(n_resamples):
        order = rng.permutation(n)
        null[k] = (x[order[i], order[j]] * y).sum() / scale
    return float(rho), float(low), float(high), stats.permutation_p(abs(rho), np.abs(null))


def _standardize(x: Float[Tensor, "depth prompt d_model"]) -> Float[Tensor, "depth prompt d_model"]:
    """Each coordinate with mean 0 and variance 1 over prompts; constant ones become 0."""
    centred = x - x.mean(1, keepdim=True)
    spread = centred.std(1, keepdim=True, correction=0)
    return torch.where(spread > 1e-6 * x.abs().amax(), centred / spread, 0.0)


def _mean_cosine(x: Float[Tensor, "depth prompt d_model"]) -> Float[Tensor, "depth prompt"]:
    """Mean cosine of each state to all the others at its depth."""
    u = polar.direction(x)
    total = u.sum(1, keepdim=True) - u
    return (u * total).sum(-1) / (x.shape[1] - 1)
