"""What is known of a model on a task before any sweep: its answers, the claims, time and memory.

For each claim that cannot be judged it says what is missing, and how many of it. Nothing is run but
the prompts themselves and a short probe.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy.stats import norm

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.claims import zones
from lensdepth.claims.architecture import N_TWINS
from lensdepth.claims.context import OFTEN, context_labels
from lensdepth.claims.contrasts import strangers
from lensdepth.claims.evidence import check_pairs
from lensdepth.claims.grounds import N_DEALS
from lensdepth.claims.plan import Workload, plan_claims
from lensdepth.claims.statements import TITLES
from lensdepth.claims.testable import FEWEST_LAYERS, FEWEST_PAIRS, LEAST_ACCURACY
from lensdepth.geometry.halves import FEWEST
from lensdepth.model import DepthModel
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.steering.labels import steered
from lensdepth.storage import ModelResult
from lensdepth.tasks.keeping import answered
from lensdepth.tasks.task import Task
from lensdepth.telling.numbers import Interval
from lensdepth.units import FEWEST_UNITS, count, named, take

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CLAIMS = tuple(TITLES)


@dataclass(frozen=True, kw_only=True)
class Lack:
    """What keeps claims from being judged."""

    claims: tuple[str, ...]
    missing: str
    """What is needed, how much of it there is, and how much more it takes."""

    @property
    def told(self) -> str:
        """In a sentence."""
        if self.claims == CLAIMS:
            return f"No claim can be judged: what is lacking is {self.missing}."
        lack = "lack" if len(self.claims) > 1 else "lacks"
        return f"{', '.join(self.claims)} {lack} {self.missing}."


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Readiness(ModelResult):
    """What is known of a model and a task before any sweep."""

    MADE_BY: ClassVar[str] = "check_readiness(model, task)"
    """The call that makes one."""

    provenance: Provenance
    n_drawn: int
    """Pairs drawn or read."""
    n_one_token: int
    """Pairs both of whose answers are one token."""
    right: tuple[bool, ...]
    """Whether the model's first choices are right on both prompts, by pair of one token."""
    preferred: tuple[bool, ...]
    """Whether it prefers each prompt's answer to the other's, likewise."""
    templates: tuple[str, ...]
    """The wording of each pair, where the task says it."""
    by: str
    """`right` or `preferred`: by what the claims below are judged."""
    n_units: int
    """Independent units among the pairs that they are judged on."""
    units: str
    """What these are, such as `input words and templates`."""
    lacks: tuple[Lack, ...]
    plan: Workload | None
    """What the claims would run; None where no pair is left for them."""

    def missing(self, claim: str) -> tuple[str, ...]:
        """What keeps one claim from being judged; () where nothing does."""
        return tuple(lack.missing for lack in self.lacks if claim in lack.claims)

    @property
    def is_failed(self) -> bool:
        """Whether the model fails the task: too few of its pairs are right, or preferred."""
        good = self.preferred if self.by == "preferred" else self.right
        return sum(good) < LEAST_ACCURACY * self.n_one_token

    @property
    def judged(self) -> tuple[str, ...]:
        """The claims that can be judged."""
        return tuple(claim for claim in CLAIMS if not self.missing(claim))

    @property
    def seconds(self) -> float | None:
        """How long the claims would take; None where nothing was tried."""
        return None if self.plan is None else self.plan.seconds

    def to_frame(self) -> pd.DataFrame:
        """One row a wording: pairs, and how many are right and preferred."""
        frame = pd.DataFrame(
            {"template": self.templates, "right": self.right, "preferred": self.preferred}
        )
        found = frame.groupby("template", sort=False).agg(["sum", "count"])
        return pd.DataFrame(
            {
                "template": found.index,
                "pairs": found["right"]["count"].to_numpy(),
                "right": found["right"]["sum"].to_numpy(),
                "preferred": found["preferred"]["sum"].to_numpy(),
            }
        )

    def plot(self) -> "Figure":
        """Of each wording's pairs, the shares that are right and preferred, with Wilson intervals
        that take each pair for independent."""
        from lensdepth.intervals import interval_figure

        found, reach = {}, float(norm.ppf((1 + stats.LEVEL) / 2))
        for row in self.to_frame().to_dict("records"):
            for name in ("right", "preferred"):
                share = row[name] / row["pairs"]
                low, high = stats.wilson(share, float(row["pairs"]), reach)
                found[f"{row['template']}, {name}"] = Interval(
                    value=share, low=float(low), high=float(high)
                )
        return interval_figure(
            found, title="Pairs that the model answers", x_title="share of pairs"
        )


@checked
@bounded
def check_readiness(
    model: DepthModel,
    task: Task,
    *,
    keep: Literal["correct", "preferred"] = "correct",
    twins: int = N_TWINS,
    probe: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> Readiness:
    """How a model answers a task, which claims it can be judged on, and what the others lack.

    Args:
        model: any wrapped model.
        task: pairs, all of them.
        keep: which of them the claims would be judged on, as of `load_task`.
        twins: untrained twins in the plan of the claims.
        probe: time a few edited runs.
        seed: of the deals of prompts into groups.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        Readiness.
    Raises:
        ValueError: the task has plain prompts alone.
    Example:
        >>> check_readiness(model, load_task("months", model, keep="all")).judged
    """
    check_pairs(task, caller="check_readiness")
    by = "preferred" if keep == "preferred" else "right"
    sides = answered(task, model, caller="check_readiness")
    right, preferred = ((clean & corrupted).numpy() for clean, corrupted in sides)
    good = preferred if by == "preferred" else right
    kept = task.select(good) if good.any() else None
    other = int(preferred.sum()) if by == "right" else 0
    lacks = tuple(sorted(_lacks(model, task, kept, by, other, seed), key=lambda one: one.claims))
    templates = task.labels["template"].astype(str) if "template" in task.labels else []
    settings = {
        "keep": keep, "twins": twins, "probe": probe,
        "batch_size": batch_size, "max_memory": max_memory,
    }  # fmt: skip
    return Readiness(
        provenance=make_provenance(
            "check_readiness", model.info, **task.origin, settings=settings, seed=seed
        ),
        n_drawn=task.n_drawn,
        n_one_token=task.n_drawn - task.n_multi_token,
        right=tuple(map(bool, right)),
        preferred=tuple(map(bool, preferred)),
        templates=tuple(templates) or ("all",) * len(task),
        by=by,
        n_units=0 if kept is None else count(kept.units, len(kept)),
        units="" if kept is None else named(kept.units),
        lacks=lacks,
        plan=_planned(model, kept, twins) if kept is not None and probe else None,
    )


def _lacks(
    model: DepthModel, task: Task, kept: Task | None, by: str, n_preferred: int, seed: int
) -> Iterator[Lack]:
    """What keeps which claims from being judged; one thing behind the other."""
    how = "prefers" if by == "preferred" else "answers rightly"
    if task.input_positions is None or task.corrupted_input_positions is None:
        yield Lack(
            claims=CLAIMS,
            missing="an input position: the columns input and corrupted_input, which name the part "
            "of each prompt that varies",
        )
    if model.n_layers < FEWEST_LAYERS:
        yield Lack(
            claims=CLAIMS,
            missing=f"a deeper model: this one has {model.n_layers} blocks, and {FEWEST_LAYERS} "
            f"are needed",
        )
    n, n_kept = task.n_drawn - task.n_multi_token, 0 if kept is None else len(kept)
    least = math.ceil(LEAST_ACCURACY * n)
    more_preferred = (
        f"; of {n_preferred} it prefers the right answers, which keep='preferred' judges by"
        if n_preferred >= max(least, FEWEST_PAIRS)
        else ""
    )
    if n_kept < least:
        yield Lack(
            claims=CLAIMS,
            missing=f"pairs that the model {how}: there are {n_kept} of {n}, and half are needed, "
            f"{least - n_kept} more{more_preferred}",
        )
    elif n_kept < FEWEST_PAIRS:
        more = math.ceil((FEWEST_PAIRS - n_kept) * n / n_kept)
        yield Lack(
            claims=CLAIMS,
            missing=f"{FEWEST_PAIRS - n_kept} more pairs that the model {how}: there are "
            f"{n_kept}, and {FEWEST_PAIRS} are needed; that takes about {more} more pairs"
            f"{more_preferred}",
        )
    if kept is not None and task.input_positions is not None:
        if kept.no_handover:
            yield Lack(
                claims=("C1", "C2", "C3"),
                missing=f"pairs whose input stands before the last token: {kept.no_handover}",
            )
        yield from _lacking_units(kept)
        yield from _lacking_prompts(kept, seed)
        yield from _lacking_partners(kept)


def _lacking_units(kept: Task) -> Iterator[Lack]:
    for one in kept.units:
        if one.n < FEWEST_UNITS:
            yield Lack(
                claims=tuple(claim for claim in CLAIMS if claim != "C4"),
                missing=f"{FEWEST_UNITS - one.n} more different {one.name}s: there are {one.n}, "
                f"and {FEWEST_UNITS} are needed for an interval",
            )


def _lacking_prompts(kept: Task, seed: int) -> Iterator[Lack]:
    """Groups of prompts: depths are chosen on the pairs of other groups, C4 is told within one."""
    assert kept.corrupted is not None
    to_choose, in_group = [], []
    for deal in range(N_DEALS):
        group = zones.deal_groups(kept.clean, kept.corrupted, seed=seed + deal)
        chosen = [int(others.sum()) for _, others in zones.chosen_on_others(group)]
        chosen += [int(zones.others(group, (g,)).sum()) for g in range(zones.N_GROUPS)]
        to_choose.append(min(chosen))
        clean = pd.DataFrame({"prompt": kept.clean, "group": group[:, 0]})
        sizes = clean.groupby("group")["prompt"].nunique()
        in_group.append(min(int(sizes.get(g, 0)) for g in range(zones.N_GROUPS)))
    if max(to_choose) < zones.FEWEST:
        yield Lack(
            claims=tuple(claim for claim in CLAIMS if claim != "C3"),
            missing=f"pairs of other prompts: depths are chosen on pairs that share no prompt, "
            f"{max(to_choose)} are left for that, and {zones.FEWEST} are needed; that takes about "
            f"{_more(len(kept), max(to_choose), zones.FEWEST)} more pairs of new prompts",
        )
    typical = int(np.median(in_group))
    enough = sum(size >= FEWEST for size in in_group)
    n = len({*kept.clean})
    if 2 * enough <= N_DEALS:
        yield Lack(
            claims=("C4",),
            missing=f"different clean prompts: angles are compared within {zones.N_GROUPS} groups "
            f"of {FEWEST} or more; there are {n}, {typical} in the smallest group, and it takes "
            f"about {_more(n, typical, FEWEST)} more",
        )


def _more(n: int, there: int, needed: int) -> int:
    """How many more, where so many of n are there and they grow as n does."""
    return max(math.ceil(n * needed / max(there, 1)) - n, needed - there)


def _lacking_partners(kept: Task) -> Iterator[Lack]:
    """Words and answers in other pairs, and labels of the context."""
    try:
        rows = steered(kept).numpy()
        n = count(take(kept.units, rows), int(rows.sum()))
        if n < FEWEST_UNITS:
            yield Lack(
                claims=("C2",),
                missing=f"words and answers that stand in two prompts or more: they do in "
                f"{int(rows.sum())} pairs, of {n} independent units, and {FEWEST_UNITS} are needed",
            )
        elif len({*np.array(kept.target)[rows]}) < 2:
            yield Lack(claims=("C2",), missing="targets of a second kind: all pairs have the same")
    except ValueError:
        yield Lack(
            claims=("C2",),
            missing=f"words and answers that stand in two different prompts or more, for steering "
            f"(the same words in another wording, say): of none of the {len(kept)} pairs all do",
        )
    assert kept.target_ids is not None
    assert kept.foil_ids is not None
    rows = (strangers(kept.target_ids, kept.foil_ids, 0) >= 0).numpy()
    n = count(take(kept.units, rows), int(rows.sum()))
    if n < FEWEST_UNITS:
        answers = len({*kept.target_ids.tolist(), *kept.foil_ids.tolist()})
        yield Lack(
            claims=("C5",),
            missing=f"other answers: beside {FEWEST_UNITS} pairs or more must stand one with two "
            f"other answers, and beside {int(rows.sum())} does; there are {answers} different "
            f"answers, and 4 are needed at least",
        )
    if not context_labels(kept):
        yield Lack(
            claims=("C6",),
            missing=f"a label of the context: a column whose values repeat (on {OFTEN} pairs or "
            f"more) and leave the answer and the last token open; there are "
            f"{', '.join(map(str, kept.labels.columns)) or 'none'}",
        )


def _planned(model: DepthModel, kept: Task, twins: int) -> Workload:
    """What the claims would run on these pairs, and how long that takes."""
    try:
        n_steered = int(steered(kept).sum())
    except ValueError:
        n_steered = 0
    return plan_claims(model, kept, twins=twins, n_steered=n_steered, probe=True)
