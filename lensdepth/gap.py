"""Where control rests in a gap: one more sweep of patching, over the tokens up to the last.

A gap of patching and one of steering are looked into in the same way, by whole states: what is
added to a state may fail where the state itself decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.provenance import other_than
from lensdepth.steering.labels import steered_task
from lensdepth.sweep.roles import Mode
from lensdepth.sweep.spans import SpanTokens
from lensdepth.tasks.task import Task
from lensdepth.telling.names import position_name
from lensdepth.telling.numbers import counted
from lensdepth.transition.crossing import ENDS
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.handover import HELD
from lensdepth.transition.holders import Looked, find_holders
from lensdepth.transition.told import STEERING

ALL = "all tokens before the last, together"
Patched = Callable[[dict[str, SpanTokens], Sequence[float]], Float[np.ndarray, "pair depth span"]]
"""Spans, at which depths -> success of patching them."""
MOST_TEXTS = 4
"""A place where more than so many tokens stand is named without them."""


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

    Patches the whole state of every token from the first one in which the prompts of a pair differ,
    at the measured depths of the gap: what comes before cannot know of the difference. Tokens are
    counted from the input, and from the end where pairs differ in that. Where no token, nor several
    of different pairs, hold half of the pairs, the shortest run of neighbouring ones that does is
    looked for.

    Args:
        model: the model that the crossing was found on.
        task: its pairs, with an input position.
        crossing: of patching, or of steering, which may have left pairs out. Whatever is no gap is
            given back as it is.
        mode: as in the sweep that it was found in.
        seed: as there.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: see `lensdepth.replay.replay`.
    Returns:
        The crossing with `holders`, by depth, and hence `held_by` and `held_by_share`.
    Raises:
        ValueError: the task has no input position, or the crossing is of other pairs, another
            model, another mode or of depths that the model has not.
    """
    caller = "find_holder"
    if crossing.verdict != "gap":
        return crossing
    if task.input_positions is None or task.corrupted_input_positions is None:
        raise ValueError(f"{caller}: the task has no input position; add the column input.")
    if crossing.provenance is not None and crossing.provenance.analysis == STEERING:
        task = steered_task(task, len(crossing.provenance.prompts))
    _check_origin(model, task, crossing, mode, caller)
    places = _places(task)
    inside = crossing.inside_gap

    def patched(
        spans: dict[str, SpanTokens], depths: Sequence[float]
    ) -> Float[np.ndarray, "pair depth span"]:
        found = patch_sweep(
            model, task, depths=[int(depth) for depth in depths], positions=spans,
            also=("success",), controls=(), mode=mode, seed=seed, batch_size=batch_size,
            max_memory=max_memory,
        )  # fmt: skip
        return found.of("success").double().numpy()

    tokens = np.stack([one.tokens[0][:, 0].numpy() for one in places], axis=1)
    looked = Looked(
        success=patched({one.key: one.tokens for one in places}, inside.tolist()),
        depths=inside,
        named=lambda place, pairs: _named(model, task, places[place], pairs),
        tokens=tokens,
    )
    labels = task.groupings
    found = find_holders(looked, units=crossing.units, labels=labels, seed=seed)
    nowhere = [
        depth
        for one in found
        if not one.name and not one.only
        for depth in inside.tolist()
        if one.first <= depth <= one.last
    ]
    if nowhere:
        runs = _run_of_tokens(task, places, nowhere, patched)
        looked = replace(
            looked,
            success=np.concatenate([looked.success, _spread(runs, nowhere, inside)], axis=2),
            named=lambda place, pairs: (
                _named(model, task, places[place], pairs)
                if place < len(places)
                else list(runs)[place - len(places)]
            ),
            tokens=np.concatenate([tokens, np.full((len(task), len(runs)), -2)], axis=1),
        )
        found = find_holders(looked, units=crossing.units, labels=labels, seed=seed)
    return replace(crossing, holders=found)


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedToken:
    """One token of each prompt, where both prompts of a pair have it."""

    key: str
    """Its name in the sweep; ENDS have their own."""
    words: str
    """Where it is, in words; "" of ENDS."""
    after: int | None
    """Places behind the input, negative before it; None of what is counted from the end."""
    tokens: SpanTokens
    """In the clean and the corrupted prompts; -1 in pairs that have no such token."""


def _check_origin(
    model: DepthModel, task: Task, crossing: Crossing, mode: Mode, caller: str
) -> None:
    """Refuse a crossing that was found elsewhere."""
    known = crossing.provenance
    wrong = ""
    if known is not None:
        wrong = other_than(known, model.info, prompts=task.clean, corrupted=task.corrupted or ())
        found_in = known.settings.get("mode", mode)
        if not wrong and found_in != mode:
            wrong = f"of mode {found_in!r}; pass mode={found_in!r}"
    elif crossing.n_pairs != len(task):
        wrong = f"of {counted(crossing.n_pairs, 'pair')}, and the task has {len(task):,}"
    elif any(d != int(d) or not 0 <= d <= model.n_layers for d in crossing.depths.tolist()):
        wrong = f"of other depths than the model's, 0 ... {model.n_layers}"
    if wrong:
        raise ValueError(f"{caller}: the crossing is {wrong}.")


def _places(task: Task) -> list[SharedToken]:
    """Every token from the first in which both prompts differ; ENDS among them.

    In order behind the input; then, where pairs differ in length, counted from the end.
    """
    assert task.corrupted_tokens is not None
    assert task.input_positions is not None
    assert task.corrupted_input_positions is not None
    assert task.corrupted_prediction_positions is not None
    starts = task.input_positions, task.corrupted_input_positions
    ends = task.prediction_positions, task.corrupted_prediction_positions
    first = _first_difference(task)
    most = int((starts[0] - first).max()), int((ends[0] - starts[0]).max())
    ragged = len({int(n) for s, e in zip(starts, ends, strict=True) for n in e - s}) > 1
    asked = [(k, starts, _words(k, "the input")) for k in range(-most[0], most[1])]
    if ragged:
        asked += [(-k, ends, _words(-k, "the last token")) for k in range(1, sum(most))]
    found = [
        SharedToken(
            key=words or "input",
            words=words,
            after=k if of is starts else None,
            tokens=_kept([at + k for at in of], first, ends),
        )
        for k, of, words in asked
    ]
    last = SharedToken(
        key="prediction", words="", after=None, tokens=(ends[0][:, None], ends[1][:, None])
    )
    return [one for one in found if (one.tokens[0] >= 0).any()] + [last]


def _words(places: int, whence: str) -> str:
    way = "after" if places > 0 else "before"
    return f"{counted(abs(places), 'place')} {way} {whence}" if places else ""


def _first_difference(task: Task) -> Int[Tensor, " pair"]:
    """The first token in which the two prompts of each pair differ; the input at the latest."""
    assert task.corrupted_tokens is not None
    assert task.input_positions is not None
    batches = task.clean_tokens, task.corrupted_tokens
    found = []
    for i, at in enumerate(task.input_positions.tolist()):
        both = zip(*(batch.row(i) for batch in batches), strict=False)
        differ = (k for k, (clean, corrupted) in enumerate(both) if clean != corrupted)
        found.append(min(next(differ, at), at))
    return torch.tensor(found)


def _kept(
    places: Sequence[Tensor], first: Int[Tensor, " pair"], ends: tuple[Tensor, Tensor]
) -> SpanTokens:
    """Places that both prompts of a pair have, before the last token; else -1 in both."""
    inside = torch.ones_like(first, dtype=torch.bool)
    for place, end in zip(places, ends, strict=True):
        inside &= (place >= first) & (place < end)
    clean, corrupted = (torch.where(inside, place, -1)[:, None] for place in places)
    return clean, corrupted


def _run_of_tokens(
    task: Task,
    places: Sequence[SharedToken],
    depths: Sequence[float],
    patched: Patched,
) -> dict[str, Float[np.ndarray, "pair depth"]]:
    """What the shortest run of neighbouring tokens before the last gives that holds half of the
    pairs at all those depths where all of them together do; and what all give, if that is nowhere.
    """
    row = [one for one in places if one.after is not None]

    def success(some: Sequence[SharedToken]) -> Float[np.ndarray, "pair depth"]:
        return patched({"run": _joined(some)}, depths)[:, :, 0]

    def share(values: Float[np.ndarray, "pair depth"]) -> Float[np.ndarray, " depth"]:
        return np.nan_to_num(values).mean(0)

    whole = success(row)
    there = share(whole) >= HELD
    if not there.any():
        return {ALL: whole}

    def cut(begin: int, end: int, *, front: bool) -> int:
        """How far the run can be cut at one end, by bisection: what is left still holds."""
        holds, fails = (begin, end) if front else (end, begin)
        while abs(holds - fails) > 1:
            middle = (holds + fails) // 2
            some = row[middle:end] if front else row[begin:middle]
            if (share(success(some))[there] >= HELD).all():
                holds = middle
            else:
                fails = middle
        return holds

    begin = cut(0, len(row), front=True)
    end = cut(begin, len(row), front=False)
    some = row[begin:end]
    found = whole if len(some) == len(row) else success(some)
    name = ALL
    if len(some) < len(row):
        ends = (one.words or "the input" for one in (some[0], some[-1]))
        name = f"the tokens from {' to '.join(ends)}, together"
    # Elsewhere the run holds no half of the pairs, and all together hold no more.
    return {name: np.where(there, found, whole)}


def _joined(places: Sequence[SharedToken]) -> SpanTokens:
    """Several places as one span, what a pair does not have at its end."""
    clean, corrupted = (torch.cat([one.tokens[i] for one in places], dim=1) for i in (0, 1))
    order = (clean < 0).int().argsort(dim=1, stable=True)
    return clean.gather(1, order), corrupted.gather(1, order)


def _spread(
    runs: dict[str, Float[np.ndarray, "pair depth"]],
    at: Sequence[float],
    inside: Float[np.ndarray, " inside"],
) -> Float[np.ndarray, "pair inside run"]:
    """The same at all depths of the gap, NaN where it was not looked for."""
    n_pairs = len(next(iter(runs.values())))
    found = np.full((n_pairs, len(inside), len(runs)), np.nan)
    for i, values in enumerate(runs.values()):
        found[:, np.isin(inside, at), i] = values
    return found


def _named(
    model: DepthModel, task: Task, place: SharedToken, pairs: Bool[np.ndarray, " pair"]
) -> str:
    """A place, with the tokens that stand there in some pairs where these are few."""
    if place.key in ENDS:
        return f"the {position_name(place.key)}"
    assert task.corrupted_tokens is not None
    there: set[int] = set()
    for batch, at in zip((task.clean_tokens, task.corrupted_tokens), place.tokens, strict=True):
        has = (at[:, 0] >= 0) & torch.from_numpy(pairs)
        there |= set(batch.tokens.cpu()[has, at[has, 0]].tolist())
    texts = sorted(repr(model.token_text(token)) for token in there)
    if len(texts) == 1:
        return f"the token {texts[0]} ({place.words})"
    said = f" ({', '.join(texts)})" if len(texts) <= MOST_TEXTS else ""
    return f"the token {place.words}{said}"
