"""`captured_geometry`: the geometry of a capture, without its model."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.captures.opened import Capture
from lensdepth.geometry.context import context_distances
from lensdepth.geometry.measure import check_options, draw_sample, profile_of
from lensdepth.geometry.profile import GeometryProfile
from lensdepth.geometry.reading import NUMBERS_AT_ONCE, Gathered, Reading, curvature
from lensdepth.prompts import origin_of

CALLER = "captured_geometry"


@checked
def captured_geometry(
    capture: Capture,
    *,
    include_first: bool = False,
    sample: int = 160,
    n_resamples: int = 200,
    n_permutations: int | None = None,
    seed: int = 0,
) -> GeometryProfile:
    """What `geometry_profile` measures, of states that were captured with the model's readout.

    The last kept position of each prompt is measured. The same numbers as with the model: what
    blocks write is not there, and curvature is NaN unless every token of the prompts was kept.

    Args:
        capture: of clean prompts at all depths, with its readout.
        include_first: see `geometry_profile`.
        sample: likewise, as all that follow.
        n_resamples: halves of the sample behind each interval.
        n_permutations: of the Mantel tests.
        seed: of the sample, the halves and the permutations.
    Raises:
        ValueError: depths or the readout were not kept, an option below its least value, fewer
            than three different prompts, or states of position 0.
    Example:
        >>> captured_geometry(ResidualStream.open("states")).angle_js
    """
    check_options(
        caller=CALLER, sample=sample, n_resamples=n_resamples, n_permutations=n_permutations
    )
    capture.check_whole(CALLER)
    readout = capture.ending.readout  # refused before anything is read
    task = capture.task if capture.side == "clean" else None
    texts, batch = list(capture.prompts), capture.tokens
    column = (capture.positions >= 0).sum(1) - 1
    position = capture.positions[torch.arange(len(capture)), column]
    if not include_first and (position == 0).any():
        first = int((position == 0).nonzero()[0, 0])
        raise ValueError(
            f"{CALLER}: prompt {first} was kept at position 0, an attention sink; capture later "
            f"tokens or pass include_first=True."
        )
    chosen = draw_sample(batch, position, sample, seed, caller=CALLER)
    gathered = Gathered(chosen)
    for rows in _rows_at_once(capture):
        _add(gathered, capture, rows, column[rows], include_first=include_first)
    reading: Reading = gathered.reading(readout)
    return profile_of(
        CALLER,
        reading,
        origin_of(task, texts),
        task,
        context_distances(capture.token_text, task, batch, chosen.numpy()),
        info=capture.info,
        n_resamples=n_resamples,
        n_permutations=n_permutations,
        seed=seed,
        settings={"include_first": include_first},
    )


def _rows_at_once(capture: Capture) -> list[Int[Tensor, " row"]]:
    """Prompts whose states fit, never of two shards, which would each be read twice."""
    width = (capture.info.n_layers + 1) * capture.positions.shape[1] * capture.info.d_model
    size = max(1, NUMBERS_AT_ONCE // width)
    every = torch.arange(len(capture))
    return [rows for part in capture.parts() for rows in every[part].split(size)]


def _add(
    gathered: Gathered,
    capture: Capture,
    rows: Int[Tensor, " row"],
    column: Int[Tensor, " row"],
    *,
    include_first: bool,
) -> None:
    every: Float[Tensor, "depth row pos d_model"] = capture.read(prompts=rows.tolist())
    states = every[:, torch.arange(len(rows)), column]
    positions, lengths = capture.positions[rows], capture.tokens.lengths[rows]
    bent = torch.full(states.shape[:2], torch.nan, dtype=torch.float32)
    whole = (positions >= 0).sum(1) == lengths
    if whole.any():
        there = positions[whole] >= (0 if include_first else 1)
        bent[:, whole] = curvature(every[:, whole], there)
    gathered.add(rows, states, {"curvature": bent})
