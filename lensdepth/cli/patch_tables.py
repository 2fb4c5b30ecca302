"""Maps of patched sites in a terminal, and what their largest effects are made of."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from lensdepth.cli.tables import Parts, depth_tables, fitted, of_row, token_cell, with_interval
from lensdepth.telling.fractions import FRACTIONS, fraction_name
from lensdepth.telling.names import has_blocks, metric_words, position_name
from lensdepth.telling.numbers import Interval

if TYPE_CHECKING:
    from torch import Tensor

    from lensdepth.patching import PatchProfile

MOST_COLUMNS = 12
"""Positions or heads that are shown side by side; of more, the largest effects are listed."""
DIFFERS = "differs"
"""In place of a token where the prompts have different ones."""
MOST_BESIDE = 5
"""Largest effects that are listed below such a map."""


def patch_map(profile: "PatchProfile") -> Parts:
    """Mean effect by depth and position (or head), or the largest effects where that is wide."""
    floor = profile.outcome.floor_of(profile.metric)
    if not profile.heads and len(profile.positions) <= MOST_COLUMNS:
        mean = profile.effects.nanmean(0)
        columns = {
            f"{token_cell(label)}\n{name}" if label != name else position_name(name): [
                str(_alone(x, floor)) for x in mean[:, i].tolist()
            ]
            for i, (name, label) in enumerate(zip(profile.positions, profile.labels, strict=True))
        }
        depths = (profile.depths + has_blocks(profile.stream)).tolist()
        grid = depth_tables(depths, profile.n_layers, columns)
        return [*grid, "", *largest_effects(profile, MOST_BESIDE)]
    return largest_effects(profile, MOST_COLUMNS)


def largest_effects(profile: "PatchProfile", most: int) -> Parts:
    """The sites of the largest mean effects, and what of the transferred fraction is what."""
    frame, outcome = profile.mean_frame(), profile.outcome
    by = "layer" if has_blocks(profile.stream) else "depth"
    main = outcome.at(control="none")
    beside: dict[str, Tensor] = {}
    if outcome.has_gains:
        beside = {
            fraction_name(name, outcome.intended): main.effect(name).nanmean(0)
            for name in FRACTIONS
        }
    table = Table(box=None, pad_edge=False)
    names = [by, "position", "token", *(["head"] if profile.heads else [])]
    scale = metric_words(profile.metric).scale
    names.append(f"mean effect, {scale}" if scale else "mean effect")
    for name in (*names, *beside):
        table.add_column(Text(name), justify="right", no_wrap=True)
    # Rows of the frame are sites in their order.
    order = frame.effect.abs().sort_values(ascending=False, kind="stable").index[:most]
    for at, row in zip(order, frame.loc[order].to_dict("records"), strict=True):
        # Where the prompts differ, the name of the position stands in place of a token.
        token = DIFFERS if row["token"] == row["position"] else token_cell(row["token"])
        cells = [str(row[by]), row["position"], token]
        cells += [str(row["head"])] if profile.heads else []
        shares = [
            str(_alone(float(values.flatten()[at]), outcome.floor_of(name)))
            for name, values in zip(FRACTIONS, beside.values(), strict=False)
        ]
        table.add_row(
            *cells, with_interval(of_row(row, "effect", outcome.floor_of(profile.metric))), *shares
        )
    said = f"The {len(order)} largest of {len(frame)} mean effects; --out writes all."
    return [*fitted(table, keys=len(names) - 1), "", said]


def _alone(value: float, floor: float) -> Interval:
    """A number without an interval."""
    return Interval(value=value, low=float("nan"), high=float("nan"), floor=floor)
