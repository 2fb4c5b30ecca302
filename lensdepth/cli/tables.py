"""Results as tables in a terminal: by depth, coloured, no wider than it is.

Tokens go in as plain text, never as markup, with a sign for what would not show.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from lensdepth import stats
from lensdepth.cli.inventory import CHECKED
from lensdepth.outside import visible
from lensdepth.tokens import told_apart

if TYPE_CHECKING:
    from lensdepth.ablation import AblationProfile, DecodingProfile, DoseProfile
    from lensdepth.circuit import AttributionProfile, CircuitResult
    from lensdepth.geometry import GeometryProfile
    from lensdepth.lens import LensProfile
    from lensdepth.patching import PatchProfile
    from lensdepth.report import Report
    from lensdepth.steering import SteeringProfile

PIPE_WIDTH = 200
"""Columns where standard output is no terminal: nothing needs to be cut."""
GAP = 2
"""Columns between two columns of a table."""
CELL = 12
"""Most columns that one token takes in a grid."""
PALE, DARK = (247, 251, 255), (8, 69, 148)
"""Ends of the scale on which probabilities are coloured."""
Interval = tuple[np.ndarray, np.ndarray, np.ndarray]
Parts = list[Table | Text | str]
"""What is printed one below the other."""


def stdout_console() -> Console:
    """Where results are printed; colours only on a terminal, and none with NO_COLOR."""
    return Console(
        width=None if sys.stdout.isatty() else PIPE_WIDTH,
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
        console.print(part)


def depth_name(depth: int, n_layers: int) -> str:
    """What the residual state at a depth is: `embed`, or the block whose output it is."""
    if depth == 0:
        return "embed"
    return f"{depth - 1} = final" if depth == n_layers else str(depth - 1)


def token_cell(text: str, *, limit: int = CELL) -> str:
    """A token that can be told from its neighbours: `·` for a space in front, a sign for nothing.

    Spaces inside or behind stay as they are.
    """
    shown = visible(text)
    if not shown.strip():
        shown = "·" * len(shown) or "∅"
    elif shown.startswith(" "):
        shown = "·" + shown[1:]
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


def number(value: float) -> str:
    """Two places, no minus before zero, a dash for what is not known."""
    if np.isnan(value):
        return "–"
    text = f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


def with_interval(mean: float, low: float, high: float) -> Text:
    """A number and, where there is one, its 95 % interval, dimmed."""
    text = Text(number(mean))
    if not np.isnan(low):
        text.append(f" [{number(low)}, {number(high)}]", "dim")
    return text


def depth_tables(
    depths: Sequence[int],
    n_layers: int,
    columns: Mapping[str, Sequence[str | Text]],
    *,
    justify: Literal["left", "right"] = "right",
) -> Parts:
    """One row a depth, from the embedding down; as many tables as the terminal's width needs.

    Columns that do not fit go into a further table, so that nothing is cut or left out.
    """
    room = stdout_console().width - cell_len(f"depth  {depth_name(n_layers, n_layers)}")
    groups: list[list[str]] = []
    used = room
    for name, cells in columns.items():
        width = max(cell_len(line) for text in (name, *cells) for line in str(text).split("\n"))
        if not groups or used + GAP + width > room:
            groups.append([])
            used = 0
        groups[-1].append(name)
        used += GAP + width
    tables: Parts = []
    for names in groups:
        table = Table(box=None, pad_edge=False)
        table.add_column("depth", justify="right", no_wrap=True)
        table.add_column("block", style="dim", no_wrap=True)
        for name in names:
            table.add_column(Text(name), justify=justify, no_wrap=True)
        for i, depth in enumerate(depths):
            table.add_row(
                str(depth), depth_name(depth, n_layers), *(columns[name][i] for name in names)
            )
        tables += ["", table] if tables else [table]
    return tables


def interval_tables(depths: Sequence[int], n_layers: int, curves: dict[str, Interval]) -> Parts:
    """Curves by depth with their intervals."""
    columns = {
        name: [with_interval(*row) for row in zip(*(part.tolist() for part in curve), strict=True)]
        for name, curve in curves.items()
    }
    return depth_tables(depths, n_layers, columns)


def curve(values: torch.Tensor) -> Interval:
    """Mean over units `[unit, depth]` with its interval."""
    return stats.bootstrap_mean(values.numpy())


def lens_table(profile: "LensProfile", *, top: int) -> Parts:
    """What one prompt's last read position says at each depth."""
    columns: dict[str, Sequence[str | Text]] = {}
    for rank in range(top):
        probs = profile.top_log_probs[:, 0, -1, rank].exp().tolist()
        tokens = [profile.text(token) for token in profile.top_tokens[:, 0, -1, rank].tolist()]
        columns[f"top {rank + 1}"] = shaded(tokens, probs, [f"{prob:.2f} " for prob in probs])
    columns["KL to final"] = [number(x) for x in profile.kl[:, 0, -1].tolist()]
    columns["entropy"] = [number(x) for x in profile.entropy[:, 0, -1].tolist()]
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
    return f"The model predicts {token} ({prob:.0%}), the lens's first choice {where}."


def lens_means(profile: "LensProfile") -> Parts:
    """Means over prompts by depth."""
    curves = {
        "KL to final": profile.kl,
        "entropy": profile.entropy,
        "top-1 agreement": profile.top1_agreement,
    }
    if profile.target_log_prob is not None:
        curves["log p(target)"] = profile.target_log_prob
    return interval_tables(
        range(profile.n_layers + 1),
        profile.n_layers,
        {name: curve(profile.mean_by_depth(values)) for name, values in curves.items()},
    )


def patch_table(profile: "PatchProfile") -> Parts:
    """Efficacy by depth at each position, and its control."""
    curves = {f"at {name}": curve(profile.efficacy(name)) for name in profile.positions}
    if profile.control_success is not None:
        for i, name in enumerate(profile.positions):
            mean = profile.control_success[:, :, i].nanmean(0).numpy()
            unknown = np.full(len(mean), np.nan)
            curves[f"shuffled, {name}"] = (mean, unknown, unknown)
    return interval_tables(profile.depths.tolist(), profile.n_layers, curves)


MOST_COLUMNS = 12
"""Positions or heads that are shown side by side; of more, the largest effects are listed."""


def patch_map(profile: "PatchProfile") -> Parts:
    """Mean effect by depth and position (or head), or the largest effects where that is wide."""
    frame = profile.mean_frame()
    by = "depth" if profile.stream == "resid_pre" else "layer"
    if not profile.heads and len(profile.positions) <= MOST_COLUMNS:
        mean = profile.effects.nanmean(0)
        columns = {
            f"{token_cell(label)}\n{name}" if label != name else name: [
                number(x) for x in mean[:, i].tolist()
            ]
            for i, (name, label) in enumerate(zip(profile.positions, profile.labels, strict=True))
        }
        at = profile.depths.tolist()
        # A block's output is the state one depth further.
        depths = at if by == "depth" else [layer + 1 for layer in at]
        return depth_tables(depths, profile.n_layers, columns)
    table = Table(box=None, pad_edge=False)
    names = [by, "position", "token", *(["head"] if profile.heads else []), "mean effect"]
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    largest = frame.reindex(frame.effect.abs().sort_values(ascending=False).index)
    for row in largest.head(MOST_COLUMNS).to_dict("records"):
        cells = [str(row[by]), row["position"], token_cell(row["token"])]
        cells += [str(row["head"])] if profile.heads else []
        table.add_row(*cells, with_interval(row["effect"], row["low"], row["high"]))
    shown = min(MOST_COLUMNS, len(frame))
    return [table, "", f"The {shown} largest of {len(frame)} mean effects; --out writes all."]


def ablation_table(profile: "AblationProfile", *, scope: str | None = None) -> Parts:
    """Transferred fraction by depth of each edit; the controls without their intervals."""
    names = {"random_direction": "random dir.", "random_full": "random state"}
    curves = {}
    for edit in profile.edits:
        mean, low, high = curve(profile.of(edit, profile.transferred, scope=scope))
        if edit in profile.controls:
            low = high = np.full(len(mean), np.nan)
        curves[names.get(edit, edit.replace("_", " "))] = (mean, low, high)
    return interval_tables(profile.depths.tolist(), profile.n_layers, curves)


def dose_table(profile: "DoseProfile") -> Parts:
    """Mean transferred fraction by depth: a column a dose."""
    names = {"direction": "turn", "random_direction": "random turn", "norm": "norm ×"}
    columns = {
        f"{names[part]}\n{dose:g}": [number(x) for x in moved.nanmean(0).tolist()]
        for part, dose, moved in zip(
            profile.parts, profile.doses.tolist(), profile.transferred, strict=True
        )
    }
    return depth_tables(profile.depths.tolist(), profile.n_layers, columns)


def decoding_table(profile: "DecodingProfile") -> Parts:
    """Score of norm and direction by depth for each label, and what permuted labels reach."""
    columns: dict[str, Sequence[str | Text]] = {}
    for label, kind in zip(profile.labels, profile.kinds, strict=True):
        unit = "R²" if kind == "number" else "acc."
        for part, name, values in (
            ("norm", f"norm, {unit}", profile.score),
            ("norm", "chance, 95%", profile.null_high),
            ("direction", f"direction, {unit}", profile.score),
        ):
            columns[f"{label}\n{name}"] = [
                number(x) for x in profile.of(label, part, values).tolist()
            ]
    return depth_tables(profile.depths.tolist(), profile.n_layers, columns)


def steering_table(profile: "SteeringProfile") -> Parts:
    """Efficacy by depth at each position: the whole difference with intervals, parts, controls."""
    curves = {}
    for position in profile.positions:
        for edit in profile.edits:
            mean, low, high = curve(profile.efficacy(position, edit=edit))
            if edit != "full":
                low = high = np.full(len(mean), np.nan)
            curves[f"{position}\n{'whole' if edit == 'full' else edit}"] = (mean, low, high)
    return interval_tables(profile.depths.tolist(), profile.n_layers, curves)


def geometry_table(profile: "GeometryProfile") -> Parts:
    """Norm, step angle, dimensions and coupling to the prediction, by depth."""
    heads = {
        "norm": "norm",
        "step_angle": "step angle",
        "effective_rank": "eff. rank",
        "two_nn": "two-NN",
        "angle_js": "angle–JS",
        "norm_js": "norm–JS",
    }
    curves = {}
    for measure, head in heads.items():
        found = profile.of(measure)
        curves[head] = (found.value.numpy(), found.low.numpy(), found.high.numpy())
    return interval_tables(range(profile.n_layers + 1), profile.n_layers, curves)


def attribution_table(profile: "AttributionProfile", most: int) -> Parts:
    """The largest parts of an answer's logit, and what all of them add up to."""
    frame = profile.mean_frame()
    table = Table(box=None, pad_edge=False)
    table.add_column("component", no_wrap=True, style="bold")
    for name in ("mean part", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    whole = float(profile.logit_diff.mean())
    for row in frame.head(most).to_dict("records"):
        # Half a percent below zero rounds to a minus before nothing.
        share = f"{row['value'] / whole:.0%}".replace("-0%", "0%") if abs(whole) > 1e-6 else "–"
        table.add_row(
            Text(row["component"]), with_interval(row["value"], row["low"], row["high"]), share
        )
    rest = float(frame["value"].iloc[most:].sum())
    what = "the mean logit" if profile.foils is None else "logit(foil)"
    answer = "logit(target)"
    if len(profile.targets) == 1:
        names = told_apart([*profile.targets, *(profile.foils or ())])
        answer = f"logit({visible(names[0])})"
        if profile.foils:
            what = f"logit({visible(names[1])})"
    said = f"{answer} − {what} is {number(whole)} nats, the sum of all {len(frame)} parts"
    return [
        table,
        "",
        f"{said}; those not shown add {number(rest)}." if len(frame) > most else f"{said}.",
    ]


def circuit_table(result: "CircuitResult") -> Parts:
    """Each kind of run with its intervals."""
    n, whole = result.n_heads + result.n_mlps, result.n_components
    names = {
        "base": "nothing (base run)",
        "circuit": f"the circuit ({n})",
        "random": f"{len(result.random_values)} random sets of {n}",
        "complement": f"all others ({whole - n})",
        "everything": f"everything ({whole})",
        "source": "source run",
    }
    rows = result.mean_frame().set_index("patched")
    table = Table(box=None, pad_edge=False)
    table.add_column("patched", no_wrap=True, style="bold")
    heads = {"logit_diff": "logit difference", "transferred": "transferred", "success": "success"}
    for head in heads.values():
        table.add_column(head, justify="right", no_wrap=True)
    for key, name in names.items():
        if key in rows.index:
            row = rows.loc[key].astype(float).to_dict()
            cells = [with_interval(row[c], row[f"{c}_low"], row[f"{c}_high"]) for c in heads]
            table.add_row(Text(name), *cells)
    said = f"Patched in one run at the positions {', '.join(result.positions)}."
    if len(result.random_values):
        least = int((1 + len(result.random_values)) * result.random_p + 0.5) - 1
        said += f" {least} of {len(result.random_values)} random sets transfer as much."
    return [table, "", said]


def plain_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A list of things; the last column takes what width is left."""
    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(head, no_wrap=i == 0, style="bold" if i == 0 else None)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def report_table(report: "Report") -> Table:
    """The key numbers of a report."""
    from lensdepth import prose

    numbers = prose.key_numbers(
        n_layers=report.lens.n_layers,
        transition=report.transition,
        crossing=report.crossing,
        steering=report.steering_crossing,
        ablation=report.ablation,
        geometry=report.geometry,
    )
    return plain_table(
        ("finding", "value", "detail"),
        [(number.label, number.value, number.detail) for number in numbers],
    )


def model_list(
    bundled: Sequence[dict[str, Any]], supported: dict[str, list[str]], versions: dict[str, str]
) -> Parts:
    """Bundled models, checked architectures, and how to name any other model."""
    names = {value: key for key, value in CHECKED.items()}
    models = plain_table(
        ("model", "layers", "parameters", "file", "what it is"),
        [
            (
                row["name"],
                str(row["n_layers"]),
                f"{row['n_parameters'] / 1e6:.2f} M",
                f"{row['bytes'] / 1e6:.1f} MB",
                row["about"],
            )
            for row in bundled
        ],
    )
    kinds = plain_table(
        ("architecture", "hooked", "bridge"),
        [
            (
                names[kind],
                "yes" if kind in supported["hooked"] else "no",
                "yes" if kind in supported["bridge"] else "no",
            )
            for kind in CHECKED.values()
        ],
    )
    return [
        Text("Bundled models", "bold"),
        models,
        "",
        Text(
            "Architectures that our tests compare with Hugging Face, on TransformerLens "
            f"{versions['transformer-lens']}",
            "bold",
        ),
        kinds,
        "",
        f"TransformerLens's bridge names {len(supported['bridge_unchecked'])} more (--json lists "
        "them). Every model is compared with Hugging Face on a short probe when it is loaded, and "
        "refused where they differ.",
        "",
        "Any other model: --model FOLDER (Hugging Face format) or --model OWNER/NAME (the hub).",
    ]


def task_list(tasks: Sequence[dict[str, Any]]) -> Parts:
    """Built-in tasks with an example and their wordings."""
    return [
        plain_table(
            ("task", "example", "templates"),
            [
                (row["name"], row["description"], ", ".join(row["templates"]) or "–")
                for row in tasks
            ],
        ),
        "",
        "Your own prompts: --prompts FILE (.jsonl, .csv, .parquet) with the columns clean, "
        "corrupted, target, foil, or prompt alone.",
    ]
