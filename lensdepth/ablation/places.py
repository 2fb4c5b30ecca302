"""Where parts are replaced: spans, the coordinates of their states, and the means behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lensdepth.ablation.given import Means, reference_means
from lensdepth.ablation.parts import Reference
from lensdepth.ablation.profile import AtEnd
from lensdepth.coordinates import CoordinateName, Coordinates, coordinates_of
from lensdepth.model import DepthModel
from lensdepth.sweep.roles import Roles, assign_roles
from lensdepth.sweep.spans import PatchPositions, Span, comparable_spans, named_positions
from lensdepth.tasks.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Spot:
    """A span with the coordinates of its states, by depth, and the means behind them."""

    span: Span
    coordinates: Coordinates
    means: Means | None


def prepare_places(
    model: DepthModel,
    roles: Roles,
    spans: Sequence[Span],
    hooks: Sequence[str],
    positions: PatchPositions,
    *,
    to: Reference,
    coordinates: CoordinateName,
    reference: Task | None,
    caller: str,
) -> list[Spot]:
    """Coordinates and means at each span; nothing is run where neither is needed."""
    kind = model.info.normalization
    if to != "mean" and coordinates != "centred":
        plain = coordinates_of(coordinates, kind)
        return [Spot(span=span, coordinates=plain, means=None) for span in spans]
    givers, at = roles, list(spans)
    if reference is not None:
        named = named_positions(reference, positions)
        givers = assign_roles(reference, roles.mode, positions=named, caller=caller)
        at = comparable_spans(givers, positions, caller=caller)
        if [span.name for span in at] != [span.name for span in spans]:
            raise ValueError(
                f"{caller}: the reference set's prompts do not line up token by token with the "
                f"task's; name the positions, such as 'input' and 'prediction'."
            )
    places = []
    for span, given in zip(spans, at, strict=True):
        uncentred = coordinates_of("raw" if coordinates == "centred" else coordinates, kind)
        means = reference_means(model, givers, hooks, given, uncentred, polar_mean=to == "mean")
        center = means.state[:, None, None] if coordinates == "centred" else None
        places.append(
            Spot(span=span, coordinates=coordinates_of(coordinates, kind, center), means=means)
        )
    return places


def at_end(spans: Sequence[Span], roles: Roles) -> AtEnd:
    """Whether the last token, from which the logits are read, is what is edited there."""
    last = [(span.base == roles.base.last[:, None])[span.present].any(1) for span in spans]
    if not torch.cat(last).any():
        return "never"
    return "always" if torch.cat(last).all() else "sometimes"
