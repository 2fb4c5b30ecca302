"""Right against wrong answers: where each stands, and whether that differs beyond chance."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.lens.read import logit_lens
from lensdepth.mistakes import null
from lensdepth.mistakes.profile import By, MistakeProfile, Verdict
from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.provenance import make_provenance
from lensdepth.tasks.task import Task
from lensdepth.tasks.told import origin
from lensdepth.telling.numbers import counted
from lensdepth.tokens import told_apart
from lensdepth.transition.commitment import find_commitment

FEWEST = 8
"""Answers of each kind, and units in all, below which nothing is compared: with 4 units there are
6 ways to deal two kinds out evenly, with 8 there are 70, and an interval that resamples fewer is
known to be too narrow."""
FEWEST_DEALS = 40
"""Ways of dealing right and wrong out anew; of fewer, none could be found at the 5 % level on both
sides."""
LEVEL = 0.05


@checked
def compare_mistakes(
    model: DepthModel,
    task: Task,
    *,
    by: By = "lens",
    units: Mapping[str, Sequence[object]] | None = None,
    n_permutations: int = 2000,
    n_resamples: int = 1000,
    seed: int = 0,
    batch_size: int | None = None,
) -> MistakeProfile:
    """Whether the model's wrong answers form at other depths than its right ones.

    Every clean prompt has an answer, the model's own first choice, right if it is the target. The
    depth from which on that answer stands is found in the same way for both kinds: nothing is
    compared with the target, which a wrong answer never becomes.

    Args:
        model: any wrapped model.
        task: pairs, right and wrong ones: made with `keep="all"`.
        by: `"lens"`: the answer is the logit lens's first choice from that depth on, as in
            `find_commitment`. `"patch"`: from that depth on the last token's state, put into the
            corrupted run, makes the answer come first there; pairs whose prompts have one and the
            same answer show nothing and are left out.
        units: what pairs go together by: a label per pair, by name. By default the task's inputs
            and every label that repeats, but for those of the corrupted prompts.
        n_permutations: deals of right and wrong within units.
        n_resamples: resamples of units behind the interval.
        seed: of both.
        batch_size: prompts in one forward pass of the lens.
    Returns:
        MistakeProfile. Of several groupings the largest p-value and the widest interval count.
        "too few" below FEWEST answers of either kind, FEWEST units or FEWEST_DEALS deals, as where
        all wrong answers come from one template and no right one does.
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
    groupings = _groupings(task, units, caller)
    lens = logit_lens(model, task, batch_size=batch_size)
    own = lens.top_tokens[-1, :, -1, 0]
    wrong = own != task.target_ids
    if by == "lens":
        depths = find_commitment(lens, n_resamples=1).depths
    else:
        depths = _by_patching(model, task, own, seed)
    found = compared(
        depths.double().numpy(), wrong.numpy(), groupings,
        n_permutations=n_permutations, n_resamples=n_resamples, seed=seed,
    )  # fmt: skip
    verdict, reason, difference, low, high, p = found
    return MistakeProfile(
        provenance=make_provenance(
            caller,
            model.info,
            task=task.name,
            prompts=task.clean,
            corrupted=task.corrupted or (),
            pairs=origin(task),
            settings={
                "by": by,
                "units": list(groupings),
                "n_permutations": n_permutations,
                "n_resamples": n_resamples,
                "batch_size": batch_size,
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
        units={name: int(codes.max()) + 1 for name, codes in groupings.items()},
    )


def _groupings(
    task: Task, units: Mapping[str, Sequence[object]] | None, caller: str
) -> dict[str, Array]:
    """Unit of each pair as a number, by grouping; each pair by itself where nothing repeats."""
    if units is None:
        found: dict[str, Sequence[object]] = {"prompt": task.clean}
        if task.inputs is not None:
            found["input"] = task.inputs
        labels = task.labels
        found |= {
            str(name): labels[name].astype(str).tolist()
            for name in labels.columns
            if not str(name).startswith("corrupted_")
        }
    else:
        found = dict(units)
    wrong = [name for name, values in found.items() if len(values) != len(task)]
    if wrong or not found:
        raise ValueError(
            f"{caller}: units must have a label for each of the {len(task)} pairs, got "
            f"{len(found[wrong[0]]) if wrong else 0} for {wrong[0] if wrong else 'none'!r}."
        )
    codes = {name: pd.factorize(pd.Series(list(v)).astype(str))[0] for name, v in found.items()}
    if units is not None:
        return codes
    # What stands once everywhere groups nothing, and what is the same everywhere holds nothing
    # apart; of labels that group alike one is enough.
    kept: dict[str, Array] = {}
    for name, one in codes.items():
        n = int(one.max()) + 1
        if 1 < n < len(task) and not any(np.array_equal(one, other) for other in kept.values()):
            kept[name] = one
    return kept or {"pair": np.arange(len(task))}


def _by_patching(model: DepthModel, task: Task, own: Tensor, seed: int) -> Float[Tensor, " pair"]:
    """From which depth on the last token's state brings the clean prompt's own answer along."""
    assert task.corrupted_tokens is not None
    # In parts, so that the logits of all prompts over a large vocabulary never exist at once.
    parts = [slice(i, i + 32) for i in range(0, len(task), 32)]
    other = torch.cat(
        [model.logits(task.corrupted_tokens[part])[:, 0].argmax(-1) for part in parts]
    )
    depths = torch.full((len(task),), torch.nan, dtype=torch.float32)
    differ = own != other
    if not differ.any():
        return depths
    answered = replace(task, target_ids=own, foil_ids=other, keep="all").select(differ)
    profile = patch_sweep(
        model, answered, positions=("prediction",), also=("success",), controls=(), seed=seed
    )
    stands = profile.efficacy("prediction")
    # At depth L the state is all that is read.
    stands[:, -1] = 1.0
    depths[differ] = find_commitment(stands, n_resamples=1).depths
    return depths


def compared(
    depths: Float[Array, " pair"],
    wrong: Bool[Array, " pair"],
    groupings: Mapping[str, Array],
    *,
    n_permutations: int,
    n_resamples: int,
    seed: int,
) -> tuple[Verdict, str, float, float, float, float]:
    """Verdict, reason, difference, its interval, and p: see `compare_mistakes`.

    Args:
        depths: of each answer; NaN where it could not be seen.
        wrong: of each.
        groupings: unit of each by number, by name of the grouping.
        n_permutations: deals of right and wrong.
        n_resamples: resamples of units.
        seed: of both.
    """
    seen = ~np.isnan(depths)
    depth, kind = depths[seen], wrong[seen]
    n_wrong, unknown = int(kind.sum()), float("nan")
    both = 0 < n_wrong < len(kind)
    found = float(null.difference(depth, kind)) if both else unknown
    short = min(n_wrong, len(kind) - n_wrong)
    if short < FEWEST:
        which = "wrong" if n_wrong == short else "right"
        verb = "is" if short == 1 else "are"
        reason = (
            f"there {verb} {counted(short, f'{which} answer')}, and {FEWEST} of each kind are "
            f"needed"
        )
        return "too few", reason, found, unknown, unknown, unknown
    units = {name: pd.factorize(codes[seen])[0] for name, codes in groupings.items()}
    for name, unit in units.items():
        n_units, n_deals = int(unit.max()) + 1, null.n_deals(kind, unit)
        _, mixed = null.kinds_of_units(kind, unit)
        if n_deals < FEWEST_DEALS or (n_units < FEWEST and not mixed.any()):
            reason = (
                f"by {name} there are {n_units} units, and right and wrong answers can be dealt "
                f"among them in {n_deals} ways only, so that the two cannot be told apart from "
                f"{name}"
            )
            return "too few", reason, found, unknown, unknown, unknown
    worst, low, high = 0.0, unknown, unknown
    for unit in units.values():
        drawn = null.difference(depth, null.deals(kind, unit, n_permutations, seed))
        worst = max(worst, stats.permutation_p(abs(found), np.abs(drawn)))
        if int(unit.max()) + 1 >= FEWEST:
            ends = _interval(depth, kind, unit, n_resamples, seed)
            if np.isnan(low) or ends[1] - ends[0] > high - low:
                low, high = ends
    verdict: Verdict = "cannot tell"
    if worst < LEVEL:
        verdict = "later" if found > 0 else "earlier"
    return verdict, "", found, low, high, worst


def _interval(
    depth: Float[Array, " pair"],
    wrong: Bool[Array, " pair"],
    unit: Array,
    n_resamples: int,
    seed: int,
) -> tuple[float, float]:
    """95 % bounds of the difference, resampling whole units."""
    kinds = np.stack([wrong, ~wrong]).astype(float)
    sums = np.stack([np.bincount(unit, kind * depth) for kind in kinds], axis=1)
    counts = np.stack([np.bincount(unit, kind) for kind in kinds], axis=1)

    def gap(top: Array, bottom: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = top / bottom
        return means[:, 0] - means[:, 1]

    found = stats.bootstrap_statistic(gap, sums, counts, n_resamples=n_resamples, seed=seed)
    return found.low, found.high
