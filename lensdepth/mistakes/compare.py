"""Right against wrong answers: where each stands, and whether that differs beyond chance."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.lens.profile import LensProfile
from lensdepth.lens.read import logit_lens
from lensdepth.mistakes import null
from lensdepth.mistakes.profile import (
    FEWEST,
    KINDS,
    By,
    Difference,
    MistakeProfile,
    MistakeVerdict,
)
from lensdepth.model import DepthModel
from lensdepth.provenance import make_provenance
from lensdepth.settled import settled_by_patching
from lensdepth.tasks.task import Task
from lensdepth.telling.numbers import counted
from lensdepth.tokens import told_apart
from lensdepth.transition.commitment import find_commitment
from lensdepth.units import CORRUPTED, Grouping, Units, given_units, take

FEWEST_DEALS = 40
"""Ways of dealing right and wrong out anew; of fewer, none could be found at the 5 % level on both
sides."""
N_PERMUTATIONS = 2000


@checked
@bounded
def compare_mistakes(
    model: DepthModel,
    task: Task,
    *,
    by: By = "lens",
    units: Sequence[Grouping | Sequence[str | int]] | None = None,
    n_permutations: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> MistakeProfile:
    """Whether the model's wrong answers form at other depths than its right ones.

    Every clean prompt has an answer, the model's own first choice, right if it is the target. The
    depth from which on that answer stands is found in the same way for both kinds: nothing is
    compared with the target, which a wrong answer never becomes. Of the wrong answers those are
    almost right beside which the target is the second choice: they are held against the right ones
    and against those further off, in the same way.

    Args:
        model: any wrapped model.
        task: pairs, right and wrong ones: made with `keep="all"`.
        by: `"lens"`: the answer is the logit lens's first choice from that depth on, as in
            `find_commitment`. `"patch"`: from that depth on the last token's state, put into the
            corrupted run, makes the answer come first there; pairs whose prompts have one and the
            same answer show nothing and are left out.
        units: which pairs go together, a list of groupings, each a label per pair. By default right
            and wrong are dealt within input words and every label that repeats, few values or
            many, but for those of the corrupted prompts; and the interval is over the task's units.
        n_permutations: deals of right and wrong within units; None takes 2000.
        seed: of these, and of the draws behind the interval.
        batch_size: prompts in one forward pass; None takes as many as fit.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        MistakeProfile. Of several groupings the largest p-value counts; the interval holds with all
        of them crossed. "too few" below FEWEST answers of either kind or FEWEST_DEALS deals, as
        where all wrong answers come from one template and no right one does; no interval below
        `units.FEWEST_UNITS` units.
    Raises:
        ValueError: before any forward pass: a task without pairs, one that kept only right or only
            wrong pairs, or units that are not one label a pair.
    Source: permutations within blocks, and of whole blocks, as in Winkler et al. 2015,
        "Multi-level block permutation".
    Example:
        >>> compare_mistakes(model, load_task("capitals", model, keep="all")).verdict
    """
    caller = "compare_mistakes"
    if task.target is None or task.target_ids is None or task.foil_ids is None:
        raise ValueError(
            f"{caller}: task {task.name!r} has plain prompts alone, and no answers to be wrong."
        )
    if task.keep in ("correct", "wrong"):
        raise ValueError(
            f"{caller}: right and wrong answers are compared, and this task kept the {task.keep} "
            f"pairs alone; make it with keep='all'."
        )
    n_permutations = N_PERMUTATIONS if n_permutations is None else n_permutations
    asked = given_units(units, len(task), caller=caller)
    lens = logit_lens(model, task, batch_size=batch_size)
    return mistakes_in(
        lens, model, task, by=by, units=asked, n_permutations=n_permutations, seed=seed,
        batch_size=batch_size, max_memory=max_memory,
    )  # fmt: skip


def mistakes_in(
    lens: LensProfile,
    model: DepthModel,
    task: Task,
    *,
    by: By = "lens",
    units: Units = (),
    n_permutations: int = N_PERMUTATIONS,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> MistakeProfile:
    """`compare_mistakes` where the lens of the task has been read already.

    Args:
        lens: of the task's clean prompts, at their last tokens.
        model: whose it is.
        task: right and wrong pairs.
        by: see there, like the other options.
        units: groupings that were asked for; () for the default.
    """
    caller, asked = "compare_mistakes", units
    assert task.target is not None
    assert task.target_ids is not None
    origin: dict[str, Any] = task.origin | {"units": asked or task.units}
    groupings = {one.name: one for one in asked} or _groupings(task)
    own = lens.top_tokens[-1, :, -1, 0]
    wrong = own != task.target_ids
    depths = (
        find_commitment(lens).depths
        if by == "lens"
        else settled_by_patching(model, task, own, seed=seed)
    )
    found = compared(
        depths.double().numpy(), wrong.numpy(), groupings.values(), origin["units"],
        n_permutations=n_permutations, seed=seed,
    )  # fmt: skip
    verdict, reason, difference, low, high, p = found
    almost = wrong & (lens.top_tokens[-1, :, -1, 1] == task.target_ids)

    def told(than: str) -> Difference:
        """Almost right answers against those of another kind."""
        both = (almost | (~wrong if than == "right" else wrong)).numpy()
        names = KINDS[than], KINDS["almost"]
        found = compared(
            depths.double().numpy()[both], almost.numpy()[both],
            take(tuple(groupings.values()), both), take(origin["units"], both),
            n_permutations=n_permutations, seed=seed, names=names,
        )  # fmt: skip
        verdict, reason, difference, low, high, p = found
        return Difference(
            kind="almost", than=than, verdict=verdict, reason=reason, difference=difference,
            low=low, high=high, p=p,
        )  # fmt: skip

    return MistakeProfile(
        provenance=make_provenance(
            caller,
            model.info,
            **origin,
            settings={
                "by": by,
                "units": list(groupings),
                "n_permutations": n_permutations,
                "batch_size": batch_size,
                "max_memory": max_memory,
            },
            seed=seed,
        ),
        by=by,
        depths=depths,
        wrong=wrong,
        answers=tuple(model.token_text(int(token)) for token in own),
        targets=tuple(told_apart(task.target)),
        verdict=verdict,
        reason=reason,
        difference=difference,
        low=low,
        high=high,
        p=p,
        units={one.name: len(set(one.values)) for one in groupings.values()},
        almost=almost,
        differences=tuple(map(told, ("right", "off"))) if almost.any() else (),
    )


def _groupings(task: Task) -> dict[str, Grouping]:
    """What right and wrong are dealt out within; each pair by itself where nothing repeats."""
    prompts = Grouping(name="prompt", values=task.clean)
    own = [one for one in task.groupings if not one.name.startswith(CORRUPTED)]
    # What stands once everywhere groups nothing, and what is the same everywhere holds nothing
    # apart; of labels that group alike one is enough.
    kept: dict[str, Grouping] = {}
    for one in (prompts, *own):
        alike = (np.array_equal(_codes(one), _codes(other)) for other in kept.values())
        if 1 < len(set(one.values)) < len(task) and not any(alike):
            kept[one.name] = one
    pairs = Grouping(name="pair", values=tuple(map(str, range(len(task)))))
    return kept or {pairs.name: pairs}


def _codes(one: Grouping) -> Array:
    """Unit of each pair as a number, in the order in which they come."""
    return pd.factorize(np.array(one.values, dtype=object))[0]


def compared(
    depths: Float[Array, " pair"],
    wrong: Bool[Array, " pair"],
    groupings: Iterable[Grouping],
    units: Units,
    *,
    n_permutations: int,
    seed: int,
    names: tuple[str, str] = (KINDS["right"], KINDS["wrong"]),
) -> tuple[MistakeVerdict, str, float, float, float, float]:
    """Verdict, reason, difference, its interval, and p: see `compare_mistakes`.

    Args:
        depths: of each answer; NaN where it could not be seen.
        wrong: of each.
        groupings: within which right and wrong are dealt out.
        units: which pairs go together, for the interval.
        n_permutations: deals of right and wrong.
        seed: of these, and of the draws behind the interval.
        names: what the two kinds are called, the one that is not `wrong` first.
    """
    seen = ~np.isnan(depths)
    depth, kind = depths[seen], wrong[seen]
    n_wrong, unknown = int(kind.sum()), float("nan")
    both = 0 < n_wrong < len(kind)
    found = float(null.difference(depth, kind)) if both else unknown
    short = min(n_wrong, len(kind) - n_wrong)
    if short < FEWEST:
        which = names[n_wrong == short]
        verb = "is" if short == 1 else "are"
        reason = (
            f"there {verb} {counted(short, f'{which} answer')}, and {FEWEST} of each kind are "
            f"needed"
        )
        return "too few", reason, found, unknown, unknown, unknown
    within = {one.name: _codes(one) for one in take(tuple(groupings), seen)}
    for name, unit in within.items():
        n_deals = null.n_deals(kind, unit)
        if n_deals < FEWEST_DEALS:
            reason = (
                f"by {name} there are {int(unit.max()) + 1} units, and {' and '.join(names)} "
                f"answers can be dealt among them in {n_deals} ways only, so that the two cannot "
                f"be told apart from {name}"
            )
            return "too few", reason, found, unknown, unknown, unknown
    worst = 0.0
    for unit in within.values():
        drawn = null.difference(depth, null.deals(kind, unit, n_permutations, seed))
        worst = max(worst, stats.permutation_p(abs(found), np.abs(drawn)))
    low, high = _interval(depth, kind, take(units, seen), seed)
    verdict: MistakeVerdict = "cannot tell"
    if worst < stats.ALPHA:
        verdict = "later" if found > 0 else "earlier"
    return verdict, "", found, low, high, worst


def _interval(
    depth: Float[Array, " pair"],
    wrong: Bool[Array, " pair"],
    units: Units,
    seed: int,
) -> tuple[float, float]:
    """95 % bounds of the difference, a function of four means over pairs."""
    kinds = np.stack([wrong, ~wrong], axis=1).astype(float)

    def gap(top: Array, bottom: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = top / bottom
        return means[:, 0] - means[:, 1]

    found = stats.statistic_interval(gap, kinds * depth[:, None], kinds, units=units, seed=seed)
    return found.low, found.high
