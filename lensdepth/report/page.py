"""The page itself: sections of sentences, figure, note and table, set by the template."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from lensdepth import plotting, prose
from lensdepth.geometry import GeometryProfile
from lensdepth.report import figures, tables
from lensdepth.report.measured import Measured
from lensdepth.report.tables import DepthTable
from lensdepth.transition import compare_definitions

N_EXAMPLES = 3
"""Prompts whose lens is spelt out token by token."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Exhibit:
    """One more figure of a section, under a title of its own."""

    key: str
    title: str
    note: str
    """What to see in it."""
    figure: Figure

    @property
    def figure_json(self) -> Markup:
        return Markup(figures.exhibit_for_page(self.figure))

    @property
    def height(self) -> int:
        return self.figure.layout.height

    @property
    def least_width(self) -> int:
        """Pixels below which it is scrolled, not squeezed."""
        return self.figure.layout.width or 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """One analysis on the page, or the reason why it is not there."""

    key: str
    title: str
    question: str
    sentences: list[str] = field(default_factory=list)
    absent: str | None = None
    figure: Figure | None = None
    zones: list[dict[str, str]] = field(default_factory=list)
    table: DepthTable | None = None
    examples: list[dict[str, Any]] = field(default_factory=list)
    exhibits: list[Exhibit] = field(default_factory=list)
    switches: list[tuple[str, ...]] = field(default_factory=list)
    """Definition, depth, interval, verdict, what it agrees with."""

    @property
    def note(self) -> str:
        return prose.NOTES[self.key]

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
        return f"{self.title} by depth. " + " ".join(self.sentences)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClaimsPart:
    """The study's claims, with which the page opens, or why they are not judged."""

    absent: str | None = None
    verdict: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One a claim: its verdict and the statement that settles it."""
    reasons: list[str] = field(default_factory=list)
    statements: list[prose.FindingCells] = field(default_factory=list)
    exhibit: Exhibit | None = None


SHOWN_IN = {
    "C1": ("patch", "Patching"), "C2": ("steering", "Steering"), "C3": ("geometry", "Geometry"),
    "C4": ("geometry", "Geometry"), "C5": ("ablation", "Direction against norm"),
    "C6": ("decoding", "What norm and direction carry"), "C7": ("locality", "Local against global"),
}  # fmt: skip
"""Claim -> key and title of the section whose figure shows it."""


def claims_part(findings: Measured) -> ClaimsPart:
    """The verdicts as the page shows them."""
    table = findings.claims
    if table is None:
        return ClaimsPart(absent=findings.absent["claims"])
    drawn = any(one.effect is not None for one in table.findings)
    return ClaimsPart(
        verdict=prose.claims_verdict(table),
        rows=[
            {
                "claim": one.claim,
                "title": one.title,
                "verdict": one.verdict,
                "mark": {"supported": "✓", "contradicted": "✗", "cannot tell": "?"}[one.verdict],
                "settled": prose.settled_by(table, one),
                "shown": SHOWN_IN[one.claim],
                "p": prose.corrected_p(one.p),
                "cells": prose.finding_cells(table.finding(one.decisive)),
            }
            for one in table.claims
        ],
        reasons=prose.claim_reasons(table),
        statements=[prose.finding_cells(one) for one in table.findings],
        exhibit=Exhibit(
            key="claims",
            title="Every statement beside its threshold",
            note=prose.NOTES["claims"],
            figure=table.plot(),
        )
        if drawn
        else None,
    )


def render(findings: Measured, *, tables_folder: str) -> str:
    """The whole page as one HTML text."""
    environment = Environment(
        loader=PackageLoader("lensdepth.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    provenance = findings.lens.provenance
    return environment.get_template("page.html").render(
        title=f"{provenance.model.name} on {findings.task.name}",
        lead=_lead(findings),
        keys=prose.key_numbers(
            n_layers=findings.n_layers,
            transition=findings.transition,
            crossing=findings.crossing,
            steering=findings.steering_crossing,
            ablation=findings.ablation,
            geometry=findings.geometry,
        ),
        facts=_facts(findings),
        notices=_notices(findings),
        claims=claims_part(findings),
        sections=sections(findings),
        settings=_settings(findings),
        pairs=_pairs(findings),
        tables_folder=tables_folder,
        versions=provenance.versions,
        created=provenance.created,
        colours=plotting.PALETTE,
        dark=plotting.DARK,
        css=Markup(_asset(environment, "page.css")),
        script=Markup(_asset(environment, "page.js")),
        page_settings=Markup(figures.page_settings()),
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
    )


def _asset(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _lead(findings: Measured) -> list[str]:
    return prose.opening(
        model=findings.lens.provenance.model.name,
        task=findings.task.name,
        lens=findings.lens,
        transition=findings.transition,
        patch=findings.patch,
        crossing=findings.crossing,
        steering=findings.steering_crossing,
        ablation=findings.ablation,
        geometry=findings.geometry,
    )


def sections(findings: Measured) -> list[Section]:
    """The story, then each analysis."""
    return [
        _story(findings),
        _lens(findings),
        _section(
            findings,
            key="patch",
            title="Patching",
            question="Which token's state decides the answer, the input's or the last one's?",
            result=findings.patch,
            sentences=lambda r: prose.patch_sentences(r, findings.crossing),
            figure=lambda r: figures.with_zone(r.plot(), figures.crossing_zone(findings.crossing)),
            table=tables.patch_table,
            zones=_zone_keys(findings, crossing=True),
        ),
        _section(
            findings,
            key="steering",
            title="Steering",
            question="Does it take another input or another answer to change the prediction?",
            result=findings.steering,
            sentences=lambda r: prose.steering_sentences(
                r, findings.steering_crossing, findings.sustained_crossing
            ),
            figure=lambda r: figures.with_zone(
                r.plot(), figures.crossing_zone(findings.steering_crossing)
            ),
            table=tables.steering_table,
            zones=_zone_keys(findings, steering=True),
        ),
        _section(
            findings,
            key="locality",
            title="Local against global",
            question="Does one block's attention do it, or do many together?",
            result=findings.locality,
            sentences=prose.locality_sentences,
            figure=lambda r: r.plot(),
            table=tables.locality_table,
        ),
        _section(
            findings,
            key="ablation",
            title="Direction against norm",
            question="Which part of the last token's state carries the answer?",
            result=findings.ablation,
            sentences=prose.ablation_sentences,
            figure=lambda r: r.plot(),
            table=tables.ablation_table,
        ),
        _section(
            findings,
            key="dose",
            title="Dose and response",
            question="How far must a state turn, or its norm change, to move the prediction?",
            result=findings.dose,
            sentences=prose.dose_sentences,
            figure=lambda r: r.plot(),
            table=None,
        ),
        _section(
            findings,
            key="decoding",
            title="What norm and direction carry",
            question="What can be read off the last token's state, off its norm alone and off its "
            "direction alone?",
            result=findings.decoding,
            sentences=prose.decoding_sentences,
            figure=lambda r: r.plot(),
            table=tables.decoding_table,
        ),
        _section(
            findings,
            key="geometry",
            title="Geometry",
            question="How do the states of different prompts lie to one another?",
            result=findings.geometry,
            sentences=prose.geometry_sentences,
            figure=lambda r: r.plot(),
            table=tables.geometry_table,
            exhibits=_geometry_exhibits,
        ),
    ]


def _story(findings: Measured) -> Section:
    zones = _zone_keys(findings, crossing=True, lens=True)
    said = []
    order = prose.order_verdict(findings.crossing, findings.transition)
    if not zones:
        said = ["No switch was located, so no zone is drawn; each section says why."]
    elif order is not None:
        said.append(order)
    return Section(
        key="story",
        title="The depth story",
        question="Everything on one axis, from the embedding on the left to the answer on the "
        "right.",
        sentences=said,
        figure=figures.story(findings),
        zones=zones,
        switches=_switches(findings),
    )


def _switches(findings: Measured) -> list[tuple[str, ...]]:
    """Where each definition puts the switch."""
    rows = []
    for row in compare_definitions(findings.switches).to_dict("records"):
        there = not math.isnan(row["depth"])
        known = there and not math.isnan(row["low"])
        rows.append(
            (
                row["definition"],
                f"{row['depth']:.2f}" if there else "–",
                f"{row['low']:.2f} to {row['high']:.2f}" if known else "",
                row["verdict"],
                row["agrees_with"] or "none",
            )
        )
    return rows


def _lens(findings: Measured) -> Section:
    profile, transition = findings.lens, findings.transition
    sentences = prose.lens_sentences(profile, transition)
    if "transition" in findings.absent:
        sentences[0] = f"No transition was sought: {findings.absent['transition']}."
    return Section(
        key="lens",
        title="Logit lens",
        question="What would the model answer if it stopped here?",
        sentences=sentences,
        figure=figures.with_zone(profile.plot(), figures.lens_zone(findings)),
        table=tables.lens_table(profile),
        zones=_zone_keys(findings, lens=True),
        examples=_examples(findings),
        exhibits=[_token_map(findings)],
    )


def _section(
    findings: Measured,
    *,
    key: str,
    title: str,
    question: str,
    result: Any,
    sentences: Callable[[Any], list[str]],
    figure: Callable[[Any], Figure],
    table: Callable[[Any], DepthTable] | None,
    zones: list[dict[str, str]] | None = None,
    exhibits: Callable[[Any], list[Exhibit]] | None = None,
) -> Section:
    if result is None:
        return Section(key=key, title=title, question=question, absent=findings.absent[key])
    said = sentences(result)
    if key == "patch" and "crossing" in findings.absent:
        said.insert(0, f"No crossing was sought: {findings.absent['crossing']}.")
    return Section(
        key=key,
        title=title,
        question=question,
        sentences=said,
        figure=figure(result),
        table=None if table is None else table(result),
        zones=zones or [],
        exhibits=[] if exhibits is None else exhibits(result),
    )


def _token_map(findings: Measured) -> Exhibit:
    profile, length = findings.tokens, int(findings.task.clean_tokens.lengths[0])
    shown = profile.position.shape[1]
    which = "Every token" if shown == length else f"The last {shown} of {length} tokens"
    return Exhibit(
        key="tokens",
        title="One prompt, token by token",
        note=f"{which} of the first prompt: {prose.NOTES['tokens']}",
        figure=profile.plot_tokens(),
    )


def _geometry_exhibits(profile: GeometryProfile) -> list[Exhibit]:
    return [
        Exhibit(
            key=key,
            title=title,
            note=prose.NOTES[key],
            figure=draw(),
        )
        for key, title, draw in (
            ("cka", "Which depths are alike", profile.plot_map),
            (
                "procrustes",
                "Which depths are a rotation of one another",
                lambda: profile.plot_map("procrustes"),
            ),
            ("coupling", "Angle against prediction, depth by depth", profile.plot_coupling),
        )
    ]


def _zone_keys(
    findings: Measured, *, crossing: bool = False, steering: bool = False, lens: bool = False
) -> list[dict[str, str]]:
    """What the shaded strips of a figure are."""
    named = []
    if crossing and (zone := figures.crossing_zone(findings.crossing)) is not None:
        named.append((zone, "Control passes"))
    if steering and (zone := figures.crossing_zone(findings.steering_crossing)) is not None:
        named.append((zone, "The curves cross"))
    if lens and (zone := figures.lens_zone(findings)) is not None:
        named.append((zone, "The lens switches"))
    return [
        {
            "role": zone.role,
            "text": f"{name} at {prose.between(zone.at, zone.low, zone.high, findings.n_layers)}",
        }
        for zone, name in named
    ]


def _examples(findings: Measured) -> list[dict[str, Any]]:
    """Top token and its probability at each depth, for the first prompts."""
    profile = findings.lens
    return [
        {
            "prompt": findings.task.clean[i],
            "tokens": [
                {
                    "text": _visible(profile.text(int(profile.top_tokens[depth, i, -1, 0]))),
                    "probability": f"{profile.top_log_probs[depth, i, -1, 0].exp().item():.2f}",
                    "final": bool(profile.top1_agreement[depth, i, -1]),
                }
                for depth in range(profile.n_layers + 1)
            ],
        }
        for i in range(min(N_EXAMPLES, len(findings.task)))
    ]


def _visible(token: str) -> str:
    """A token with its white space made visible."""
    return token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") or "∅"


def _facts(findings: Measured) -> list[tuple[str, str]]:
    """What was run and on what."""
    provenance, task = findings.lens.provenance, findings.task
    model = provenance.model
    noun = "pair" if task.has_pairs else "prompt"
    return [
        (
            "Model",
            f"{model.name}: {model.architecture}, {model.n_layers} blocks, width {model.d_model}",
        ),
        ("Weights", f"{model.weights}, fingerprint {model.fingerprint}"),
        ("Configuration", f"fingerprint {model.configuration}; tokenizer {model.tokenizer}"),
        ("Run by", f"{_backend(model.backend)}, {model.dtype} on {model.device}"),
        ("Task", f"{task.name}: {prose.counted(len(task), noun)} of {task.n_drawn:,} drawn"),
        ("Left out", _left_out(findings)),
        ("Seed", f"{findings.seed} (task {task.seed})"),
        ("Date", provenance.created.replace("T", " ").replace("+00:00", " UTC")),
    ]


def _backend(name: str) -> str:
    return {"hooked": "HookedTransformer", "bridge": "TransformerBridge"}[name]


def _left_out(findings: Measured) -> str:
    task = findings.task
    reasons = [
        f"{n:,} {why}"
        for n, why in (
            (task.n_multi_token, "with an answer of several tokens"),
            (task.n_wrong, "answered wrongly"),
        )
        if n
    ]
    return ", ".join(reasons) or "none"


def _notices(findings: Measured) -> list[str]:
    """What a reader must know before the numbers."""
    notices = []
    if findings.lens.provenance.model.weights == "processed":
        notices.append(
            "These weights are processed (norms folded in, or weights centred): the directions "
            "and norms below are those of the processed weights, not of the model as trained."
        )
    if not findings.task.has_pairs:
        notices.append(
            "The task has plain prompts without pairs, so nothing here is causal: there are "
            "only the lens and the geometry."
        )
    if len(findings.task) < 10:
        notices.append(
            f"There are only {prose.counted(len(findings.task), 'prompt')} or pairs: intervals "
            f"from so few are rough."
            if len(findings.task) > 1
            else "There is only one prompt or pair: no interval can be given."
        )
    return notices


def _settings(findings: Measured) -> list[dict[str, str]]:
    """How each analysis was called and how long it took."""
    results = {
        "lens": findings.lens,
        "patch": findings.patch,
        "steering": findings.steering,
        "locality": findings.locality,
        "ablation": findings.ablation,
        "dose": findings.dose,
        "decoding": findings.decoding,
        "geometry": findings.geometry,
        "claims": findings.claims,
    }
    return [
        {
            "analysis": result.provenance.analysis,
            "settings": ", ".join(
                f"{k} = {' and '.join(map(str, v)) if isinstance(v, list) else v}"
                for k, v in result.provenance.settings.items()
            ),
            "seed": str(result.provenance.seed),
            "seconds": f"{findings.seconds.get(key, float('nan')):.1f}",
        }
        for key, result in results.items()
        if result is not None
    ]


def _pairs(findings: Measured) -> list[tuple[str, ...]]:
    """The first few prompts, with their answers."""
    task = findings.task
    if task.corrupted is None or task.target is None or task.foil is None:
        return [(prompt,) for prompt in task.clean[:5]]
    return list(zip(task.clean, task.target, task.corrupted, task.foil, strict=True))[:5]
