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
    giver: TokenBatch | None,
    at: list[int] | None,
    caller: str,
) -> tuple[
    Float[Tensor, "depth d_model"] | None,
    Float[Tensor, "hook place d_hook"] | None,
    list[int],
]:
    """The source run's last token at every residual depth; what goes in at each hook and place; and
    the tokens that it comes from.

    None where there is no source, or where the edit needs nothing of a run.

    Args:
        giver: the prompt whose run gives the states.
        at: its tokens that go to the places, in order; None: those that correspond.
    Raises:
        ValueError: the edit needs a source, or a token has no counterpart in it.
    """
    if kind.needs != "source":
        if given is None:
            return None, None, []
        return model.residual_stream(given).resid[:, 0, 0], None, []
    if giver is None:
        raise ValueError(f"{caller}: the edit {edit!r} needs a source prompt, got None.")
    if at is None:
        at = _counterparts(model, batch, giver, places, caller)
    resid = model.residual_stream(giver, torch.tensor([[*at, int(giver.last[0])]])).resid[:, 0]
    end = resid[:, -1]
    if giver is not given:
        end = None if given is None else model.residual_stream(given).resid[:, 0, 0]
    if stream == "resid_pre":
        return end, resid[list(hooks), :-1], at
    return end, model.activations(giver, list(hooks.values()), torch.tensor([at]))[:, 0], at


def _counterparts(
    model: DepthModel, batch: TokenBatch, giver: TokenBatch, places: list[int], caller: str
) -> list[int]:
    """The giving prompt's tokens that correspond to places in the base."""
    mapped = map_positions(batch.row(0), giver.row(0), places)
    at = [place for place in mapped if place is not None]
    if len(at) < len(mapped):
        lost = places[mapped.index(None)]
        text = model.token_text(int(batch.tokens[0, lost]))
        raise ValueError(
            f"{caller}: token {lost} of the base prompt ({text!r}) has no counterpart in the "
            f"source prompt: where the two differ, the base has another number of tokens than "
            f"the source. Choose a token before or after that part, or the last one of it."
        )
    return at


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
