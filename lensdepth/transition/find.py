"""Where along the depth a profile switches, how sharply, and whether it switches at all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.lens.profile import LensProfile, ReadingName
from lensdepth.lens.told import MEASURES
from lensdepth.telling.numbers import Interval, counted, number, p_value, percent
from lensdepth.transition.null import flat_draws
from lensdepth.transition.pairs import switch_of_pairs
from lensdepth.transition.result import Switch, Transition
from lensdepth.transition.sigmoid import fit_sigmoids, unit_sigmoids
from lensdepth.units import FEWEST_UNITS, Grouping, Units, count, given_units, named, take

Array = np.ndarray
SMALLEST_CHANGE = 0.1
"""A profile that changes by less, beside its largest value, does not change with depth."""
NARROW = 0.25
"""10-90 % width, as a share of the depth, up to which a change is a switch: that of claim C1."""
WIDEST = 0.8
"""The same beyond which a change has no plateaus: a straight line has 0.8."""
LEAST_FIT = 0.9
"""Share of the mean profile's variance over depth, noise aside, that a sigmoid must explain for its
width to be that of the profile."""
CLEAR_FIT = 0.8
"""The same of a pair's own profile, in the median: with less, it is noise that is fitted."""
FEWEST_DEPTHS = 4
COMES_BACK = 0.4
"""Share of its change by which a profile may come back behind a switch."""


@checked
def find_transition(
    profile: LensProfile | Float[Tensor, "unit depth"],
    *,
    by: ReadingName | None = None,
    name: str | None = None,
    depths: Sequence[float] | None = None,
    units: Sequence[Grouping | Sequence[str | int]] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Transition:
    """Locate the switch of one profile over depth, with its uncertainty, and say if it is one.

    A switch is narrow: 10 to 90 % of the change takes at most a quarter of the depth. A sigmoid is
    fitted by least squares to the mean over pairs, on a fine grid of locations and widths (offset
    and height have a closed form), so that a fit never fails to converge. That the profile changes
    at all is tested against a flat one that strays as these units do. That the change is narrow is
    shown where the interval of its width lies below a quarter of the depth: that of the mean
    profile, or the median width of the pairs' own profiles where these are clear enough to have
    one, since pairs that each switch sharply at other depths have a mean that rises slowly. A
    change that is not shown to be narrow is a "rise", whatever its shape.

    A lens profile is read up to depth L, where the lens is the model's own output: that is where
    its divergence ends, a point of its scale and no measurement of a state among others; what
    changes in the last block alone is no switch. Curves of patching, steering and ablation end at
    depth L by construction as well, but as the outcome itself: leave that column out
    (`values[:, :-1]`), as `find_crossing` does.

    Args:
        profile: a lens profile, or values `[pair, depth]` of any measure, such as
            `patch_profile.efficacy("input")`. Pairs with a NaN are left out.
        by: what is read of a lens profile: "contrast" by default where it is of pairs, and "kl",
            its divergence from the final distribution, where it is not. A reading of all tokens
            begins at depth 1 where depth 0 reads back the token itself (tied embeddings).
        name: what the values are, for titles.
        depths: the depths of the columns; 0, 1, ... by default.
        units: which pairs go together and are not independent: groupings, each a label per pair,
            such as `[words, templates]`. None: those of the profile's task, and of bare values
            each pair by itself.
        n_resamples: draws of the mean profile, and of the null.
        seed: of both.
    Returns:
        Transition. Its verdict is "transition"; "rise" (it changes, and that it does so in a
        switch is not shown); "none" (no change with depth, a change in the first or the last
        block alone, one that comes back, or a drift without plateaus); "cannot tell" (chance, or
        too uncertain); or "too few" (fewer than 5 units).
    Raises:
        ValueError: fewer than four depths, no pair without NaN, infinite values, units that do
            not fit the pairs, a reading that the profile does not have.
    Example:
        >>> find_transition(logit_lens(model, task)).location
    """
    caller = "find_transition"
    provenance = profile.provenance if isinstance(profile, LensProfile) else None
    if isinstance(profile, LensProfile):
        by = by or profile.located_by
        name = name or MEASURES[by].title
        whole = (profile.reading(by), depths)
        values, depths = profile.to_locate(by) if depths is None else whole
    else:
        if by is not None:
            raise ValueError(f"{caller}: by={by!r} chooses among the readings of a lens profile.")
        values = profile
    whole = ~values.detach().cpu().isnan().any(1)
    if units is None and provenance is not None and len(provenance.prompts) == len(values):
        grouped, labels = provenance.units, provenance.labels
    else:
        grouped, labels = given_units(units, len(values), caller=caller), ()
    values, at = whole_units(values, depths, caller=caller)
    grouped, labels = (take(x, whole.numpy()) for x in (grouped, labels))
    y = values.double().numpy()
    fit = fit_sigmoids(y.mean(0, keepdims=True), at)
    location, change = float(fit["location"][0]), float(fit["change"][0])
    pairs = switch_of_pairs(
        y, at, location=location, change=change, units=grouped, labels=labels, seed=seed
    )
    limit = NARROW * float(at[-1] - at[0])
    own, p_own = _width_of_pairs(y, at, grouped, limit, seed)
    found = {
        "name": name or "profile",
        "provenance": provenance,
        "units": grouped,
        "depths": torch.from_numpy(at).float(),
        "curve": values.float(),
        "pairs": pairs,
        "pair_width": own.value,
        "pair_width_low": own.low,
        "pair_width_high": own.high,
        "seed": seed,
        **{
            key: float(fit[key][0]) for key in ("location", "width", "change", "start", "r_squared")
        },
    }
    n_units = count(grouped, len(y))
    if n_units < FEWEST_UNITS:
        ends = ("location_low", "location_high", "width_low", "width_high")
        return Transition(
            verdict="too few",
            reason=too_few(n_units, grouped),
            **dict.fromkeys(("p", "p_flat", "p_wide"), 1.0),
            **dict.fromkeys(ends, float("nan")),
            **found,
        )
    (drawn,) = stats.drawn_means(y, units=grouped, n_resamples=n_resamples, seed=seed)
    draws = fit_sigmoids(drawn, at)
    low, high = stats.corrected_interval(draws["location"], location)
    ends = {"location_low": low, "location_high": high}
    ends["width_low"], ends["width_high"] = stats.scale_interval(
        lambda means: fit_sigmoids(means, at)["width"], y, draws["width"], units=grouped
    )
    still = _is_still(y, draws["change"])
    p_flat = 1.0
    if not still:
        (flat,) = flat_draws(y, units=grouped, n_resamples=n_resamples, seed=seed)
        p_flat = stats.permutation_p(
            float(fit["explained"][0]), fit_sigmoids(flat, at)["explained"]
        )
    p_wide = p_own
    if np.isnan(own.value):
        p_wide = stats.permutation_p(limit, np.nan_to_num(draws["width"], nan=np.inf))
    verdict, reason = _judge(
        y.mean(0),
        at,
        still=still,
        p_flat=p_flat,
        p_wide=p_wide,
        fitted=found | ends,
        noise=float(((drawn - drawn.mean(1, keepdims=True)).var(0)).sum()),
    )
    return Transition(
        verdict=verdict,
        reason=reason,
        p=max(p_flat, p_wide),
        p_flat=p_flat,
        p_wide=p_wide,
        **ends,
        **found,
    )


def why_not_sought(profile: LensProfile) -> str | None:
    """Why a lens's switch cannot be looked for by its own reading; None where it can."""
    values, depths = profile.to_locate()
    if len(depths) < FEWEST_DEPTHS:
        return f"{counted(len(depths), 'depth')} to read, and a switch needs {FEWEST_DEPTHS}"
    if values.isinf().any():
        return f"the lens has infinite values of {MEASURES[profile.located_by].name}"
    return None


def too_few(n_units: int, units: Units) -> str:
    """Why so few units give no verdict, in words."""
    if not units:
        return f"{counted(n_units, 'pair')}; from {FEWEST_UNITS} on there is a verdict"
    return (
        f"{n_units} independent units ({named(units)}); from {FEWEST_UNITS} on there is a verdict"
    )


def _width_of_pairs(
    y: Float[Array, "pair depth"],
    at: Float[Array, " depth"],
    units: Units,
    limit: float,
    seed: int,
) -> tuple[Interval, float]:
    """Median width of the pairs' own profiles, where these are clear enough to have one, and p of
    "half of them or fewer are narrower than the limit".

    Noise makes single profiles look sharper than they are. So each pair is also fitted as it would
    look if it were a quarter wider than the limit, with its own noise, and narrow pairs must be
    more than among these: the larger p counts.
    """
    own = fit_sigmoids(y, at)
    moving = ~np.isnan(own["width"])
    if not moving.any() or np.median(own["r_squared"][moving]) < CLEAR_FIT:
        return Interval(value=float("nan"), low=float("nan"), high=float("nan")), 1.0
    narrow = np.where(moving, own["width"] <= limit, 0.0)
    location = np.where(moving, own["location"], at.mean())
    start, change = own["start"][:, None], own["change"][:, None]
    own_width = np.where(moving, own["width"], limit)
    noise = y - start - change * unit_sigmoids(at, location, own_width)
    # Four numbers of a sigmoid have been fitted, which takes noise away.
    noise *= np.sqrt(len(at) / max(len(at) - 4, 1))
    # The noise of one depth follows that of the depth before: it is turned round as a whole.
    turned = np.random.default_rng(seed).choice([-1.0, 1.0], size=(len(y), 1)) * noise[:, ::-1]
    wide = start + change * unit_sigmoids(at, location, np.full(len(y), 1.25 * limit)) + turned
    as_wide = fit_sigmoids(wide, at)["width"] <= limit
    p_noise = stats.p_positive(narrow - as_wide, units=units)
    # Under the null half of the pairs are narrow, also where all those seen are.
    p_most = stats.p_positive(narrow - 0.5, units=units, least=0.25 / len(narrow))
    p = max(p_most, p_noise)
    return stats.median_interval(own["width"], units=units), p


def _is_still(y: Float[Array, "pair depth"], changes: Float[Array, " draw"]) -> bool:
    largest = np.abs(stats.percentile_interval(changes)).max()
    return bool(largest < SMALLEST_CHANGE * max(np.abs(y.mean(0)).max(), 1e-12))


def _judge(
    mean: Float[Array, " depth"],
    at: Float[Array, " depth"],
    *,
    still: bool,
    p_flat: float,
    p_wide: float,
    fitted: Mapping[str, Any],
    noise: float,
) -> tuple[Switch, str]:
    """Verdict and reason; `noise` is the sum of squares about its mean that noise adds."""
    span, change = float(at[-1] - at[0]), fitted["change"]
    total = ((mean - mean.mean()) ** 2).sum()
    left = total * (1 - fitted["r_squared"])
    if still:
        return "none", f"the profile changes by less than {SMALLEST_CHANGE:.0%} of its size"
    if p_flat >= stats.ALPHA:
        return "cannot tell", f"the change with depth could be chance ({p_value(p_flat)})"
    if fitted["location"] < at[1]:
        return "none", "what changes has changed by the first depth after the embedding"
    if fitted["location"] > at[-2]:
        return "none", "what changes does so in the last block alone, which decides nothing"
    back = comes_back(mean, change)
    if back > COMES_BACK:
        return "none", f"what changes comes back by {percent(back)} of the change"
    if p_wide < stats.ALPHA and not np.isnan(fitted["pair_width"]):
        width = number(fitted["pair_width"])
        return "transition", f"10 to 90% of a pair's change take {width} depths (median)"
    if fitted["width"] > WIDEST * span:
        return "none", "a drift over the whole depth, without a plateau on either side"
    uncertainty = fitted["location_high"] - fitted["location_low"]
    if not uncertainty <= span / 2:
        return "cannot tell", f"the location is uncertain by {number(uncertainty)} depths"
    explained = f"a sigmoid explains {percent(fitted['r_squared'])} of the change with depth"
    fit = 1 - max(left - noise, 0.0) / max(total - noise, 1e-12 * total)
    if fit < 0.5:
        return "cannot tell", f"{explained} only"
    if fit < LEAST_FIT:
        return "rise", f"{explained} only, so that its width is not that of the profile"
    if p_wide < stats.ALPHA and np.isnan(fitted["pair_width"]):
        return "transition", f"{explained}, in {number(fitted['width'])} depths"
    width = fitted["width"] if np.isnan(fitted["pair_width"]) else fitted["pair_width"]
    known = "is not shown to take" if width <= NARROW * span else "does not take"
    return "rise", f"10 to 90% of the change {known} less than {percent(NARROW)} of the depth"


def comes_back(mean: Float[Array, " depth"], change: float) -> float:
    """Most by which a profile goes against its change behind any depth, as a share of it."""
    along = mean * np.sign(change)
    return float((np.maximum.accumulate(along) - along).max() / abs(change))


def whole_units(
    values: Float[Tensor, "unit depth"], depths: Sequence[float] | None, *, caller: str
) -> tuple[Float[Tensor, "whole_unit depth"], Float[Array, " depth"]]:
    """Units without NaN, and the depths as numbers.

    Raises:
        ValueError: fewer than four depths, no unit without NaN, infinite values.
    """
    at = np.arange(values.shape[1], dtype=float) if depths is None else np.array(depths, float)
    if len(at) != values.shape[1] or len(at) < FEWEST_DEPTHS or (np.diff(at) <= 0).any():
        raise ValueError(
            f"{caller}: needs values [unit, depth] at four or more increasing depths, got "
            f"{values.shape[1]} columns and {len(at)} depths."
        )
    if values.isinf().any():
        raise ValueError(f"{caller}: the profile holds infinite values; leave those prompts out.")
    values = values.detach().cpu()
    whole = values[~values.isnan().any(1)]
    if not len(whole):
        raise ValueError(f"{caller}: every one of the {len(values)} units holds a NaN.")
    return whole, at
