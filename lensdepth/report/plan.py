"""What a report will take, section by section, before it is measured.

Patching is tried on a few pairs: that finds the depths, and what a token in a block and a readout
cost on this machine. Then every section is rehearsed (`lensdepth.tally`): its own functions say how
much they put through the model. What they compute beside is timed while they do, with fewer draws
where they draw much.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import torch
from plotly.graph_objects import Figure

from lensdepth.ablation import decoding
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.claims.architecture import N_TWINS
from lensdepth.claims.complete import complete_evidence
from lensdepth.claims.evidence import PROFILES, Evidence
from lensdepth.claims.twins import MOST_PAIRS, unheard
from lensdepth.geometry import measure as geometry
from lensdepth.geometry.reading import read_states
from lensdepth.interface import ReadModel
from lensdepth.lens.read import logit_lens
from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.progress import unwatched
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.report.measure import analyses_at, patch_of, why_absent
from lensdepth.report.measured import ALWAYS, SECTIONS, Section
from lensdepth.storage import ModelResult
from lensdepth.sweep.adaptive import Depths
from lensdepth.sweep.spans import named_positions
from lensdepth.tally import Tally, clock, tallied
from lensdepth.tasks.task import Task
from lensdepth.telling.numbers import duration

TRIED = 6
"""Pairs on which patching is tried."""
READ = 16
"""Prompts on which the lens is."""
MORE, ENOUGH = 4, 4.0
"""How many times as many pairs are tried next, where that takes no longer than so many seconds."""
DRAWS = (8, 40)
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

    @property
    def seconds(self) -> float:
        """Of all sections."""
        return sum(self.expected)

    @property
    def told(self) -> str:
        """In one line, the longest sections first."""
        parts = sorted(zip(self.expected, self.sections, strict=True), reverse=True)
        longest = ", ".join(f"{name} {duration(took)}" for took, name in parts if took >= 1)
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
    depths: Depths = None,
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
        depths: at which whole states are edited.
        seed: of the analyses.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        ReportPlan.
    Example:
        >>> plan_report(model, load_task("months", model)).told
    """
    absent = why_absent(model, task)
    asked = SECTIONS if sections is None else sections
    wanted = [n for n in SECTIONS if n in (*ALWAYS, *asked) and n not in absent]
    options: dict[str, Any] = {"seed": seed, "batch_size": batch_size}
    with unwatched(), unheard():
        found = _tried(model, task, wanted, twins, depths, options)
    names = tuple(name for name in wanted if name in found)
    weights = sum(p.numel() * p.element_size() for p in model.model.parameters())
    held = [weights * (1 + (name == "claims" and twins > 0)) + found[name][2] for name in names]
    settings = {
        "sections": sorted(asked), "twins": twins, "depths": depths if isinstance(depths, str)
        or depths is None else list(depths), "batch_size": batch_size, "max_memory": max_memory,
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
    )


Expected = tuple[float, int, int]
"""Seconds, edited runs, bytes."""


def _tried(
    model: DepthModel,
    task: Task,
    wanted: Collection[str],
    twins: int,
    depths: Depths,
    options: dict[str, Any],
) -> dict[str, Expected]:
    """What each section takes."""
    found: dict[str, Expected] = {}
    some = task.clean_tokens[: min(READ, len(task))]
    logit_lens(model, some[:1])  # what is found out about a model once
    start = clock()
    with tallied() as read:
        logit_lens(model, some)
    n_bytes = 4 * model.d_vocab * len(task)
    found["lens"] = (clock() - start) * len(task) / len(some), 0, n_bytes
    rates, where = Rates(plain=read.plain_seconds / max(read.plain, 1), row=0.0, read=0.0), None
    rehearsed: dict[str, Any] = {}

    def rehearse(name: str, analyse: Callable[[], Any]) -> None:
        start = clock()
        with tallied(rehearsed=True, depths=where or ()) as tally:
            try:
                rehearsed[name] = analyse()
            except ValueError:  # it refuses these prompts
                return
        found[name] = rates.of(tally) + clock() - start, tally.runs, tally.n_bytes

    if "patch" in wanted:
        rates, where = _rates(model, task, depths)
        rehearse("patch", lambda: patch_of(model, task, depths=depths, seed=options["seed"]))
    with tallied(rehearsed=True) as tally:
        reading = read_states(model, task, batch_size=options["batch_size"])
    rest = analyses_at(model, task, where, reading, **options)
    for name, analyse in rest.items():
        if name in wanted and name not in ("geometry", "decoding"):
            rehearse(name, analyse)
    if "geometry" in wanted:
        took = _geometry_seconds(model, task, reading, options)
        found["geometry"] = rates.of(tally) + took, 0, n_bytes
    if "decoding" in wanted:
        n_depths = model.n_layers + 1 if where is None else len(where)
        n_permutations = decoding.permutations_for(n_depths)
        took = []
        for at in ([1], [1, 2]):
            rehearse(
                "decoding",
                lambda at=at: decoding.decode_parts(
                    model, task, depths=at, n_permutations=n_permutations, **options
                ),
            )
            if "decoding" in rehearsed:
                took.append(found["decoding"][0])
        if took:
            found["decoding"] = took[0] + (n_depths - 1) * max(0.0, took[1] - took[0]), 0, n_bytes
    if "claims" in wanted:
        known = {name: rehearsed.get(name) for name in PROFILES if name != "reading"}
        evidence = Evidence(**known, reading=reading)
        rehearse(
            "claims", lambda: complete_evidence(model, task, evidence, depths=depths, **options)
        )
        own = found["claims"]
        few = task.select(slice(0, MOST_PAIRS))
        rehearse(
            "claims", lambda: complete_evidence(model, few, depths=depths, lean=True, **options)
        )
        twin = found["claims"]
        seconds = own[0] + twins * (twin[0] + _drawing_seconds(model))
        found["claims"] = seconds, own[1] + twins * twin[1], max(own[2], twin[2])
    return found


def _rates(model: DepthModel, task: Task, depths: Depths) -> tuple[Rates, list[int] | None]:
    """Patch a few pairs for real: seconds of what that puts through, and the depths it found."""
    positions: Any = named_positions(task, "all")
    n, rates, at = TRIED, Rates(plain=0.0, row=0.0, read=0.0), depths
    patched = None
    while True:
        few = task.select(slice(0, None, max(1, -(-len(task) // n))))
        start = clock()
        with tallied() as tally:
            made = patch_sweep(model, few, depths=at, positions=positions)
        took = clock() - start
        rates = Rates(
            plain=tally.plain_seconds / max(tally.plain, 1),
            row=tally.row_seconds / max(tally.rows, 1),
            read=tally.read_seconds / max(tally.reads, 1),
        )
        patched = patched or made
        # What is found out about a model once, and calls of little, make few pairs dearer.
        if n >= len(task) or took * MORE > ENOUGH:
            break
        n, at = MORE * n, patched.depths.tolist()
    return rates, patched.depths.tolist() if patched.depths_found else None


def _geometry_seconds(
    model: DepthModel, task: Task, reading: Any, options: dict[str, Any]
) -> float:
    """Of a geometry of drawn states, from few draws of either kind."""

    def timed(n_resamples: int, n_permutations: int) -> float:
        nonlocal n_contexts
        start = clock()
        found = geometry.geometry_profile(
            model, task, reading=reading, n_resamples=n_resamples, n_permutations=n_permutations,
            **options,
        )  # fmt: skip
        n_contexts = len(found.contexts)
        return clock() - start

    n_contexts = 0
    few, more = DRAWS
    least = timed(few, few)
    resample, permutation = (
        max(0.0, took - least) / (more - few) for took in (timed(more, few), timed(few, more))
    )
    n_permutations = geometry.permutations_for(model.n_layers, n_contexts)
    return least + (RESAMPLES - few) * resample + (n_permutations - few) * permutation


def _drawing_seconds(model: ReadModel) -> float:
    """Of drawing a twin's weights, from some of them."""
    n_weights = sum(p.numel() for p in model.passes.model.parameters())
    n = min(n_weights, 2**22)
    start = clock()
    torch.empty(n, dtype=torch.float32).normal_(generator=torch.Generator().manual_seed(0))
    return 2 * (clock() - start) * n_weights / n
