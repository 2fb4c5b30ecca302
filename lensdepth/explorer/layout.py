"""The page: everything that can stand on it, in place from the start; callbacks fill it."""

import secrets
from typing import Any

from dash import dcc, html

from lensdepth.colours import dark_colours
from lensdepth.edits import STRONG_EDITS
from lensdepth.explorer.layout_keep import keep, note
from lensdepth.explorer.links import LONGEST_TOKEN
from lensdepth.explorer.notes import NOTES, SCOPES, VALUE_LABELS, VIEWS
from lensdepth.explorer.parts import aria, card, choose, field, group, info, intro
from lensdepth.explorer.state import (
    LARGEST_FILE,
    LENGTHS,
    LONGEST_PROMPT,
    MOST_NODES,
    PAIRS,
    Offers,
)
from lensdepth.tasks.files import SUFFIXES

CARDS = {
    "read": ("map", "next", "cell", "followed"),
    "poke": ("pick", "predictions", "trajectory"),
    "move": ("base-map", "source-map", "moved"),
    "sweep": ("patch", "patch-map", "ablation", "made-of", "steering"),
    "circuit": ("attribution", "heads", "attention", "components"),
    "graph": ("graph", "graph-set", "edge"),
    "write": ("written", "written-map", "edited-map"),
    "pairs": ("pair-dots",),
    "compare": ("both", "first", "second"),
    "keep": (),
}
"""The cards of each view; those of the circuit's graph come by themselves."""


def page(offers: Offers) -> html.Div:
    """The whole page, for one tab."""
    return html.Div(
        className="page",
        children=[
            html.A("Skip to the figures", href="#views", className="skip"),
            *stores(),
            header(offers),
            prompts(),
            html.Div(id="job-strip", className="job-strip", hidden=True, role="status", children=[
                html.Div(id="job-text", className="job-text"),
                html.Div(html.Div(id="job-bar", className="job-bar"), className="job-track"),
                html.Button("Cancel", id="cancel", className="button"),
            ]),
            html.Div(
                html.Div(f"Loading the model {offers.model} …", className="loading"),
                id="banner",
                role="alert",
            ),
            html.Main(id="views", tabIndex="-1", children=[
                html.Div(make(), id=f"view-{name}", className="view", hidden=True)
                for name, make in (
                    ("read", read), ("poke", poke), ("move", move), ("sweep", sweep),
                    ("circuit", circuit), ("write", write), ("pairs", pairs),
                    ("compare", lambda: compare(offers)), ("keep", keep),
                )
            ]),
            html.Footer(
                "lensdepth runs on this computer; nothing leaves it.", className="foot small"
            ),
        ],
    )  # fmt: skip


def stores() -> list[Any]:
    """What the page remembers; all of it in this tab alone."""
    asks = [dcc.Store(id=f"ask-{view}") for view in VIEWS]
    return [
        dcc.Location(id="url", refresh=False),
        dcc.Store(id="screen"),
        dcc.Store(id="site"),
        dcc.Store(id="seen"),
        dcc.Store(id="job"),
        dcc.Store(id="done"),
        dcc.Store(id="tab", data=secrets.token_urlsafe(9)),
        dcc.Store(id="poll"),
        dcc.Store(id="told"),
        dcc.Store(id="zone"),
        dcc.Store(id="outcome"),
        dcc.Store(id="pair-table"),
        dcc.Store(id="live"),
        dcc.Store(id="history", storage_type="session"),
        dcc.Store(id="noted", storage_type="session"),
        dcc.Store(id="dropped"),
        dcc.Store(id="files", storage_type="session"),
        dcc.Store(id="dark", data=dark_colours()),
        dcc.Interval(id="tick", interval=250, max_intervals=0),
        dcc.Download(id="download"),
        *asks,
    ]


def header(offers: Offers) -> html.Header:
    """Name, model, task, views, and what can be taken along."""
    return html.Header(className="header", children=[
        html.Div(className="bar", children=[
            html.H1([html.Span("lensdepth", className="name"), " explorer"]),
            html.Div(className="bar-fields", children=[
                field("Model", choose("model", list(offers.models)), "model"),
                field("Task", choose("task", list(offers.tasks)), "task"),
                html.Button("Add file …", id="choose-file", className="button",
                            title="A prompt file as a task: JSONL, CSV or Parquet, or drop it "
                            "anywhere on the page",
                            **{"data-most": LARGEST_FILE, "data-endings": ",".join(SUFFIXES)}),
            ]),
            html.Div(className="bar-actions", children=[
                html.Button("Undo", id="undo", className="button", title="Back one step"),
                html.Button("Redo", id="redo", className="button", title="Forward one step"),
                html.Button("Copy link", id="copy", className="button",
                            title="A link that opens this very page again"),
                html.Button("Script", id="script", className="button",
                            title="A Python program that makes what is on the screen"),
                html.Button("Notebook", id="notebook", className="button",
                            title="The same as a Jupyter notebook"),
                html.Button("Dark", id="theme", className="button", title="Light or dark page"),
            ]),
        ]),
        html.Div(className="tab-row", children=[
            html.Nav(**aria("Views"), children=dcc.RadioItems(
                id="view", className="tabs", value="read",
                options=[{"label": name, "value": key} for key, (name, _) in VIEWS.items()],
            )),
            note(),
        ]),
    ])  # fmt: skip


def prompts() -> html.Section:
    """The two prompts that everything is about."""
    return html.Section(className="prompts", **aria("Prompts"), children=[
        field(
            "Prompt (base: this run is edited)",
            dcc.Input(id="prompt", debounce=True, maxLength=LONGEST_PROMPT, autoComplete="off",
                      spellCheck="false"),
            "prompt",
        ),
        html.Button("⇄", id="swap", className="button swap", title="Swap the two prompts",
                    **aria("Swap the two prompts")),
        field(
            "Source prompt (gives the states)",
            dcc.Input(id="source", debounce=True, maxLength=LONGEST_PROMPT, autoComplete="off",
                      spellCheck="false"),
            "source",
        ),
        field("Examples of the task", choose("example", [], placeholder="Pick a pair …"),
              "example"),
        html.P(id="unknown", className="unknown", role="status"),
        html.Div(id="dropped-said", className="dropped-said", role="status"),
    ])  # fmt: skip


def read() -> list[Any]:
    """What the model would say at each depth."""
    return [
        intro("read"),
        html.Div(className="controls", children=[
            group("Colour", "value", VALUE_LABELS),
            group("Lens", "lens", {"logit": "Logit lens", "tuned": "Tuned lens"}),
            field("Find a token at every depth", dcc.Input(
                id="follow", debounce=True, maxLength=LONGEST_TOKEN, autoComplete="off",
                spellCheck="false", placeholder="word, or ·word",
            ), "follow"),
            html.Button("Poke at the chosen cell →", id="to-poke", className="button primary"),
        ]),
        html.Div(className="split", children=[
            card("map"),
            html.Div(className="column", children=[card("followed"), card("next"),
                                                 card("cell")]),
        ]),
    ]  # fmt: skip


def poke() -> list[Any]:
    """Choose a site and an edit, and see beside them what follows."""
    return [
        intro("poke"),
        html.Div(className="bench", children=[
            card("pick"),
            html.Div(className="column", children=[edit_card(), result_card()]),
        ]),
        html.Div(className="halves", children=[card("predictions"), card("trajectory")]),
    ]  # fmt: skip


def edit_card() -> html.Section:
    """Where, what, and how strongly."""
    return html.Section(className="card controls-card", **aria("The edit"), children=[
        html.Div(className="thirds", children=[
            field("From depth", choose("depth", []), "depth", label_id="depth-label"),
            field("Window to depth", choose("last", [], clearable=True,
                                            placeholder="all depths"), "last",
                  label_id="last-label"),
            field("Stream", choose("stream", []), "stream"),
            field("From token", choose("position", []), "position"),
            field("To token", choose("to", []), "to"),
            field("Head", choose("head", [], clearable=True, placeholder="all heads"), "head"),
            field("Edit", choose("edit", [
                {"label": kind.action, "value": name} for name, kind in STRONG_EDITS.items()
            ]), "edit"),
            field("Strength", dcc.Slider(
                0, 1.5, value=1, id="strength", updatemode="mouseup", marks=None,
                tooltip={"placement": "bottom", "always_visible": False},
            ), "strength"),
        ]),
        html.P(className="small", children=[
            html.Span(id="edit-does"), html.Span(id="strength-unit"),
        ]),
    ])  # fmt: skip


def result_card() -> html.Section:
    """What the edit does, said and in numbers."""
    return html.Section(className="card result-card", **aria("What it does"), children=[
        html.Div(className="card-head", children=[
            html.H3("What it does"), info(NOTES["scopes"], "scopes"),
            group("Look closely at", "focus", {k: v[0] for k, v in SCOPES.items()}),
        ]),
        html.P(id="poke-said", className="told", role="status"),
        html.Div(id="scopes", className="scopes"),
    ])  # fmt: skip


def move() -> list[Any]:
    """Both prompts side by side: a cell of one is put onto another."""
    prompts = {"base": "Base", "source": "Source"}
    return [
        intro("move"),
        html.Div(className="controls move-controls", children=[
            group("Take from", "giver", prompts),
            field("Take at depth", choose("from-depth", []), "from-depth"),
            field("Take token", choose("from-position", []), "from-position"),
            html.Span("→", className="arrow"),
            group("Put into", "taker", prompts),
            field("Put at depth", choose("into-depth", []), "into-depth"),
            field("Put at token", choose("into-position", []), "into-position"),
            group("What of it", "carried", {"full": "Whole state", "direction": "Direction only"}),
        ]),
        html.P(id="move-hint", className="hint", role="status"),
        html.Section(className="move-result", **aria("What it says then"), children=[
            html.P(id="move-said", role="status"), html.Div(id="move-remarks"),
        ]),
        html.Div(className="halves", children=[card("base-map"), card("source-map")]),
        html.Div(className="halves", children=[
            html.Section(className="card result-card", **aria("What it does"), children=[
                html.Div(className="card-head", children=[html.H3("What it does, in numbers")]),
                html.Div(id="move-table", className="scopes"),
            ]),
            card("moved"),
        ]),
    ]  # fmt: skip


def sweep() -> list[Any]:
    """A whole sweep in the background."""
    return [
        intro("sweep"),
        html.Div(className="controls", children=[
            group("What", "sweep", {
                "patch": "Patch", "ablate": "Direction / norm", "steer": "Steer",
            }),
            group("On", "on", {"task": "Pairs of the task", "pair": "This pair alone"}),
            field("Pairs", choose("pairs", numbered(PAIRS)),
                  "pairs"),
            html.Button("Run the sweep", id="run", className="button primary"),
        ]),
        html.Div(id="sweep-said", className="said"),
        html.Div(className="halves", children=[card(name) for name in CARDS["sweep"]]),
    ]  # fmt: skip


def circuit() -> list[Any]:
    """Heads and MLPs."""
    return [
        intro("circuit"),
        html.Div(className="controls", children=[
            field("Block", choose("layer", []), "layer"),
            field("Head", choose("looked", []), "looked"),
            html.Button("Pin this head", id="pin", className="button"),
            html.Button("Pin this MLP", id="pin-mlp", className="button"),
            field("Pinned set", choose("components", [], multi=True,
                                       placeholder="Pin heads and MLPs …"), "components"),
        ]),
        html.Div(className="halves", children=[card(name) for name in CARDS["circuit"]]),
        html.Div(className="row-head", children=[html.H3("As a graph")]),
        html.Div(className="controls", children=[
            html.Button("Draw the graph", id="draw-graph", className="button primary"),
            group("Effects", "paths", {"total": "Total", "direct": "Direct"}),
            field("Nodes kept", dcc.Slider(
                1, MOST_NODES, step=1, value=MOST_NODES, id="kept", updatemode="mouseup",
                marks={n: str(n) for n in (1, MOST_NODES)},
                tooltip={"placement": "bottom", "always_visible": False},
            ), "kept"),
            field("Edge from", choose("upstream", [], clearable=True, placeholder="a node"),
                  "upstream"),
            field("to", choose("downstream", [], clearable=True, placeholder="a later node"),
                  "downstream"),
            html.Button("Graph as JSON", id="graph-json", className="button",
                        title="For the graph viewers of circuit-tracer and Neuronpedia"),
        ]),
        html.Div(className="halves", children=[card(name) for name in CARDS["graph"]]),
    ]  # fmt: skip


def write() -> list[Any]:
    """The model at writing, with an edit held on or without."""
    return [
        intro("write"),
        html.Div(className="controls", children=[
            field("Tokens", choose("length", numbered(LENGTHS)), "length"),
            group("Poke's edit held on", "held", {
                "none": "No", "prompt": "At its tokens", "onward": "And at what is written",
            }),
            html.Button("Let it write", id="let-write", className="button primary"),
        ]),
        html.P(id="held-edit", className="small"),
        html.Div(id="write-said", className="said"),
        html.Div(className="halves", children=[card(name) for name in CARDS["write"]]),
    ]  # fmt: skip


def pairs() -> list[Any]:
    """A table of all pairs."""
    return [
        intro("pairs"),
        html.Div(className="controls", children=[
            field("Pairs", choose("rows", numbered(PAIRS)), "rows"),
            html.Button("Measure the pairs", id="list-pairs", className="button primary"),
            group("Show", "only", {"all": "All", "right": "Right", "wrong": "Wrong"}),
            field("Find", dcc.Input(id="find", debounce=True, maxLength=LONGEST_PROMPT,
                                    autoComplete="off", spellCheck="false"), "find"),
            html.Button("Farthest from the median first", id="farthest", className="button"),
        ]),
        html.Div(id="pairs-said", className="said"),
        html.Div(id="pair-rows", className="pair-rows", tabIndex="0", role="region",
                 **aria("Table of pairs")),
        html.Div(className="halves", children=[card(name) for name in CARDS["pairs"]]),
    ]  # fmt: skip


def numbered(values: tuple[int, ...]) -> list[Any]:
    """A menu of numbers."""
    return [{"label": str(n), "value": n} for n in values]


def compare(offers: Offers) -> list[Any]:
    """Two prompts or two models."""
    return [
        intro("compare"),
        html.Div(className="controls", children=[
            group("With", "against", {"prompt": "Another prompt", "model": "Another model"}),
            html.Div(id="other-prompt-field", className="grow", children=field(
                "Second prompt",
                dcc.Input(id="other-prompt", debounce=True, maxLength=LONGEST_PROMPT,
                          autoComplete="off", spellCheck="false"),
                "other-prompt",
            )),
            html.Div(id="other-model-field", children=field(
                "Second model", choose("other-model", list(offers.models)), "other-model",
            )),
        ]),
        card("both"),
        html.Div(className="halves", children=[card("first"), card("second")]),
    ]  # fmt: skip
