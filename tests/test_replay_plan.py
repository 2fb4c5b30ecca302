"""How the engine parts its work: what joins where, and how much goes through at a time."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lensdepth import polar
from lensdepth.bounds import within
from lensdepth.hooks import SiteEdit
from lensdepth.replay import memory
from lensdepth.replay.attention import AttentionRule
from lensdepth.replay.chunk import Chunk
from lensdepth.replay.copies import Unreplayable
from lensdepth.replay.hugging_face import _hugging_face_attention
from lensdepth.replay.plan import _distinct
from lensdepth.replay.runs import Runs, pack_edits, plan_runs, rows_of
from lensdepth.site import site_hook


def edit(stream: Any, layer: int, *positions: int) -> SiteEdit:
    hook, at = site_hook(stream, layer), torch.tensor(positions)
    return SiteEdit(hook=hook, positions=at, edit=polar.self_swap, source=None)


SETS = [
    [],
    [edit("resid_pre", 2, 1, 0)],
    [edit("resid_post", 0, 2, 3), edit("attn_out", 1, 0, 4)],
    [edit("mlp_out", 2, 1, 1)],  # inside the block that leads to depth 3
    [edit("resid_post", 2, 1, 4)],
]
READ = torch.tensor([[0, 2], [3, -1]])
"""Of two prompts: the last that is read is at 2 and at 3."""


def test_runs_join_at_their_first_edit_that_reaches_what_is_read() -> None:
    only = torch.ones(5, 2, dtype=torch.bool)
    only[1, 1] = False
    runs, idle = plan_runs(SETS, READ, only, 3)
    found = zip(*(getattr(runs, x).tolist() for x in vars(runs)), strict=True)
    assert list(vars(runs)) == ["sets", "prompts", "starts", "stops", "depths"]
    assert list(found) == [
        (1, 0, 1, 3, 2),
        (2, 0, 0, 3, 1),
        (2, 1, 3, 4, 1),  # its second edit lies beyond what is read
        (3, 0, 1, 3, 2),
        (3, 1, 1, 4, 2),
        (4, 0, 1, 3, 3),
    ]
    assert idle.nonzero().tolist() == [[0, 0], [0, 1], [4, 1]]
    assert (runs.lengths.tolist(), runs.offsets.tolist()) == (
        [2, 3, 1, 2, 3, 2],
        [0, 2, 5, 6, 8, 11],
    )
    # Of tokens times blocks to go through: 2, 3 * 2, 1 * 2, 2, 3, and none at the depth itself.
    assert rows_of(SETS, READ, only, 3) == 15
    shallow, idle = plan_runs(SETS, READ, only, 2)
    assert shallow.sets.tolist() == [1, 2, 2]  # nothing inside block 2, or behind it
    assert idle.sum() == 6


def some_runs(seed: int, n: int) -> Runs:
    rng = np.random.default_rng(seed)
    draw = {name: torch.from_numpy(rng.integers(0, 4, n)) for name in ("sets", "prompts", "depths")}
    starts = torch.from_numpy(rng.integers(0, 5, n))
    return Runs(starts=starts, stops=starts + 1 + torch.from_numpy(rng.integers(0, 6, n)), **draw)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 20))
def test_chunks_hold_every_run_once_as_many_as_fit_and_the_first_to_join_in_front(
    seed: int, n: int, most: int
) -> None:
    runs = some_runs(seed, n)
    chunks = list(runs.chunks(most))
    rows = [
        row for c in chunks for row in zip(*(v.tolist() for v in vars(c).values()), strict=True)
    ]
    assert sorted(rows) == sorted(zip(*(v.tolist() for v in vars(runs).values()), strict=True))
    for i, one in enumerate(chunks):
        assert len(one) == 1 or int(one.lengths.sum()) <= most
        assert (one.depths.diff() >= 0).all()
        if i + 1 < len(chunks):  # alike ones together: by start, then stop, then prompt
            ends = zip(one.starts.tolist(), one.stops.tolist(), one.prompts.tolist(), strict=True)
            after = chunks[i + 1]
            begins = zip(
                after.starts.tolist(), after.stops.tolist(), after.prompts.tolist(), strict=True
            )
            assert max(ends) <= min(begins)
            fewest = min(zip(after.starts, after.stops, strict=True))
            assert int(one.lengths.sum() + fewest[1] - fewest[0]) > most or len(one) == 1


def test_positions_are_read_once_and_in_order() -> None:
    asked = torch.tensor([[3, 1, 3, -1], [0, 0, 0, 0], [5, 2, 4, 1]])
    read, columns = _distinct(asked)
    assert read.tolist() == [[1, 3, -1, -1], [0, -1, -1, -1], [1, 2, 4, 5]]
    there = asked >= 0
    assert torch.equal(read.gather(1, columns)[there], asked[there])
    assert ((columns >= 0) & (columns < 4)).all()
    one = torch.tensor([[4], [-1]])
    assert [x.tolist() for x in _distinct(one)] == [[[4], [-1]], [[0], [0]]]
    assert _distinct(torch.full((2, 3), -1))[0].tolist() == [[-1], [-1]]


def model(n_bytes: int) -> Any:
    """Three blocks of two heads of five over a stream of seven, in four bytes."""
    unasked = (
        *("ending", "tokenizer", "n_ctx", "known", "info", "tokenize", "logits", "readout"),
        *("check_weights", "warn_once"),
    )
    return SimpleNamespace(
        **dict.fromkeys(unasked, len),
        dtype=torch.float32,
        passes=SimpleNamespace(
            device=torch.device("cpu"), n_bytes=n_bytes, n_layers=3, n_heads=2, d_head=5,
            d_model=7, token_bytes=lambda longest: 10 * longest,
        ),
    )  # fmt: skip


KEPT = (4 * 7 + 2 * 3 * 2 * 5) * 4
"""Bytes of one base token: four states, three times keys and values of two heads."""


@pytest.mark.parametrize(
    ("n_bytes", "planned"),
    [(0, 2**28), (2**29, 2**28), (2**30, 2**29), (2**32, 2**31), (2**40, 2**31)],
)
def test_half_of_what_the_weights_take_is_planned_with(n_bytes: int, planned: int) -> None:
    assert memory.memory_of(model(n_bytes)) == planned
    assert memory.memory_of(model(n_bytes), 1000) == 1000
    with within(None, 3000):
        assert memory.memory_of(model(n_bytes)) == 3000


def test_so_many_tokens_and_prompts_go_through_at_once_by_hand() -> None:
    """100 kB for 25 tokens at most: 250 bytes a token in a block, and half for either."""
    most = 100_000
    assert memory.base_bytes(model(0), most) == 50_000
    assert memory.tokens_at_once(model(0), 25, most) == 200
    assert memory.tokens_at_once(model(0), 25, None) == memory.MAX_TOKENS["cpu"]
    assert memory.tokens_at_once(model(0), 25, 10) == 1
    fit = 50_000 // (KEPT * 25)
    assert fit == 5
    assert memory.prompts_at_once(model(0), 25, most) == fit
    assert memory.prompts_at_once(model(0), 25, 10) == 1
    # Where tokens are the dearer ones, they say how many prompts: 2 of 100.
    assert memory.prompts_at_once(model(0), 100, 450_000) == 2
    with within(3, None):
        assert memory.prompts_at_once(model(0), 25, most) == 3
    assert memory.held_bytes(model(0), 25, most) == 200 * 250 + 5 * 25 * KEPT


def test_work_is_halved_with_its_first_half_on_top() -> None:
    full = torch.OutOfMemoryError("out of memory")
    parts = memory.halves(torch.arange(5), full)
    assert [part.tolist() for part in parts] == [[2, 3, 4], [0, 1]]
    other = RuntimeError("can't ALLOCATE memory")
    assert [part.tolist() for part in memory.halves(torch.arange(2), other)] == [[1], [0]]
    for error in (full, RuntimeError("no memory of it"), RuntimeError("cannot alloc")):
        with pytest.raises(RuntimeError) as raised:
            memory.halves(torch.arange(1 if error is full else 4), error)
        assert raised.value is error


@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_edits_reach_their_tokens_whether_or_not_a_block_has_flattened_its_batch(
    shape: tuple[int, ...],
) -> None:
    hook = site_hook("mlp_out", 1)
    away = SiteEdit(hook=hook, positions=torch.tensor([1, 4]), edit=lambda x, _: -x, source=None)
    runs, _ = plan_runs([[away]], torch.tensor([[2], [5]]), torch.ones(1, 2, dtype=torch.bool), 2)
    one = object.__new__(Chunk)
    one._edits = pack_edits([[away]], runs, lambda depth: torch.device("cpu"))
    one._rows, one.fired = None, set()
    # Positions 1 and 2 of the first prompt, 4 and 5 of the second: the first of each is edited.
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    expected = x * torch.tensor([-1.0, 1, -1, 1]).view(4, *(1 for _ in shape))
    assert torch.equal(one.change(hook, x[None]), expected[None])
    if len(shape) == 1:
        assert torch.equal(one.change(hook, x), expected)
    assert one.fired == {hook}
    assert one.change("another", x) is x


def test_attention_takes_what_it_is_told_and_refuses_what_it_does_not_know() -> None:
    rules: list[AttentionRule] = []

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, rule: AttentionRule) -> Tensor:
        rules.append(rule)
        return q

    module: Any = torch.nn.Module()
    module.lensdepth_biases, module.lensdepth_attend = {}, attend
    q = torch.randn(2, 3, 4, 16, generator=torch.Generator().manual_seed(0))
    out, _ = _hugging_face_attention(module, q, q, q, None)
    assert torch.equal(out, q.transpose(1, 2))
    _hugging_face_attention(module, q, q, q, None, scaling=0.5, softcap=3.0, dropout=0.1)
    assert [(rule.scale, rule.softcap) for rule in rules] == [(0.25, None), (0.5, 3.0)]
    for slope in (1.0, "yes", torch.ones(3)):
        with pytest.raises(Unreplayable, match="its attention takes slope, which is not known"):
            _hugging_face_attention(module, q, q, q, None, slope=slope)
    _hugging_face_attention(module, q, q, q, None, slope=None, tilt=False)
