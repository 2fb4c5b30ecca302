"""Of the page what one takes along: the note on a screen, and the history with its downloads."""

from typing import Any

from dash import dcc, html

from lensdepth.explorer.parts import aria, intro
from lensdepth.explorer.state import LONGEST_NOTE


def note() -> html.Details:
    """A note on what is on the screen, which its summary shows while it is closed."""
    return html.Details(id="note-part", className="note", children=[
        html.Summary([html.Span("Note"), html.Span(id="note-start", className="note-start")]),
        html.Div(className="note-text", children=[
            html.Label("A note on what is on the screen", htmlFor="note-text"),
            dcc.Textarea(id="note-text", maxLength=LONGEST_NOTE, rows=5, spellCheck=True),
            html.P("Plain text. It stays in the link, in this tab's history, in scripts, notebooks "
                   "and tables, and with what it is about: another question has its own.",
                   className="small"),
        ]),
        dcc.Input(id="note", type="hidden"),
    ])  # fmt: skip


def keep() -> list[Any]:
    """History and downloads."""
    return [
        intro("keep"),
        html.Div(className="halves", children=[
            html.Div(className="card", children=[
                html.H3("Experiments in this tab"),
                html.P("Newest first. Click one to open it again; Undo and Redo step through "
                       "them, and so do your browser's Back and Forward.", className="small"),
                html.Ol(id="history-list", className="history"),
                html.Div(id="session-said", role="status"),
                html.Div(className="card-foot", children=[
                    html.Span("All of them", className="foot-label"),
                    html.Button("Script", id="session-script", className="button",
                                **aria("All of them as one script")),
                    html.Button("Notebook", id="session-notebook", className="button",
                                **aria("All of them as one notebook")),
                    html.Button("History as CSV", id="history-csv", className="button"),
                    html.Button("Forget them", id="history-clear", className="button"),
                ]),
            ]),
            html.Div(className="card", children=[
                html.H3("Taking it with you"),
                html.Ul(className="plain", children=[
                    html.Li([html.B("Link. "), "“Copy link” holds the whole state: model, prompts, "
                             "site, edit. Opened with the same explorer it shows the same page."]),
                    html.Li([html.B("Script and notebook. "), "The very calls of the public "
                             "functions that made what is on the screen. They print the same "
                             "numbers and write the same figures."]),
                    html.Li([html.B("All of them as one. "), "Under the experiments: every "
                             "question of this tab, once, in order, each with its note, as one "
                             "script or notebook. What was never found is left out, and said."]),
                    html.Li([html.B("Figures. "), "SVG or PNG under each figure."]),
                    html.Li([html.B("Tables. "), "CSV or Parquet under each figure."]),
                ]),
                html.P("Link, script and notebook above are of the view that you looked at last.",
                       className="small"),
            ]),
        ]),
    ]  # fmt: skip
