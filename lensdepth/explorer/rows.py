"""A written text, and the table of pairs, as the page sets them out."""

from typing import TYPE_CHECKING, Any

from dash import html

from lensdepth.continuation.profile import GenerationProfile
from lensdepth.continuation.told import run_name
from lensdepth.explorer.notes import COLUMNS
from lensdepth.explorer.panels import numbers
from lensdepth.explorer.state import Screen
from lensdepth.pairs import PairTable
from lensdepth.pairs.table import ORDERS
from lensdepth.sweep.told import column_floors

if TYPE_CHECKING:
    import pandas as pd


def written_texts(found: GenerationProfile) -> html.Div:
    """The base's text beside the edited one, with the first difference marked."""
    first = found.first_difference
    return html.Div(
        className="written-texts",
        children=[
            html.Div(
                className="written",
                children=[
                    html.H4(run_name(found, run).capitalize()),
                    html.P([
                        html.Span(found.provenance.prompts[0], className="small"),
                        *_marked(found.pieces[i], first),
                    ]),
                ],
            )
            for i, run in enumerate(found.runs[:2])
        ],
    )  # fmt: skip


def _marked(pieces: tuple[str, ...], first: int | None) -> list[Any]:
    """A run's text, with the first token marked that differs."""
    if first is None or first >= len(pieces):
        return ["".join(pieces)]
    before, after = "".join(pieces[:first]), "".join(pieces[first + 1 :])
    return [before, html.Mark(pieces[first]), after]


def pair_rows(frame: "pd.DataFrame", found: PairTable, screen: Screen) -> dict[str, Any]:
    """The table of pairs as texts, with what its heads sort by and what a row opens."""
    texts = frame[list(COLUMNS)].assign(right=["yes" if one else "no" for one in frame["right"]])
    told = numbers(texts, column_floors(found), most=len(frame))
    columns = [
        {"name": COLUMNS[name], "key": name, "sorts": name in ORDERS} for name in told["head"]
    ]
    return {
        "columns": columns,
        "rows": told["rows"],
        "pairs": [int(pair) for pair in frame["pair"]],
        "order": screen.order,
        "descending": screen.descending,
        "note": f"{len(frame):,} of {len(found.corrupted):,} pairs; click one to read it.",
    }
