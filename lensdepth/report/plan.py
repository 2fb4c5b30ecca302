"""What a report will take, section by section, before it is measured.

Patching is tried on a few pairs: that finds the depths, and what a token in a block and a readout
cost on this machine. Then every section is rehearsed (`lensdepth.tally`): its own functions say how
much they put through the model. What they compute beside is timed while they do, with fewer draws
where they draw much.
"""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import pandas as pd
from plotly.graph_objects import Figure

from lensdepth.ablation import decoding
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.claims.architecture import N_TWINS
from lensdepth.claims.complete import TWIN_CONTROLS, complete_evidence
from lensdepth.claims.evaluate import MOST_TRIES, TwinsOf
from lensdepth.claims.evidence import PROFILES, Evidence
from lensdepth.claims.testable import FEWEST_PAIRS
from lensdepth.claims.twins import own_task, unheard
from lensdepth.geometry import measure as geometry
from lensdepth.geometry.reading import read_states
from lensdepth.lens.read import logit_lens
from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.plain_runs import anew
from lensdepth.progress import unwatched
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.report.measure import analyses_at, edited_at, patch_of, why_absent
from lensdepth.report.measured import ALWAYS, SECTIONS, USUAL, Section
from lensdepth.storage import ModelResult
from lensdepth.sweep.adaptive import Depths, as_setting
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs
from lensdepth.sweep.spans import named_positions
from lensdepth.tally import Tally, clock, tallied
from lensdepth.tasks.task import Task
from lensdepth.telling.numbers import duration
from lensdepth.untrained import untrained

TRIED = 4, 20
"""Pairs on which patching is tried, to find depths and to be timed."""
SOME_DEPTHS = 2
"""At which it is timed."""
READ = 16
"""Prompts on which the lens is."""
TWINS_TRIED = 1
"""Twins of which one must answer, or none will."""
DRAWS = (4, 40)
"""Draws of a geometry that are timed."""
RESAMPLES = 200


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ReportPlan(ModelResult):
    """Expected time and memory of each section."""

    MADE_BY: ClassVar[str] = "plan_report(model, task)"
    """The call that makes one."""

    provenance: Provenance
    sections: tuple[str, ...]
    """In the order in which they are measured."""
    expected: tuple[float, ...]
    """Seconds of each."""
    runs: tuple[int, ...]
    """Edited runs of each, the base runs among them."""
    n_bytes: tuple[int, ...]
    """Most memory of each, beside the libraries: weights, states, keys and values, logits."""
    absent: tuple[str, ...]
    """Sections that this task cannot have."""
    at_most: str = ""
    """The section that takes less where no claim is supported: untrained twins are then spared."""

    @property
    def seconds(self) -> float:
        """Of all sections."""
        return sum(self.expected)

    @property
    def told(self) -> str:
        """In one line, the longest sections first."""
        parts = sorted(zip(self.expected, self.sections, strict=True), reverse=True)
        longest = ", ".join(
            f"{name}{' at most' * (name == self.at_most)} {duration(took)}"
            for took, name in parts
            if took >= 1
        )
        first = dict(zip(self.sections, self.expected, strict=True))["lens"]
        return (
            f"about {duration(self.seconds)}"
            + f": {longest}" * bool(longest)
            + f"; first page after {duration(first)}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a section."""
        return pd.DataFrame(
            {
                "section": self.sections,
                "seconds": self.expected,
                "edited_runs": self.runs,
                "bytes": self.n_bytes,
            }
        )

    def plot(self) -> Figure:
        """Seconds by section."""
        from lensdepth.intervals import interval_figure
        from lensdepth.telling.numbers import Interval

        found = {
            name: Interval(value=took, low=took, high=took)
            for name, took in zip(self.sections, self.expected, strict=True)
        }
        return interval_figure(found, title="What a report will take", x_title="seconds")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Seconds of what goes through a model."""

    plain: float
    """A token in a block, in a plain pass."""
    row: float
    """The same in an edited run."""
    read: float
    """A run read over the whole vocabulary."""

    def of(self, tally: Tally) -> float:
        """What was counted, in seconds."""
        return tally.plain * self.plain + tally.rows * self.row + tally.reads * self.read


@checked
@bounded
def plan_report(
    model: DepthModel,
    task: Task,
    *,
    sections: Collection[Section] | None = None,
    twins: int = N_TWINS,
    twins_of: TwinsOf = "supported",
    depths: Depths = None,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> ReportPlan:
    """How long each section of a report will take, and how much memory, from a short probe.

    Args:
        model: any wrapped model.
        task: as of `build_report`, and so are the others.
        sections: what is measured beside the lens and patching; all by default.
        twins: untrained twins of the claims.
        twins_of: the claims that they are measured for: a plan reckons with all of them.
        depths: at which whole states are edited.
        control_pairs: pairs that controls are run on.
        seed: of the analyses.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        ReportPlan.
    Example:
        >>> plan_report(model, load_task("months", model)).told
    """
    asked = USUAL if sections is None else sections
    absent = why_absent(task, asked)
    wanted = [n for n in SECTIONS if n in (*ALWAYS, *asked) and n not in absent]
    options: dict[str, Any] = {
        "control_pairs": control_pairs, "seed": seed, "batch_size": batch_size
    }  # fmt: skip
    with unwatched(), unheard():
        found = _tried(model, task, wanted, twins, depths, options)
    names = tuple(name for name in wanted if name in found)
    weights = model.passes.n_bytes
    held = [weights * (1 + (name == "claims" and twins > 0)) + found[name][2] for name in names]
    settings = {
        "sections": sorted(asked), "twins": twins, "twins_of": twins_of,
        "control_pairs": control_pairs, "depths": as_setting(depths),
        "batch_size": batch_size, "max_memory": max_memory,
    }  # fmt: skip
    return ReportPlan(
        provenance=make_provenance(
            "plan_report", model.info, **task.origin, settings=settings, seed=seed
        ),
        sections=names,
        expected=tuple(round(found[name][0], 3) for name in names),
        runs=tuple(found[name][1] for name in names),
        n_bytes=tuple(held),
        absent=tuple(absent),
        at_most="claims" * ("claims" in names and twins > 0 and twins_of == "supported"),
    )


Expected = tuple[float, int, int]
"""Seconds, edited runs, bytes."""


class Rehearsal:
    """Sections gone through one after the other; their plain runs are shared, as a report's are.

    Args:
        rates: seconds of what is counted.
        depths: that patching finds.
    """

    def __init__(self, rates: Rates, depths: Collection[int]) -> None:
        self.rates, self.depths = rates, depths
        self.tally = Tally()
        self.results: dict[str, Any] = {}
        self.expected: dict[str, Expected] = {}

    def __enter__(self) -> "Rehearsal":
        self._stack = ExitStack()
        self.tally = self._stack.enter_context(tallied(rehearsed=True, depths=self.depths))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(self, name: str, analyse: Callable[[], Any]) -> Expected | None:
        """Go through a section, and keep what comes out; None where it refuses these prompts."""
        start, before = clock(), replace(self.tally)
        try:
            self.results[name] = analyse()
        except ValueError:
            return None
        seconds = self.rates.of(self.tally) - self.rates.of(before) + clock() - start
        found = seconds, self.tally.runs - before.runs, self.tally.n_bytes
        self.expected[name] = found
        return found


def _tried(
    model: DepthModel,
    task: Task,
    wanted: Collection[str],
    twins: int,
    depths: Depths,
    options: dict[str, Any],
) -> dict[str, Expected]:
    """What each section takes."""
    lens, rates = _lens(model, task)
    uncontrolled = {name: given for name, given in options.items() if name != "control_pairs"}
    logits = 4 * model.d_vocab * len(task)
    where = None
    if "patch" in wanted:
        rates, where = _rates(model, task, depths)
    with Rehearsal(rates, where or ()) as section:
        section.expected["lens"] = lens, 0, logits
        if "patch" in wanted:
            patch = partial(
                patch_of, model, task, depths=depths, control_pairs=options["control_pairs"],
                seed=options["seed"],
            )  # fmt: skip
            section.take("patch", patch)
        reading = read_states(model, task, batch_size=options["batch_size"])
        rest = analyses_at(model, task, where, reading, **options)
        for name in wanted:
            if name in rest and name not in ("geometry", "decoding"):
                section.take(name, rest[name])
        if "decoding" in wanted:
            n_depths = model.n_layers + 1 if where is None else len(where)
            some = {**uncontrolled, "n_permutations": decoding.permutations_for(n_depths)}
            one, two = (
                section.take(
                    "decoding", partial(decoding.decode_parts, model, task, depths=at, **some)
                )
                for at in ([1], [1, 2])
            )
            if one is not None and two is not None:
                took = n_depths * max(two[0] / 2, two[0] - one[0])
                section.expected["decoding"] = took, 0, logits
        if "geometry" in wanted:
            took = _geometry_seconds(model, task, reading, uncontrolled)
            section.expected["geometry"] = took, 0, logits
        known: dict[str, Any] = {
            name: section.results.get(name) for name in PROFILES if name != "reading"
        }
        own = partial(
            complete_evidence, model, task, Evidence(**known, reading=reading), depths=depths,
            **options,
        )  # fmt: skip
        own = section.take("claims", own) if "claims" in wanted else None
    if own is not None and twins:
        of_twins = {**options, "control_pairs": TWIN_CONTROLS}
        asked = {*PROFILES} - {"trajectory"}
        lean = partial(
            complete_evidence, model, depths=depths, lean=True, profiles=asked, **of_twins
        )
        seed = options["seed"]
        found = _twins(model, task, rates, twins, lambda few: lean(few), where or (), seed)
        section.expected["claims"] = (
            own[0] + found[0], own[1] + found[1], max(own[2], found[2])
        )  # fmt: skip
    return section.expected


def _lens(model: DepthModel, task: Task) -> tuple[float, Rates]:
    """Seconds of the lens, from some prompts, and of a plain pass."""
    some = task.clean_tokens[: min(READ, len(task))]
    logit_lens(model, some[:1])  # what is found out about a model once
    start = clock()
    with tallied() as tally, anew():
        logit_lens(model, some)
    took = (clock() - start) * len(task) / len(some)
    return took, Rates(plain=tally.plain_seconds / max(tally.plain, 1), row=0.0, read=0.0)


def _rates(model: DepthModel, task: Task, depths: Depths) -> tuple[Rates, list[int] | None]:
    """Patch a few pairs for real: the depths that this finds, and then, of more pairs at some of
    them, since runs are the cheaper the more go together, seconds of what goes through."""
    positions: Any = named_positions(task, "all")
    few, more = (task.select(slice(0, None, max(1, -(-len(task) // n)))) for n in TRIED)
    found = patch_sweep(
        model, few, depths=depths, positions=positions, also=("success",), controls=()
    )
    at = found.depths.tolist()
    some = sorted({at[i * (len(at) - 1) // SOME_DEPTHS] for i in range(1, SOME_DEPTHS + 1)})
    with tallied() as tally, anew():
        patch_sweep(model, more, depths=some, positions=positions)
    rates = Rates(
        plain=tally.plain_seconds / max(tally.plain, 1),
        row=tally.row_seconds / max(tally.rows, 1),
        read=tally.read_seconds / max(tally.reads, 1),
    )
    return rates, edited_at(depths, found)


def _geometry_seconds(
    model: DepthModel, task: Task, reading: Any, options: dict[str, Any]
) -> float:
    """Of a geometry of drawn states, from few draws of either kind."""

    n_contexts = 0

    def timed(n_resamples: int, n_permutations: int) -> float:
        nonlocal n_contexts
        start = clock()
        found = geometry.geometry_profile(
            model, task, reading=reading, n_resamples=n_resamples, n_permutations=n_permutations,
            **options,
        )  # fmt: skip
        n_contexts = len(found.contexts)
        return clock() - start

    few, more = DRAWS
    timed(1, 1)  # what is made once
    least = timed(few, few)
    resample, permutation = (
        max(0.0, took - least) / (more - few) for took in (timed(more, few), timed(few, more))
    )
    n_permutations = geometry.permutations_for(model.n_layers, n_contexts)
    return least + (RESAMPLES - few) * resample + (n_permutations - few) * permutation


def _twins(
    model: DepthModel,
    task: Task,
    rates: Rates,
    twins: int,
    rehearse: Callable[[Task], Any],
    where: Collection[int],
    seed: int,
) -> tuple[float, int, int]:
    """Seconds, runs and bytes of untrained twins: one is made, and asked for its own answers."""
    start = clock()
    for tried in range(TWINS_TRIED):
        start = clock()
        try:
            twin = untrained(model, seed=seed + tried)
            own = own_task(twin, task, seed=seed, fewest=FEWEST_PAIRS)
        except ValueError:
            continue
        break
    else:  # nor will the others answer
        return MOST_TRIES * twins * (clock() - start), 0, 0
    made = clock() - start
    with Rehearsal(rates, where) as section:
        found = section.take("", lambda: rehearse(own)) or (0.0, 0, 0)
    return twins * (made + found[0]), twins * found[1], found[2]
