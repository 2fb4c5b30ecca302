"""Where control rests in a gap: one more sweep, over the tokens between input and prediction."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.sweep.roles import Mode
from lensdepth.sweep.spans import SpanTokens
from lensdepth.tasks.task import Task
from lensdepth.telling.numbers import counted
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.handover import HELD

TOGETHER = "all tokens between, together"


@checked
@bounded
def find_holder(
    model: DepthModel,
    task: Task,
    crossing: Crossing,
    *,
    mode: Mode = "denoise",
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> Crossing:
    """Look where control rests in a gap, between its two positions.

    Patches every token between the input and the prediction position, counted from the input and
    from the end, at the measured depths of the gap; and all of them together. What comes before
    the input position cannot know of it.

    Args:
        model: the model that the crossing was found on.
        task: its pairs, with an input position.
        crossing: of patching. Whatever is no gap is given back as it is.
        mode: as in the sweep that it was found in.
        seed: as there.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: see `lensdepth.replay.replay`.
    Returns:
        The crossing with `held_by` and `held_by_share`, the most success that patching one of
        them has within the gap. Where that is below a half, `held_by` is "" and control rests on
        several tokens or on none.
    Raises:
        ValueError: the task has no input position.
    """
    if crossing.verdict != "gap":
        return crossing
    if task.input_positions is None or task.corrupted_input_positions is None:
        raise ValueError("find_holder: the task has no input position; add the column input.")
    inside = [
        int(depth)
        for depth in crossing.depths.tolist()
        if crossing.leaves <= depth <= crossing.arrives
    ]
    spans = _between(task)
    if not inside or not spans:
        return crossing
    found = patch_sweep(
        model, task, depths=inside, positions=spans, also=("success",), controls=(), mode=mode,
        seed=seed, batch_size=batch_size, max_memory=max_memory,
    )  # fmt: skip
    mean = np.nanmean(found.of("success").double().numpy(), axis=0)
    share = mean.max(0)
    alone = [i for i, name in enumerate(found.positions) if name != TOGETHER]
    best = max(alone, key=lambda i: share[i]) if alone else 0
    if share[best] < HELD and TOGETHER in found.positions:
        best = found.positions.index(TOGETHER)
    held = float(share[best])
    place = found.positions[best]
    return replace(
        crossing,
        held_by=_named(model, task, place, spans[place][0]) if held >= HELD else "",
        held_by_share=held,
    )


def _between(task: Task) -> dict[str, SpanTokens]:
    """Spans of the clean and the corrupted prompts, -1 where a prompt has no such token."""
    assert task.input_positions is not None
    assert task.corrupted_input_positions is not None
    assert task.corrupted_prediction_positions is not None
    starts = task.input_positions, task.corrupted_input_positions
    ends = task.prediction_positions, task.corrupted_prediction_positions
    longest = int(max((end - start).max() for start, end in zip(starts, ends, strict=True))) - 1
    spans: dict[str, SpanTokens] = {}
    ragged = len({int(n) for s, e in zip(starts, ends, strict=True) for n in e - s}) > 1
    for k in range(1, longest + 1):
        after = [start + k for start in starts]
        before = [end - k for end in ends]
        spans[f"{counted(k, 'token')} after the input"] = _kept(after, starts, ends)
        if ragged:
            spans[f"{counted(k, 'token')} before the last"] = _kept(before, starts, ends)
    if longest > 1:
        columns = torch.arange(1, longest + 1)
        every = [start[:, None] + columns for start in starts]
        spans[TOGETHER] = _kept(every, starts, ends)
    return spans


def _kept(
    places: list[Tensor], starts: tuple[Tensor, Tensor], ends: tuple[Tensor, Tensor]
) -> SpanTokens:
    """Places that lie between in both prompts of a pair, else -1 in both."""
    wide = [p[:, None] if p.ndim == 1 else p for p in places]
    inside = torch.ones_like(wide[0], dtype=torch.bool)
    for place, start, end in zip(wide, starts, ends, strict=True):
        inside &= (place > start[:, None]) & (place < end[:, None])
    clean, corrupted = (place.masked_fill(~inside, -1) for place in wide)
    return clean, corrupted


def _named(model: DepthModel, task: Task, place: str, clean: Tensor) -> str:
    """A place, with the token that stands there where it is the same in all pairs."""
    if place == TOGETHER:
        return place
    rows, column = torch.arange(len(clean)), clean[:, 0]
    there = task.clean_tokens.tokens.cpu()[rows, column.clamp(min=0)][column >= 0].unique()
    if len(there) > 1:
        return f"the token {place}"
    return f"the token {model.token_text(int(there))!r}, {place}"
