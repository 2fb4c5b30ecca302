"""Whoever watches an analysis hears of its parts, and can end it."""

import pytest

from lensdepth import DepthModel, Task, patch_sweep
from lensdepth.progress import Cancelled, counted, watch


def test_every_part_is_told() -> None:
    seen = []
    with watch(lambda *state: seen.append(state)), counted(3, "work") as update:
        update(2)
        update(1)
    assert seen == [("work", 0, 3), ("work", 2, 3), ("work", 3, 3)]
    with counted(1, "unwatched") as update:
        update(1)
    assert len(seen) == 3


def test_plain_passes_let_in_who_watches(trained: DepthModel, capitals: Task) -> None:
    """They say nothing of their own: what was told last is told again."""
    seen = []
    with watch(lambda *state: seen.append(state)):
        trained.logits(capitals.clean[:6], batch_size=2)
        with counted(2, "work") as update:
            update(1)
            trained.logits(capitals.clean[:2], batch_size=1)
    assert seen == [("reading", 0, 1)] * 3 + [("work", 0, 2)] + [("work", 1, 2)] * 3


def test_a_sweep_can_be_cancelled_and_leaves_nothing_behind(
    trained: DepthModel, capitals: Task
) -> None:
    before = patch_sweep(trained, capitals, max_memory=2**20)
    seen: list[int] = []

    def stop(what: str, done: int, total: int) -> None:
        seen.append(done)
        if 0 < done < total:
            raise Cancelled

    with pytest.raises(Cancelled), watch(stop):
        patch_sweep(trained, capitals, max_memory=2**20)
    assert seen[-1] > 0
    assert not any(point.fwd_hooks for point in trained.hook_points.values())
    after = patch_sweep(trained, capitals, max_memory=2**20)
    assert after.values.equal(before.values)
