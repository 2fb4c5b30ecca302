"""The sections of the page: sentences, figure, note, table and further figures of each analysis."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from plotly.graph_objects import Figure

from lensdepth.analyses import ANALYSES, Analysis, analysis
from lensdepth.geometry.profile import GeometryProfile
from lensdepth.lens.told import lens_name
from lensdepth.plotting import Zone, layout_of
from lensdepth.report import figures
from lensdepth.report.captions import caption
from lensdepth.report.measured import Measured
from lensdepth.report.reconciled import additivity, carrying, definitions, passing
from lensdepth.report.story import NOTES, switches_of
from lensdepth.telling.curves import DepthTable
from lensdepth.telling.depths import between, ends
from lensdepth.telling.numbers import Interval, number
from lensdepth.telling.tokens import signed
from lensdepth.transition.compare import compare_definitions
from lensdepth.transition.told import lens_verdict, order_verdict, read_by

if TYPE_CHECKING:
    import pandas as pd

IF_THERE = ("mistakes",)
"""Analyses that have a section only where there is a result; others say why there is none."""
N_EXAMPLES = 3
"""Prompts whose lens is spelt out token by token."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Exhibit:
    """One more figure of a section, under a title of its own."""

    key: str
    title: str
    note: str
    """How to read it."""
    caption: str
    """What to see in it, in one sentence."""
    figure: Figure
    frame: Callable[[], "pd.DataFrame"]
    """The numbers behind it."""
    number: int = 0
    """Of the figure on the page, from 1."""

    @property
    def figure_json(self) -> Markup:
        return Markup(figures.exhibit_for_page(self.figure))

    @property
    def height(self) -> int:
        return layout_of(self.figure).height

    @property
    def least_width(self) -> int:
        """Pixels below which it is scrolled, not squeezed."""
        return layout_of(self.figure).width or 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """One analysis on the page, or the reason why it is not there."""

    key: str
    title: str
    question: str
    note: str
    """How to read its figure."""
    sentences: list[str] = field(default_factory=list)
    """What was found; the first stands beside the title."""
    beside: tuple[str, ...] = ()
    """Those of the others without which it would be read wrongly."""
    absent: str | None = None
    figure: Figure | None = None
    caption: str = ""
    """What to see in the figure, in one sentence."""
    frame: Callable[[], "pd.DataFrame"] | None = None
    """The numbers behind it."""
    number: int = 0
    """Of the figure on the page, from 1; 0: it has none."""
    footnotes: list[str] = field(default_factory=list)
    """What the table of switches needs said."""
    zones: list[dict[str, str]] = field(default_factory=list)
    table: DepthTable | None = None
    examples: list[dict[str, Any]] = field(default_factory=list)
    exhibits: list[Exhibit] = field(default_factory=list)
    switches: list[tuple[str, ...]] = field(default_factory=list)
    """Definition, depth, interval, verdict, difference to the crossing, what it agrees with."""

    @property
    def figure_json(self) -> Markup:
        assert self.figure is not None
        return Markup(figures.for_page(self.figure))

    @property
    def height(self) -> int:
        assert self.figure is not None
        return figures.height(self.figure)

    @property
    def y_title(self) -> str:
        return "" if self.figure is None else figures.y_title(self.figure)

    @property
    def legend(self) -> list[dict[str, Any]]:
        return [] if self.figure is None else figures.legend(self.figure)

    @property
    def alt(self) -> str:
        """What the figure shows, for those who cannot see it."""
        return f"{self.title} by depth. {self.caption} " + " ".join(self.sentences)

    @property
    def gist(self) -> str:
        """What one reads where the section is folded."""
        if self.absent is not None:
            return f"Not measured: {self.absent}."
        return self.sentences[0] if self.sentences else self.question

    @property
    def more(self) -> list[str]:
        """What was found besides, with controls and caveats."""
        return [said for said in self.sentences[1:] if said not in self.beside]


def numbered(parts: Iterable[Section], *, after: int = 0) -> list[Section]:
    """The same sections with their figures numbered in the order of the page.

    Args:
        parts: of one page.
        after: figures that stand before them.
    """
    numbers = itertools.count(after + 1)
    found = []
    for part in parts:
        own = 0 if part.figure is None else next(numbers)
        exhibits = [replace(one, number=next(numbers)) for one in part.exhibits]
        found.append(replace(part, number=own, exhibits=exhibits))
    return found


def sections(findings: Measured) -> list[Section]:
    """The story, then each analysis."""
    reported = [
        one
        for one in ANALYSES
        if hasattr(findings, one.key) and one.key != "claims" and _is_shown(findings, one.key)
    ]
    return [_story(findings), *(_section(findings, one) for one in reported)]


def _is_shown(findings: Measured, key: str) -> bool:
    """Whether an analysis has a section: with its result, or with the reason why there is none."""
    has_reason = key in findings.absent and key not in IF_THERE
    return getattr(findings, key) is not None or has_reason


def _story(findings: Measured) -> Section:
    zones = _zone_keys(findings, "crossing", "transition")
    said = []
    order = order_verdict(findings.order)
    if not zones:
        said = ["No switch was located, so no zone is drawn; each section says why."]
    elif order is not None:
        said.append(order)
    return Section(
        key="story",
        title="The depth story",
        question="Everything on one axis, from the embedding on the left to the answer on the "
        "right.",
        note=NOTES["story"],
        sentences=said,
        figure=figures.story(findings),
        caption=caption(findings, "story"),
        frame=partial(figures.story_frame, findings),
        zones=zones,
        switches=_switches(findings),
        footnotes=definitions(findings),
    )


def _switches(findings: Measured) -> list[tuple[str, ...]]:
    """Where each definition puts the switch."""
    rows = []
    for row in compare_definitions(findings.switches).to_dict("records"):
        at = Interval(value=row["depth"], low=row["low"], high=row["high"])
        known = at.known and not math.isnan(at.value)
        rows.append(
            (
                row["definition"],
                number(at.value),
                ends(at.value, at.low, at.high) if known else "",
                row["verdict"],
                _from_crossing(row),
                row["agrees_with"] or "none",
            )
        )
    return rows


def _from_crossing(row: Mapping[Any, Any]) -> str:
    """How far a definition lies from the crossing of patching, and what that settles."""
    apart = Interval(
        value=row["difference"], low=row["difference_low"], high=row["difference_high"]
    )
    return f"{apart}, {row['order']}" if apart.known else ""


def _section(findings: Measured, one: Analysis) -> Section:
    key, result = one.key, getattr(findings, one.key)
    head: dict[str, Any] = {"key": key, "title": one.title, "question": one.question}
    if result is None:
        return Section(**head, note=one.note, absent=findings.absent[key])
    names, found = switches_of(findings, key)
    said, needed = one.sentences(result, *found), []
    if key == "lens" and "transition" in findings.absent:
        said[0] = f"No transition was sought: {findings.absent['transition']}."
    if key == "lens" and findings.tuned is not None:
        why = findings.absent.get("tuned_transition")
        unsought = f"No transition of the {lens_name(findings.tuned.provenance)} was sought: {why}."
        found_there = lens_verdict(findings.tuned_transition, findings.n_layers)
        needed.append(unsought if why else found_there)
    if key == "patch" and "crossing" in findings.absent:
        said.insert(0, f"No crossing was sought: {findings.absent['crossing']}.")
    beside = {"locality": additivity, "steering": passing, "ablation": carrying}
    if key in beside and (more := beside[key](findings)) is not None:
        needed.append(more)
    said[1:1] = needed
    zone = _zone(findings, names[0]) if names else None
    table = one.table(result)
    return Section(
        **head,
        note=one.note,
        sentences=said,
        beside=tuple(needed),
        figure=figures.with_zone(result.plot(), zone),
        caption=caption(findings, key),
        frame=partial(_frame, table, result),
        table=table,
        zones=_zone_keys(findings, *names[:1]),
        examples=_examples(findings) if key == "lens" else [],
        exhibits=_exhibits(findings, key),
    )


def _frame(table: DepthTable | None, result: Any) -> "pd.DataFrame":
    """What is drawn, by depth where that is how it is drawn."""
    return result.to_frame() if table is None else table.frame


def _exhibits(findings: Measured, key: str) -> list[Exhibit]:
    if key == "lens":
        return [*_tuned(findings), _token_map(findings)]
    if key == "ablation" and findings.ablation is not None and findings.ablation.outcome.has_gains:
        return [
            Exhibit(
                key="made_of",
                title="What the transferred fraction is made of",
                note=NOTES["made_of"],
                caption=caption(findings, "made_of"),
                figure=findings.ablation.plot_made_of(),
                frame=partial(_frame, analysis("ablation").table(findings.ablation), None),
            )
        ]
    if key == "geometry" and findings.geometry is not None:
        return _geometry_exhibits(findings, findings.geometry)
    return []


def _tuned(findings: Measured) -> list[Exhibit]:
    """What another lens reads of the same prompts, where one was given."""
    profile = findings.tuned
    if profile is None:
        return []
    zone = figures.lens_zone(findings.tuned_transition)
    return [
        Exhibit(
            key="tuned",
            title=profile.name,
            note=NOTES["tuned"],
            caption=caption(findings, "tuned"),
            figure=figures.with_zone(profile.plot(), zone),
            frame=partial(_frame, analysis("lens").table(profile), profile),
        )
    ]


def _token_map(findings: Measured) -> Exhibit:
    profile, length = findings.tokens, int(findings.task.clean_tokens.lengths[0])
    shown = profile.position.shape[1]
    which = "Every token" if shown == length else f"The last {shown} of {length} tokens"
    return Exhibit(
        key="tokens",
        title="One prompt, token by token",
        note=f"{which} of the first prompt: {NOTES['tokens']}",
        caption=caption(findings, "tokens"),
        figure=profile.plot_tokens(),
        frame=profile.to_frame,
    )


def _geometry_exhibits(findings: Measured, profile: GeometryProfile) -> list[Exhibit]:
    coupling = profile.plot_coupling()
    return [
        Exhibit(
            key=key,
            title=title,
            note=NOTES[key],
            caption=caption(findings, key),
            figure=figure,
            frame=frame,
        )
        for key, title, figure, frame in (
            ("cka", "Which depths are alike", profile.plot_map(), profile.map_frame),
            (
                "procrustes",
                "Which depths are a rotation of one another",
                profile.plot_map("procrustes"),
                profile.map_frame,
            ),
            (
                "coupling",
                "Angle against prediction, depth by depth",
                coupling,
                partial(figures.points_frame, coupling),
            ),
        )
    ]


def _zone(findings: Measured, name: str) -> Zone | None:
    """The strip of one switch, by its field of the findings."""
    found = getattr(findings, name)
    if name == "transition":
        return figures.lens_zone(found)
    return figures.crossing_zone(found)


ZONES = {
    "crossing": "Control passes",
    "steering_crossing": "The curves cross",
    "transition": "The lens switches",
}


def _zone_keys(findings: Measured, *names: str) -> list[dict[str, str]]:
    """What the shaded strips of a figure are."""
    said = []
    for name in names:
        zone = _zone(findings, name)
        if zone is not None:
            where = between(zone.at, zone.low, zone.high, findings.n_layers)
            text = f"{ZONES[name]} at {where}{read_by(getattr(findings, name))}"
            said.append({"role": zone.role, "text": text})
    return said


def _examples(findings: Measured) -> list[dict[str, Any]]:
    """Top token and its probability at each depth, for the first prompts."""
    profile = findings.lens
    return [
        {
            "prompt": findings.task.clean[i],
            "tokens": [
                {
                    "text": signed(profile.text(int(profile.top_tokens[depth, i, -1, 0]))),
                    "probability": number(profile.top_log_probs[depth, i, -1, 0].exp().item()),
                    "final": bool(profile.top1_agreement[depth, i, -1]),
                }
                for depth in range(profile.n_layers + 1)
            ],
        }
        for i in range(min(N_EXAMPLES, len(findings.task)))
    ]
