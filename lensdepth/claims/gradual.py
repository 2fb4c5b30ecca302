"""C1 and C3: how much of the depth a pair's handover takes, and how much a change of its geometry.

Both are judged pair by pair. A mean curve is gradual where prompts switch sharply at different
depths; that spread is a number of its own.
"""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.claims.estimate import rise_width, rises_to
from lensdepth.claims.zones import at_all_depths
from lensdepth.patching.profile import PatchProfile

LEAST_HANDOVER = 0.2
"""Below this share of the way there is no handover to time, in a pair or over all of them."""


def before_last(curves: Float[Array, "*row depth"]) -> Float[Array, "*row before"]:
    """Curves over depths 0 ... L without depth L, which decides nothing: there the last token is
    all that is read, so that every handover is complete, by construction."""
    return curves[..., :-1]


def handover(patch: PatchProfile, metric: str) -> Float[Array, "pair depth"]:
    """Half of 1 + what patching the prediction position gives - what the input position does, as
    `at_all_depths` gives it.

    0 where the input decides alone, 1 where the last token does.

    Args:
        patch: of both positions.
        metric: `success`, 0 or 1 in each pair; or `transferred`, the fraction of the logit
            difference, which says how gradual a pair's own handover is (success jumps where the
            two answers change places, however slowly they do).
    """
    if metric == "success":
        at_input, at_end = (patch.efficacy(name) for name in ("input", "prediction"))
    else:
        moved = patch.outcome.at(control="none").transferred("logit_diff")[..., 0]
        at_input, at_end = (
            moved[..., patch.positions.index(name)] for name in ("input", "prediction")
        )
    return at_all_depths((1 + at_end - at_input) / 2, patch)


def shown_handover(
    patch: PatchProfile | None, n_layers: int
) -> tuple[Float[Array, " depth"], Float[Array, " depth"], Float[Array, " depth"]]:
    """Its mean by depth with the interval; NaN at depths where it was not measured."""
    if patch is None:
        nothing = np.full(n_layers + 1, np.nan)
        return nothing, nothing, nothing
    measured = np.isin(np.arange(n_layers + 1), patch.depths.numpy())
    curve = handover(patch, "success")
    mean, low, high = (
        np.where(measured, ends, np.nan)
        for ends in stats.mean_interval(curve, units=patch.provenance.units)
    )
    return mean, low, high


def handed_over(curves: Float[Array, "pair depth"]) -> Float[Array, "pair depth"]:
    """The curves of pairs whose control passes; NaN in the others."""
    passes = np.abs(curves[:, -1] - curves[:, 0]) >= LEAST_HANDOVER
    return np.where(passes[:, None], curves, np.nan)


def widths(curves: Float[Array, "pair depth"]) -> Float[Array, " pair"]:
    """10 to 90 % of each pair's own handover, as a fraction of these depths."""
    return np.array([rise_width(curve) for curve in handed_over(curves)])


def middles(curves: Float[Array, "pair depth"]) -> Float[Array, " pair"]:
    """Where each pair's own handover is half done, as a fraction of these depths."""
    return np.array([rises_to(curve, 0.5) for curve in handed_over(curves)])


def change_width(curves: Float[Array, "pair depth"]) -> Float[Array, " pair"]:
    """Fraction of these depths in which 10 to 90 % of all change of each pair's curve happens.

    Change of either sign counts. A straight line gives 0.8, one of n steps 0.8 / n; NaN where
    nothing changes, or where a number is missing.
    """
    steps = np.abs(np.diff(curves, axis=1))
    ways = np.concatenate([np.zeros((len(curves), 1)), np.cumsum(steps, axis=1)], axis=1)
    return np.array([rise_width(way) for way in ways])


def participation(states: Float[Tensor, "depth pair d_model"]) -> Float[Array, "pair depth"]:
    """Directions that the states spread over, as each state sees it.

    1 / mean squared cosine of its deviation from the mean state with those of all states: 1 where
    all deviate along one line, d where they do along d orthogonal directions alike. Depths at which
    all prompts have one state, as often at the embedding, get the number of the first at which they
    have not: from no spread to some is no reorganisation.
    """
    x = states.double()
    x = x - x.mean(1, keepdim=True)
    squared = x.square().sum(-1)
    unit = x / squared.sqrt().clamp_min(torch.finfo(torch.float64).tiny)[..., None]
    cosine = (unit @ unit.transpose(1, 2)).square().mean(-1)
    found = 1 / cosine.clamp_min(torch.finfo(torch.float64).tiny)
    # Rounding leaves some spread where all prompts have one state.
    spread = squared.mean(1) >= 1e-9 * states.double().square().sum(-1).mean(1)
    seen = spread.nonzero()[:, 0].tolist()
    if not seen:
        return np.full((states.shape[1], len(states)), np.nan)
    for depth in range(len(states)):
        if not spread[depth]:
            found[depth] = found[next((d for d in seen if d > depth), seen[-1])]
    return found.T.numpy()
