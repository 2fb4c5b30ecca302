"""What goes into an edit of one prompt: states of a source prompt, or means over others."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from lensdepth import polar
from lensdepth.edits import NamedEdit
from lensdepth.intervention.places import map_positions
from lensdepth.model import DepthModel
from lensdepth.tokens import TokenBatch


def source_states(
    model: DepthModel,
    batch: TokenBatch,
    given: TokenBatch | None,
    kind: NamedEdit,
    edit: str,
    stream: str,
    hooks: dict[int, str],
    places: list[int],
    *,
    caller: str,
) -> tuple[Float[Tensor, "depth d_model"] | None, Float[Tensor, "hook place d_hook"] | None]:
    """The source run's last token at every residual depth; and what goes in at each hook and place.

    None where there is no source, or where the edit needs nothing of it.

    Raises:
        ValueError: the edit needs a source, or a token has no counterpart in it.
    """
    if given is None:
        if kind.needs == "source":
            raise ValueError(f"{caller}: the edit {edit!r} needs a source prompt, got None.")
        return None, None
    last = int(given.last[0])
    if kind.needs != "source":
        return model.residual_stream(given).resid[:, 0, 0], None
    mapped = map_positions(batch.row(0), given.row(0), places)
    at = [place for place in mapped if place is not None]
    if len(at) < len(mapped):
        lost = places[mapped.index(None)]
        text = model.token_text(int(batch.tokens[0, lost]))
        raise ValueError(
            f"{caller}: token {lost} of the base prompt ({text!r}) has no counterpart in the "
            f"source prompt: where the two differ, the base has another number of tokens than "
            f"the source. Choose a token before or after that part, or the last one of it."
        )
    resid = model.residual_stream(given, torch.tensor([[*at, last]])).resid[:, 0]
    if stream == "resid_pre":
        return resid[:, -1], resid[list(hooks), :-1]
    return resid[:, -1], model.activations(given, list(hooks.values()), torch.tensor([at]))[:, 0]


def mean_states(
    model: DepthModel,
    batch: TokenBatch,
    others: TokenBatch | None,
    hooks: list[str],
    places: list[int],
    *,
    caller: str,
) -> Float[Tensor, "hook place d_hook"]:
    """Mean direction at the mean norm, over the reference prompts in which a token corresponds.

    Raises:
        ValueError: there are none, or a token has no counterpart in any.
    """
    if others is None:
        raise ValueError(f"{caller}: the edit 'mean' needs reference prompts, got None.")
    mapped = [map_positions(batch.row(0), others.row(i), places) for i in range(len(others))]
    means = []
    for j, place in enumerate(places):
        found_in = {i: at[j] for i, at in enumerate(mapped) if at[j] is not None}
        rows = torch.tensor(list(found_in), dtype=torch.long)
        if not len(rows):
            text = model.token_text(int(batch.tokens[0, place]))
            raise ValueError(
                f"{caller}: token {place} of the base prompt ({text!r}) has no counterpart in any "
                f"of the {len(others)} reference prompts; choose another token or other prompts."
            )
        at = torch.tensor(list(found_in.values()))[:, None]
        found = model.activations(others[rows], hooks, at)[:, :, 0]
        found = rearrange(found, "hook prompt d -> prompt hook d")
        length = polar.norm(found).mean(0)
        means.append(polar.recombine(length, polar.spherical_mean(found)))
    return torch.stack(means, dim=1)
