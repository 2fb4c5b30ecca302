"""Over tasks and models: are landmarks before, at or after the switch, and do they go with it?

That a landmark lies at the switch in one run may be chance. Two questions are asked of several
runs, of each landmark: how often it has which order; and whether its relative depth is greater
where the switch's is. Depths of one model share its architecture and those of one task its prompts,
so that runs are not independent: over tasks each model's own mean is taken off both places, what is
left is averaged over models, and tasks change places under the null, those with others that have
places in the same models: places of one model spread more than of another. Over models the same the
other way round. The correlation is Spearman's; p is two-sided, of all orders where these are few
and of draws else, corrected over landmarks (Holm). There is none where tasks, or models, can be put
in fewer orders than five of one kind can.

What this cannot tell: places that are one in all tasks and models correlate with nothing. The order
says so then.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, permutations, product
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from scipy import stats as distributions

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.landmarks.kinds import KEYS
from lensdepth.landmarks.profile import Landmarks
from lensdepth.provenance import Provenance
from lensdepth.storage import Result
from lensdepth.transition.landmark import Order
from lensdepth.units import FEWEST_UNITS

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

N_DRAWS = 10_000
ALL_ORDERS = 5040
"""Where there are so many orders or fewer, all are taken."""
Over = Literal["tasks", "models"]
CorrelationVerdict = Literal["follows the switch", "runs against it", "not told", "too few"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One landmark of one model and task, relative to the depth."""

    model: str
    task: str
    landmark: str
    verdict: Order
    place: float
    """NaN where there is none."""
    switch: float
    difference: float
    """In depths."""
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Whether a landmark's place goes with the switch's."""

    landmark: str
    over: Over
    verdict: CorrelationVerdict
    n: int
    """Tasks (models) that have both places in the same models (tasks) as another one has."""
    rho: float
    """Spearman's; NaN of too few."""
    p: float
    """Two-sided, of permuted tasks or models; corrected over landmarks."""


@checked
@dataclass(frozen=True, kw_only=True)
class LandmarkComparison(Result):
    """Landmarks of several models and tasks beside their switches."""

    MADE_BY: ClassVar[str] = "compare_landmarks([find_landmarks(model, task), ...])"
    """The call that makes one."""

    runs: tuple[Run, ...]
    correlations: tuple[Correlation, ...]
    seed: int

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.model for one in self.runs))

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.task for one in self.runs))

    def counts(self, landmark: str) -> dict[str, int]:
        """In how many runs the landmark has which verdict, the most frequent first.

        Raises:
            ValueError: there is no such landmark.
        """
        own = [one.verdict for one in self.runs if one.landmark == landmark]
        if not own:
            known = ", ".join(dict.fromkeys(one.landmark for one in self.runs))
            raise ValueError(
                f"LandmarkComparison: there is no landmark {landmark!r}; there are {known}."
            )
        return dict(Counter(own).most_common())

    def of(self, landmark: str, over: Over) -> Correlation:
        """One correlation."""
        return next(
            one for one in self.correlations if (one.landmark, one.over) == (landmark, over)
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a run and landmark."""
        import pandas as pd

        names = {"place": "relative_depth", "switch": "relative_switch"}
        return pd.DataFrame([vars(one) for one in self.runs]).rename(columns=names)

    def plot(self) -> "Figure":
        """Relative depth of each landmark against that of the switch."""
        from lensdepth.landmarks.across_told import places_figure

        return places_figure(self)


@checked
def compare_landmarks(found: Sequence[Landmarks], *, seed: int = 0) -> LandmarkComparison:
    """How often landmarks come before, at or after the switch, and whether they go with it.

    Args:
        found: of several models, tasks, or both; each model and task once.
        seed: of the permutations.
    Returns:
        LandmarkComparison. A correlation is "too few" where the tasks (models) that have both
        places can change places in fewer ways than five can that were all asked of the same models
        (on the same tasks).
    Raises:
        ValueError: there is nothing to compare, or a model and task is there twice.
    Example:
        >>> compare_landmarks([find_landmarks(model, task) for task in tasks]).counts("dimension")
    """
    if not found:
        raise ValueError("compare_landmarks: there are no landmarks to compare.")
    names = _names([one.provenance for one in found])
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        model, task = twice[0]
        raise ValueError(f"compare_landmarks: {model!r} on {task!r} is there twice.")
    runs = tuple(
        Run(
            model=model,
            task=task,
            landmark=one.name,
            verdict=one.verdict,
            place=one.depth / result.n_layers if _whole(one.verdict) else float("nan"),
            switch=result.crossing.depth / result.n_layers
            if result.crossing.verdict == "crossing"
            else float("nan"),
            difference=one.difference,
            low=one.difference_low,
            high=one.difference_high,
        )
        for (model, task), result in zip(names, found, strict=True)
        for one in result.landmarks
    )
    present = [key for key in KEYS if any(one.landmark == key for one in runs)]
    correlations = []
    for over in ("tasks", "models"):
        own = [_correlated(runs, key, over, seed) for key in present]
        correlations += _corrected(own)
    return LandmarkComparison(runs=runs, correlations=tuple(correlations), seed=seed)


def _whole(verdict: Order) -> bool:
    """Whether a landmark with that verdict has a place that is told."""
    return verdict not in ("none", "too few")


def _names(known: Sequence[Provenance]) -> list[tuple[str, str]]:
    """Model and task of each; models of one name are told apart by their fingerprints."""
    prints: dict[str, set[str]] = {}
    for one in known:
        prints.setdefault(one.model.name, set()).add(one.model.fingerprint)
    return [
        (
            f"{one.model.name} ({one.model.fingerprint[:6]})"
            if len(prints[one.model.name]) > 1
            else one.model.name,
            one.task,
        )
        for one in known
    ]


def left_over(
    runs: Sequence[Run], over: Over
) -> tuple[Float[Array, "2 unit"], list[tuple[str, ...]]]:
    """Place and switch by task (or model), each model's (task's) own mean taken off; and in which
    models (tasks) each has them.

    Args:
        runs: of one landmark, those with both places.
        over: what the columns are.
    """
    inner, outer = ("model", "task") if over == "tasks" else ("task", "model")
    by_inner: dict[str, list[Run]] = {}
    for one in runs:
        by_inner.setdefault(getattr(one, inner), []).append(one)
    rows: dict[str, dict[str, Array]] = {}
    for name, some in by_inner.items():
        if len(some) < 2:  # nothing is left of one run
            continue
        places = np.array([[one.place, one.switch] for one in some])
        for one, row in zip(some, places - places.mean(0), strict=True):
            rows.setdefault(getattr(one, outer), {})[name] = row
    means = [np.mean([*some.values()], axis=0) for some in rows.values()]
    return np.array(means).reshape(-1, 2).T, [tuple(sorted(some)) for some in rows.values()]


def _correlated(runs: Sequence[Run], landmark: str, over: Over, seed: int) -> Correlation:
    own = [
        one
        for one in runs
        if one.landmark == landmark and not math.isnan(one.place) and not math.isnan(one.switch)
    ]
    (place, switch), asked = left_over(own, over)
    kept = np.array([asked.count(some) > 1 for some in asked], dtype=bool)
    strata = [some for some, keep in zip(asked, kept, strict=True) if keep]
    place, switch = place[kept], switch[kept]
    n, rho, p = len(place), math.nan, math.nan
    ways = math.prod(math.factorial(k) for k in Counter(strata).values())
    enough = ways >= math.factorial(FEWEST_UNITS)
    if enough and np.ptp(place) > 0 and np.ptp(switch) > 0:
        x, y = (distributions.rankdata(values) for values in (place, switch))
        x, y = ((ranks - ranks.mean()) / ranks.std() for ranks in (x, y))
        rho = float((x * y).mean())
        p = _permuted(x, y, strata, ways, seed)
    return Correlation(
        landmark=landmark, over=over, verdict="not told" if enough else "too few",
        n=n, rho=rho, p=p,
    )  # fmt: skip


def _permuted(
    x: Float[Array, " unit"],
    y: Float[Array, " unit"],
    strata: Sequence[tuple[str, ...]],
    ways: int,
    seed: int,
) -> float:
    """Two-sided p of the correlation of standardised ranks, exchanged within strata."""
    groups = [np.flatnonzero([one == some for one in strata]) for some in dict.fromkeys(strata)]
    found = abs(float((x * y).mean()))
    if ways <= ALL_ORDERS:
        # Every order, the observed one among them.
        parts = [[list(order) for order in permutations(group.tolist())] for group in groups]
        orders = np.array([[*chain(*some)] for some in product(*parts)])
    else:
        rng = np.random.default_rng(seed)
        orders = np.array(
            [np.concatenate([rng.permutation(group) for group in groups]) for _ in range(N_DRAWS)]
        )
    null = np.abs((x[orders] * y[np.concatenate(groups)]).mean(1))
    if ways <= ALL_ORDERS:
        return float((null >= found - 1e-12).mean())
    return stats.permutation_p(found, null)


def _corrected(found: Sequence[Correlation]) -> list[Correlation]:
    """p by Holm over those that have one, and the verdicts that follow."""
    known = [one for one in found if not math.isnan(one.p)]
    if not known:
        return list(found)
    corrected: Mapping[str, float] = dict(
        zip(
            (one.landmark for one in known),
            stats.holm(np.array([one.p for one in known])).tolist(),
            strict=True,
        )
    )
    said: list[Correlation] = []
    for one in found:
        p = corrected.get(one.landmark, math.nan)
        verdict = one.verdict
        if p < stats.ALPHA:
            verdict = "follows the switch" if one.rho > 0 else "runs against it"
        said.append(replace(one, p=p, verdict=verdict))
    return said
