"""Results as tables in a terminal: by depth, coloured, no wider than it is.

Tokens go in as plain text, never as markup, with a sign for what would not show. Which curves a
result has, and what its numbers look like, `telling` and the rooms say.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.style import Style
from rich.table import Column, Table
from rich.text import Text

from lensdepth.outside import visible
from lensdepth.telling.curves import Curve
from lensdepth.telling.depths import fraction
from lensdepth.telling.names import part_names
from lensdepth.telling.numbers import UNKNOWN, Interval, counted, number, percent
from lensdepth.telling.tokens import signed

if TYPE_CHECKING:
    from lensdepth.circuit import AttributionProfile, CircuitGraph, CircuitResult
    from lensdepth.continuation import GenerationProfile
    from lensdepth.lens import LensProfile
    from lensdepth.report import Report

PIPE_WIDTH = 200
"""Columns where standard output is no terminal and COLUMNS is not set: nothing is cut."""
GAP = 2
"""Columns between two columns of a table."""
HEADING = 12
"""Most columns of a heading, where its words allow that."""
CELL = 12
"""Most columns that one token takes in a grid."""
PALE, DARK = (247, 251, 255), (8, 69, 148)
"""Ends of the scale on which probabilities are coloured."""
Parts = list[Table | Text | str]
"""What is printed one below the other."""
LEAST_OF_THE_WAY = 0.02
"""Share of the way between the runs from which on a graph's edge has a row."""


def stdout_console() -> Console:
    """Where results are printed: as wide as COLUMNS says or the terminal is; colours only on a
    terminal, and none with NO_COLOR."""
    said = os.environ.get("COLUMNS", "")
    columns = int(said) if said.isdecimal() and int(said) else None
    return Console(
        width=columns or (None if sys.stdout.isatty() else PIPE_WIDTH),
        highlight=False,
        markup=False,
        emoji=False,
    )


def show(*parts: Table | Text | str) -> None:
    """Print a title, then tables and sentences one below the other."""
    console = stdout_console()
    for part in parts:
        if isinstance(part, str):
            part = "\n".join(map(visible, part.split("\n")))
        for piece in fitted(part) if isinstance(part, Table) else [part]:
            console.print(piece)


def token_cell(text: str, *, limit: int = CELL) -> str:
    """A token that can be told from its neighbours, in so many columns at most."""
    shown = signed(text)
    return shown if cell_len(shown) <= limit else set_cell_size(shown, limit - 1).rstrip() + "…"


def shade(share: float) -> Style:
    """How a number from 0 to 1 looks: a background where there are colours enough, else weight."""
    if not 0 <= share <= 1:
        return Style()
    if stdout_console().color_system not in ("truecolor", "256"):
        return Style(dim=share < 0.1, bold=share > 0.5)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(PALE, DARK, strict=True))
    text = 255 if share > 0.6 else 0
    return Style.parse(f"rgb({text},{text},{text}) on rgb({red},{green},{blue})")


def shaded(texts: Sequence[str], shares: Sequence[float], notes: Sequence[str] = ()) -> list[Text]:
    """A column of tokens, each on the colour of its number, all equally wide."""
    cells = [token_cell(text) for text in texts]
    width = max(map(cell_len, cells))
    behind = notes or [""] * len(cells)
    return [
        Text(f" {set_cell_size(cell, width)} {note}", shade(share))
        for cell, share, note in zip(cells, shares, behind, strict=True)
    ]


def with_interval(found: Interval) -> Text:
    """A number and, where there is one, its 95 % interval, dimmed."""
    value, bounds = found.cells
    text = Text(value)
    if bounds:
        text.append(f" ({bounds})", "dim")
    return text


def depth_tables(
    depths: Sequence[int],
    n_layers: int,
    columns: Mapping[str, Sequence[str | Text]],
    *,
    justify: Literal["left", "right"] = "right",
) -> Parts:
    """One row a depth, from the embedding down; as many tables as the terminal's width needs."""
    table = Table(box=None, pad_edge=False)
    table.add_column("depth", justify="right", no_wrap=True)
    table.add_column("fraction", justify="right", style="dim", no_wrap=True)
    for name in columns:
        table.add_column(Text(name), justify=justify, no_wrap=True)
    for i, depth in enumerate(depths):
        cells = (column[i] for column in columns.values())
        table.add_row(str(depth), fraction(depth, n_layers), *cells)
    return fitted(table, keys=2)


def fitted(table: Table, *, keys: int = 1) -> Parts:
    """A table, or as many as the terminal's width needs, each with the first `keys` columns.

    Columns that do not fit go into a further table, so that nothing is cut or left out.
    """
    room = stdout_console().width
    widths = [_least_width(column) for column in table.columns]
    if sum(widths) + GAP * (len(widths) - 1) <= room:
        return [table]
    broken = sum(widths[:keys]) + GAP * keys + max(widths[keys:], default=0) > room
    if broken:  # what rows are called is too wide beside even one column
        widths[:keys] = [_least_width(column, wrapped=True) for column in table.columns[:keys]]
    used = room
    groups: list[list[int]] = []
    for i in range(keys, len(widths)):
        if not groups or used + GAP + widths[i] > room:
            groups.append([])
            used = sum(widths[:keys]) + GAP * (keys - 1)
        groups[-1].append(i)
        used += GAP + widths[i]
    parts: Parts = []
    for group in groups:
        part = Table(box=None, pad_edge=False)
        chosen = [table.columns[i] for i in (*range(keys), *group)]
        for i, column in enumerate(chosen):
            part.add_column(
                column.header,
                justify=column.justify,
                style=column.style,
                no_wrap=column.no_wrap and not (broken and i < keys),
                overflow="fold",
            )
        for cells in zip(*(column.cells for column in chosen), strict=True):
            part.add_row(*cells)
        parts += ["", part] if parts else [part]
    return parts


def _least_width(column: Column, *, wrapped: bool = False) -> int:
    """Columns that it takes: of its widest line, or of its longest word where it may be wrapped."""
    whole = column.no_wrap and not wrapped
    texts = [str(cell) for cell in (column.header, *column.cells)]
    parts = [part for text in texts for part in (text.split("\n") if whole else text.split())]
    return max(map(cell_len, parts), default=0)


def _stacked(heading: str) -> str:
    """A heading on several lines, so that its column need not be as wide as all of it."""
    parts = heading.split(", ")
    return "\n".join(
        line for part in parts for line in wrap(part, HEADING, break_long_words=False) or [part]
    )


def curve_tables(curves: Sequence[Curve], n_layers: int, *, bands: Sequence[str] = ()) -> Parts:
    """Curves by depth with their intervals, of controls without.

    Args:
        curves: of the same depths.
        n_layers: of the model.
        bands: keys of the curves that have their intervals; all but the controls if none is named.
    """
    columns = {}
    same_unit = len({curve.unit for curve in curves}) == 1
    for curve in curves:
        banded = curve.key in bands if bands else not curve.control
        columns[_stacked(curve.name if same_unit else curve.heading)] = [
            with_interval(found) if banded else found.cells[0] for found in curve.intervals
        ]
    return depth_tables([int(depth) for depth in curves[0].depths], n_layers, columns)


def lens_table(profile: "LensProfile", *, top: int) -> Parts:
    """What one prompt's last read position says at each depth."""
    from lensdepth.analyses import analysis

    columns: dict[str, Sequence[str | Text]] = {}
    for rank in range(top):
        probs = profile.top_log_probs[:, 0, -1, rank].exp().tolist()
        tokens = [profile.text(token) for token in profile.top_tokens[:, 0, -1, rank].tolist()]
        columns[_stacked(f"top {rank + 1}, probability")] = shaded(
            tokens, probs, [f"{number(prob)} " for prob in probs]
        )
    for curve in analysis("lens").curves(profile):
        if curve.key in ("kl", "entropy"):
            columns[_stacked(curve.heading)] = [
                number(x) for x in getattr(profile, curve.key)[:, 0, -1].tolist()
            ]
    return depth_tables(range(profile.n_layers + 1), profile.n_layers, columns)


def lens_grid(profile: "LensProfile") -> Parts:
    """Depth by token with the likeliest next token in each cell."""
    probs = profile.top_log_probs[:, 0, :, 0].exp()
    columns = {
        f" {token_cell(profile.text(token))}\n {pos}": shaded(
            [profile.text(top) for top in profile.top_tokens[:, 0, pos, 0].tolist()],
            probs[:, pos].tolist(),
        )
        for pos, token in enumerate(profile.token[0].tolist())
    }
    return depth_tables(range(profile.n_layers + 1), profile.n_layers, columns, justify="left")


def first_choice(profile: "LensProfile") -> str:
    """What one prompt's prediction is, and from which depth on the lens agrees with it."""
    agrees = profile.top1_agreement[:, 0, -1].bool().tolist()
    since = next(depth for depth in range(len(agrees)) if all(agrees[depth:]))
    token = visible(profile.text(int(profile.top_tokens[-1, 0, -1, 0])).strip()) or "a space"
    prob = profile.top_log_probs[-1, 0, -1, 0].exp().item()
    where = "at the end only" if since == profile.n_layers else f"from depth {since} on"
    return f"The model predicts {token} ({percent(prob)}), the lens's first choice {where}."


def attribution_table(profile: "AttributionProfile", most: int) -> Parts:
    """The largest parts of an answer's logit, and what all of them add up to."""
    from lensdepth.analyses import analysis

    frame = profile.mean_frame()
    table = Table(box=None, pad_edge=False)
    table.add_column("component", no_wrap=True, style="bold")
    for name in ("mean part, nats", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    whole = float(profile.logit_diff.mean())
    for row in frame.head(most).to_dict("records"):
        share = percent(row["value"] / whole) if abs(whole) > 1e-6 else UNKNOWN
        table.add_row(
            Text(row["component"]), with_interval(of_row(row, "value", profile.floor)), share
        )
    return [table, "", *analysis("attribution").sentences(profile, shown=most)]


def of_row(row: Mapping[Any, Any], name: str, floor: float = 0.0) -> Interval:
    """A row's number with its interval."""
    return Interval(value=row[name], low=row["low"], high=row["high"], floor=floor)


def circuit_table(result: "CircuitResult") -> Parts:
    """Each kind of run with its intervals."""
    from lensdepth.circuit.told import run_names, sentences

    rows = result.mean_frame().set_index("patched")
    table = Table(box=None, pad_edge=False)
    table.add_column("patched", no_wrap=True, style="bold")
    # For the intervals of all there is no room; the files have those of the parts.
    unknown = float("nan")
    parts = dict(zip(result.fractions[1:], part_names(result.outcome.intended), strict=False))
    heads = {
        "logit_diff": "logit difference", "transferred": "transferred", **parts,
        "brought": "source's answer", "success": "success",
    }  # fmt: skip
    for head in heads.values():
        table.add_column(head, justify="right", no_wrap=True)
    for key, name in run_names(result).items():
        if key in rows.index:
            row = rows.loc[key].astype(float).to_dict()
            cells = [
                with_interval(
                    Interval(
                        value=row[c],
                        low=unknown if c in parts else row[f"{c}_low"],
                        high=unknown if c in parts else row[f"{c}_high"],
                        floor=result.floor_of(c),
                    )
                )
                for c in heads
            ]
            table.add_row(Text(name), *cells)
    return [table, "", *sentences(result)]


def graph_table(graph: "CircuitGraph") -> Parts:
    """Nodes in the order in which they act, measured edges by size, and what they say."""
    from lensdepth.analyses import analysis

    nodes, edges = Table(box=None, pad_edge=False), Table(box=None, pad_edge=False)
    nodes.add_column("node", no_wrap=True, style="bold")
    for name in ("token", "effect, nats", "of the way", "direct part"):
        nodes.add_column(name, justify="left" if name == "token" else "right", no_wrap=True)
    for row in graph.nodes_frame().to_dict("records"):
        nodes.add_row(
            Text(row["node"]), Text(token_cell(row["token"], limit=20)),
            with_interval(of_row(row, "effect", graph.floor)), number(row["share"]),
            number(row["attribution"]),
        )  # fmt: skip
    edges.add_column("edge", no_wrap=True, style="bold")
    for name in ("effect, nats", "of the way", "estimate"):
        edges.add_column(name, justify="right", no_wrap=True)
    frame = graph.to_frame()
    measured = frame[frame["measured"]]
    large = measured[measured["share"].abs() >= LEAST_OF_THE_WAY]
    for row in large.to_dict("records"):
        edges.add_row(
            Text(f"{row['upstream']} → {row['downstream']}"),
            with_interval(of_row(row, "effect", graph.floor)), number(row["share"]),
            number(row["estimate"]),
        )  # fmt: skip
    small = len(measured) - len(large)
    rest = (
        f"{counted(small, 'smaller edge')}, under {number(LEAST_OF_THE_WAY)} of the way, "
        f"{'is' if small == 1 else 'are'} in --json and --out FILE.csv."
    )
    return [nodes, "", edges, *([rest] if small else []), "", *analysis("graph").sentences(graph)]


def written_table(profile: "GenerationProfile") -> Parts:
    """One row a token of the base's text, and of the edited run's beside it."""
    names = list(profile.runs[:2])
    table = Table(box=None, pad_edge=False)
    table.add_column("token", justify="right", style="bold")
    for run in names:
        table.add_column(run, no_wrap=True)
        for head in ("stands from", "p"):
            table.add_column(head, justify="right", no_wrap=True)
    patched = profile.settled_by_patching
    if patched is not None:
        table.add_column("by patching", justify="right", no_wrap=True)
    forced = {"KL, nats": profile.runs[1]} if len(names) > 1 else {}
    if profile.control is not None:
        forced["at random"] = profile.control
    for head in forced:
        table.add_column(head, justify="right", no_wrap=True)
    texts = [profile.str_tokens(run) for run in names]
    for i in range(max(map(len, texts))):
        cells: list[str | Text] = [str(i)]
        for run, written in enumerate(texts):
            if i >= len(written):
                cells += [""] * 3
                continue
            where = _depth(float(profile.settled[run, i]))
            prob = number(float(profile.log_prob[run, -1, i].exp()))
            cells += [Text(visible(signed(written[i]))), where, prob]
        if patched is not None:
            cells.append(_depth(float(patched[i])) if i < len(patched) else "")
        for run in forced.values():
            kl = float(profile.forced_kl[profile.index(run), i])
            cells.append("" if kl != kl else number(kl))
        table.add_row(*cells)
    return [table]


def _depth(at: float) -> str:
    return UNKNOWN if at != at else f"{at:.0f}"


def plain_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A list of things; the last column takes what width is left."""
    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(heads):
        bold = "bold" if i == 0 else None
        table.add_column(head, no_wrap=i == 0, style=bold, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def report_table(report: "Report") -> Table:
    """The key numbers of a report."""
    from lensdepth.report.story import headline

    return plain_table(
        ("finding", "value", "detail"),
        [(number.label, number.value, number.detail) for number in headline(report)],
    )
