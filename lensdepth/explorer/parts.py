"""What the page is put together from: cards, fields and menus, named for whoever hears them."""

from typing import Any

from dash import dcc, html

from lensdepth.explorer.notes import NOTES, VIEWS

GRAPH: Any = {"displayModeBar": False, "scrollZoom": False, "doubleClick": "reset", "locale": "en"}
WIDE = ("components", "graph", "graph-set", "written", "written-map", "edited-map")
"""Cards that take the whole width."""
CHOSEN = ("cell", "pick")
MOVABLE = ("base-map", "source-map")
"""Cards whose cells can be dragged onto one another."""
"""Cards whose titles say what was chosen."""
TITLES = {
    "map": "Token by token, depth by depth",
    "next": "The model's next token",
    "cell": "At the chosen cell",
    "followed": "One token at every depth",
    "pick": "Where to intervene",
    "base-map": "Base prompt",
    "source-map": "Source prompt",
    "moved": "Next token before and after the move",
    "predictions": "Next token before and after",
    "trajectory": "Where the state goes",
    "patch": "Input against output",
    "patch-map": "Every token at every depth",
    "ablation": "Direction against norm",
    "made-of": "What the transferred fraction is made of",
    "steering": "Steering at the input and at the output",
    "attribution": "What each part adds to the answer",
    "heads": "Patching heads one by one",
    "attention": "Where a head looks",
    "components": "The pinned set against all the rest",
    "graph": "What passes from node to node",
    "graph-set": "The graph's nodes patched together",
    "edge": "One edge alone",
    "written": "Where each token is settled, along the text",
    "written-map": "Token by token: the base",
    "edited-map": "Token by token: with the edit held on",
    "pair-dots": "Every pair as a dot",
    "both": "Both on one axis",
    "first": "The first",
    "second": "The second",
}


def intro(view: str) -> html.Div:
    """A view's name, for those who hear the page, and its question."""
    name, question = VIEWS[view]
    return html.Div(className="intro", children=[html.H2(name), html.P(question)])


def card(name: str) -> html.Section:
    """A figure with its note, its table and its downloads."""
    note = NOTES[name]
    live: dict[str, Any] = {"aria-live": "polite"} if name in CHOSEN else {}
    buttons = [
        html.Button(
            kind.upper(),
            className="button",
            **aria(f"{TITLES[name]} as {kind}", **{"data-figure": name, "data-kind": kind}),
        )
        for kind in ("svg", "png")
    ]  # fmt: skip
    buttons += [
        html.Button(label, id={"type": "table", "name": name, "kind": kind}, className="button",
                    **aria(f"Table of {TITLES[name]} as {label}"))
        for kind, label in (("csv", "CSV"), ("parquet", "Parquet"))
    ]  # fmt: skip
    return html.Section(
        id={"type": "card", "name": name},
        className=f"card{' wide' * (name in WIDE)}{' movable' * (name in MOVABLE)}",
        hidden=True,
        **aria(TITLES[name]),
        children=[
            html.Div(className="card-head", children=[
                html.H3(TITLES[name], id={"type": "title", "name": name},
                        **live),
                info(note, TITLES[name]),
            ]),
            html.Div(id={"type": "message", "name": name}, className="message"),
            html.Div(
                id={"type": "figure-part", "name": name},
                children=[
                    html.Div(className="plot-scroll", tabIndex="0", role="group",
                             **aria(f"Figure: {TITLES[name]}"), children=dcc.Graph(
                                 id={"type": "graph", "name": name}, config=GRAPH,
                                 className="plot", responsive=True)),
                    html.Div(className="card-foot", children=[
                        html.Span("Figure", className="foot-label"), *buttons[:2],
                        html.Span("Table", className="foot-label"), *buttons[2:],
                    ]),
                    html.Details(className="numbers", children=[
                        html.Summary("Numbers"),
                        html.Div(id={"type": "numbers", "name": name}, className="scroll"),
                    ]),
                ],
            ),
            dcc.Store(id={"type": "figure", "name": name}),
            dcc.Store(id={"type": "rows", "name": name}),
        ],
    )  # fmt: skip


def info(text: str, about: str) -> html.Details:
    """A button that says what one looks at."""
    return html.Details(className="info", children=[
        html.Summary("?", title="What am I looking at?",
                     **aria(f"What am I looking at? {about}")),
        html.Div(html.P(text), className="info-text"),
    ])  # fmt: skip


def field(label: str, control: Any, for_id: str, label_id: str | None = None) -> html.Div:
    """A control under its label."""
    words = html.Span(label, id=label_id) if label_id else html.Span(label)
    return html.Div(className=f"field field-{for_id}", children=[
        html.Label(words, htmlFor=for_id), control,
    ])  # fmt: skip


def group(label: str, name: str, options: dict[str, str]) -> html.Div:
    """One of a few words."""
    return html.Div(className="field", role="group", **aria(label), children=[
        html.Span(label, className="label"),
        dcc.RadioItems(id=name, className="segments", options=[
            {"label": text, "value": value} for value, text in options.items()
        ]),
    ])  # fmt: skip


def aria(label: str, **more: Any) -> dict[str, Any]:
    """What a part is called by those who read the page aloud."""
    return {"aria-label": label, **more}


def choose(name: str, options: list[Any], **more: Any) -> dcc.Dropdown:
    """A menu."""
    return dcc.Dropdown(id=name, options=options, **{"clearable": False, **more})
