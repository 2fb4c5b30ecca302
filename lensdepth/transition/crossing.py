"""Where control passes from one position to the other: two efficacy curves that change places."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import Protocol, runtime_checkable

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.outside import cut
from lensdepth.provenance import Provenance
from lensdepth.telling.depths import before_last
from lensdepth.telling.names import has_blocks, position_name
from lensdepth.telling.numbers import percent
from lensdepth.transition.crossed import crossed
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.handover import (
    HELD,
    MARGIN,
    PREDICTION_NEVER,
    arrives_last,
    held_between,
    held_to_end,
)
from lensdepth.transition.holders import Looked, find_holders
from lensdepth.transition.pairs import switch_of_pairs
from lensdepth.units import Grouping, Units, given_units

Array = np.ndarray
ENDS = ("input", "prediction")
READ_AT_END = ("resid_pre", "resid_post")
"""Streams whose state at depth L is the one that is read: there the last token decides and no other
does, by construction, so that this depth has no say."""


@runtime_checkable
class Controlled(Protocol):
    """Success by position, depth and pair: a profile of patching or of steering."""

    @property
    def provenance(self) -> Provenance: ...
    @property
    def positions(self) -> tuple[str, ...]: ...
    @property
    def stream(self) -> str: ...
    @property
    def depths(self) -> Int[Tensor, " depth"]: ...
    def efficacy(self, position: str) -> Float[Tensor, "pair depth"]: ...
    def moved(self, position: str) -> Float[Tensor, "pair depth"]: ...


@runtime_checkable
class Steered(Controlled, Protocol):
    """The same for several edits and scopes: a profile of steering."""

    @property
    def edits(self) -> tuple[str, ...]: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    def efficacy(
        self, position: str, *, edit: str = "full", scope: str | None = None
    ) -> Float[Tensor, "pair depth"]: ...
    def moved(
        self, position: str, *, edit: str = "full", scope: str | None = None
    ) -> Float[Tensor, "pair depth"]: ...


@checked
def find_crossing(
    first: Controlled | Float[Tensor, "unit depth"],
    second: Float[Tensor, "unit depth"] | None = None,
    *,
    depths: Sequence[float] | None = None,
    units: Sequence[Grouping | Sequence[str | int]] | None = None,
    n_resamples: int = 1000,
    level: float = stats.LEVEL,
    seed: int = 0,
) -> Crossing:
    """Depth at which control passes from the input position to the prediction position.

    The difference of the two mean curves is interpolated linearly where it changes sign for the
    last time; where both are equal, that which moves more of the logit difference leads, and of
    bare curves the middle counts. The first curve must lead by
    0.05 somewhere before, and the second by 0.05 somewhere after. It is a crossing where somebody
    is in control all the way: the first curve reaches 0.5 before, the second after, and at the
    measured depths between both together. Where nobody is, control rests elsewhere: a gap.

    Args:
        first: a patch or steering profile with both positions (of steering, the whole difference
            at one depth), or the efficacy that leads early.
        second: the efficacy that leads late, for the same pairs; not with a profile.
        depths: the depths of the columns, increasing; 0, 1, ... by default. Not with a profile,
            which has its own.
        units: which pairs go together and are not independent: groupings, each a label per pair,
            such as `[words, templates]`. None: those of the profile's task, and of bare curves
            each pair by itself.
        n_resamples: draws of both mean curves.
        level: coverage of the interval, and share of the draws that decide a verdict.
        seed: of the draws.
    Returns:
        Crossing. "crossing" where at least 95 % of the draws cross, the second curve does not lead
        before the first one last does, and somebody is in control throughout; "gap" where they
        change places and nobody is in between, or where the first has lost control before the last
        block and the second has it after that block alone, with who is, if the profile has further
        positions (see `find_holder`); "none" where at most 5 % of the draws cross, or one position
        never reaches 0.5; "too few" where there are fewer than 5 units; else "cannot tell".
    Raises:
        ValueError: shapes that differ, depths or units that do not fit them, a profile without
            both positions, or one with curves or depths beside it.
    Example:
        >>> find_crossing(patch_sweep(model, task)).depth
    """
    caller = "find_crossing"
    if not isinstance(first, Tensor):
        beside = {"second": second, "depths": depths}
        given = [name for name, value in beside.items() if value is not None]
        if given:
            raise ValueError(
                f"find_crossing: a {type(first).__name__} has both curves and their depths; leave "
                f"out {' and '.join(given)}, or give two curves in place of the profile."
            )
        n_pairs = len(first.efficacy("input"))
        grouped = None if units is None else given_units(units, n_pairs, caller=caller)
        return _of_profile(
            first, {}, units=grouped, n_resamples=n_resamples, level=level, seed=seed
        )
    if second is None or second.shape != first.shape:
        got = None if second is None else tuple(second.shape)
        raise ValueError(
            f"find_crossing: two curves [unit, depth] of one shape are needed, got "
            f"{tuple(first.shape)} and {got}."
        )
    if len(first) < 1 or first.shape[1] < 2:
        raise ValueError(
            f"find_crossing: needs a unit and two depths at least, got {tuple(first.shape)}."
        )
    first, second = first.detach().cpu(), second.detach().cpu()
    at = np.arange(first.shape[1], dtype=float) if depths is None else np.array(depths, float)
    if len(at) != first.shape[1] or not (np.diff(at) > 0).all():
        raise ValueError(
            f"find_crossing: depths must increase, one for each of the {first.shape[1]} columns; "
            f"got {len(at)} of them: {cut(str(at.tolist()))}."
        )
    return _crossing(
        first.double().numpy(),
        second.double().numpy(),
        at,
        units=given_units(units, len(first), caller=caller),
        n_resamples=n_resamples,
        level=level,
        seed=seed,
    )


def _of_profile(
    profile: Controlled,
    read: Mapping[str, Any],
    *,
    units: Units | None,
    n_resamples: int,
    level: float = stats.LEVEL,
    seed: int,
) -> Crossing:
    """The crossing of a profile's two curves, and who holds a gap, as far as it tells.

    Args:
        profile: with both positions.
        read: which of its edits and scopes.
        units: other ones than those of its task.
        n_resamples: draws of both mean curves.
        level: as of `find_crossing`.
        seed: of the draws.
    """
    # What a block puts out stands at the depth after it.
    at = (profile.depths + has_blocks(profile.stream)).double().numpy()
    n_layers = profile.provenance.model.n_layers
    judged = list(range(len(at)))
    if profile.stream in READ_AT_END:
        judged = before_last(at.tolist(), n_layers)
    alone = len(at) > 1 >= len(judged)
    if alone:  # nothing to compare with
        judged = list(range(len(at)))

    def curve(values: Tensor) -> Float[Array, "pair depth"]:
        return values.detach().cpu().double().numpy()[:, judged]

    whole = [profile.efficacy(name, **read) for name in ENDS]
    first, second = map(curve, whole)
    passes_at_end = bool((whole[1][:, -1] - whole[0][:, -1]).nanmean() > MARGIN)
    if first.shape[1] < 2:
        raise ValueError(
            f"find_crossing: needs a pair and two depths at least, got {tuple(first.shape)}."
        )
    found = _crossing(
        first,
        second,
        at[judged],
        moved=np.stack([curve(profile.moved(name, **read)) for name in ENDS]),
        units=profile.provenance.units if units is None else units,
        provenance=profile.provenance,
        last=n_layers if len(judged) < len(at) and passes_at_end else None,
        n_resamples=n_resamples,
        level=level,
        seed=seed,
    )
    if alone:
        reason = f"depth {n_layers} decides nothing, and before it one depth alone was measured"
        return replace(found, verdict="cannot tell", reason=reason)
    others = [name for name in profile.positions if name not in ENDS]
    if found.verdict != "gap" or not others:
        return found
    names = [*ENDS, *others]
    inside = found.inside_gap
    success = [curve(profile.efficacy(name, **read)) for name in names]
    looked = Looked(
        success=np.stack(success, axis=-1)[:, np.isin(at[judged], inside)],
        depths=inside,
        named=lambda place, _: ("the " if place < 2 else "") + position_name(names[place]),
    )
    return replace(
        found,
        holders=find_holders(
            looked, units=found.units, labels=profile.provenance.labels, seed=seed
        ),
    )


def _crossing(
    first: Float[Array, "pair depth"],
    second: Float[Array, "pair depth"],
    at: Float[Array, " depth"],
    *,
    units: Units,
    n_resamples: int,
    level: float,
    seed: int,
    moved: Float[Array, "position pair depth"] | None = None,
    provenance: Provenance | None = None,
    last: int | None = None,
) -> Crossing:
    """See `find_crossing`.

    Args:
        first: success that leads early.
        second: success that leads late.
        at: their depths.
        units: which pairs go together.
        n_resamples: draws of the means.
        level: as of `find_crossing`.
        seed: of the draws.
        moved: what each position moves; None of bare curves.
        provenance: of the profile.
        last: depth L, where that was left out, and the second curve leads there.
    """
    own = crossed(
        first, second, at, units=units, n_resamples=n_resamples, level=level, seed=seed, moved=moved
    )
    verdict, reason, leaves, arrives, held = (
        own.verdict, own.reason, own.leaves, own.arrives, own.held,
    )  # fmt: skip
    if last is not None and own.draws and arrives_last(own.means, own.draws, level):
        held, leaves = held_to_end(own.means[0], at, own.totals[0])
        verdict, arrives = "gap", float(last)
        reason = f"from there to the last block, both together control {percent(max(held, 0.0))}"
    elif last is not None and reason == PREDICTION_NEVER:
        reason += f" before depth {last}, where it does by construction"
    gap = verdict == "gap"
    return Crossing(
        provenance=provenance,
        units=units,
        verdict=verdict,
        reason=reason,
        depth=own.depth,
        low=own.low,
        high=own.high,
        share=own.share,
        held=held,
        moved=held_to_end(own.means[0], at, own.totals[-1])[0]
        if gap and arrives == last
        else held_between(own.means[0], own.means[1], at, own.totals[-1])[0],
        leaves=leaves if gap else float("nan"),
        arrives=arrives if gap else float("nan"),
        holders=(),
        depths=torch.from_numpy(at).float(),
        first=torch.from_numpy(first).float(),
        second=torch.from_numpy(second).float(),
        pairs=switch_of_pairs(
            np.nan_to_num(second - first),
            at,
            location=own.depth,
            change=float(2 * HELD),
            units=units,
            labels=() if provenance is None else provenance.labels,
            on_the_way=own.on_the_way,
            seed=seed,
        ),
        seed=seed,
    )


@checked
def find_steering_crossing(
    profile: Steered,
    *,
    edit: str = "full",
    scope: str | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Crossing | None:
    """`find_crossing` of one edit and scope of a steering sweep; None without both positions.

    Args:
        profile: what was steered.
        edit: `full`, `direction` or `norm`.
        scope: one of the profile's scopes; the first by default.
        n_resamples: draws of the mean curves.
        seed: of the draws.
    Raises:
        ValueError: that edit or scope was not steered.
    """
    if not set(ENDS) <= set(profile.positions):
        return None
    read = {"edit": edit, "scope": scope}
    return _of_profile(profile, read, units=None, n_resamples=n_resamples, seed=seed)
