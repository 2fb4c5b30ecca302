"""Pairs until it is clear: what is measured, when it stops, and that this makes nothing surer."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lensdepth import DepthModel, Task, find_crossing, load, load_task, locate_crossing, patch_sweep
from lensdepth.until import Look, draws_at, is_clear, look_sizes

FIRST = 20


@pytest.fixture(scope="module")
def task(trained: DepthModel) -> Task:
    return load_task("months", trained, n=40, keep="correct")


def known(seed: int, n: int, place: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs that each switch near a place, of depths 0 ... 6."""
    at = place + np.random.default_rng(seed).normal(size=(n, 1))
    late = (np.arange(7) >= at).astype(float)
    return torch.from_numpy(1 - late), torch.from_numpy(late)


def test_looks_are_at_twice_as_many_pairs_and_at_all() -> None:
    assert look_sizes(200, 24) == [24, 48, 96, 200]
    assert look_sizes(24, 24) == look_sizes(24, 60) == [24]
    assert look_sizes(100, 24) == [24, 48, 100]
    assert look_sizes(49, 24) == [24, 49]


def test_to_the_end_it_is_the_sweep_of_all_pairs(
    trained: DepthModel, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch by batch, in an order of chance, the numbers are those of one sweep."""
    monkeypatch.setattr("lensdepth.until.is_clear", lambda look, precision: False)
    found = locate_crossing(trained, task, first_look=FIRST, seed=3)
    order = np.random.default_rng(3).permutation(len(task))
    whole = patch_sweep(trained, task.select(order), controls=(), seed=3)
    assert [look.n_pairs for look in found.looks] == look_sizes(len(task), FIRST)
    assert found.profile.provenance.prompts == whole.provenance.prompts
    for metric in ("success", "logit_diff", "transferred"):
        torch.testing.assert_close(
            found.profile.of(metric), whole.of(metric), atol=1e-4, rtol=1e-4, equal_nan=True
        )
    # Of all looks together 95 %.
    level = 1 - 0.05 / len(found.looks)
    expected = find_crossing(whole, level=level, n_resamples=draws_at(level), seed=3)
    assert found.crossing.depth == pytest.approx(expected.depth, abs=1e-4)
    assert (found.level, found.stopped) == (level, "all pairs")


def test_it_stops_where_it_is_clear_or_time_is_up(
    trained: DepthModel, task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clear = locate_crossing(trained, task, precision=2.0, first_look=FIRST)
    assert (clear.stopped, clear.looks[-1].n_pairs) == ("clear", FIRST)
    assert clear.profile.outcome.n_pairs == clear.crossing.n_pairs == FIRST
    assert f"it was clear after {FIRST} pairs of {len(task)}" in clear.told
    clear.save(tmp_path / "found.safetensors")
    assert load(tmp_path / "found.safetensors").told == clear.told
    monkeypatch.setattr("lensdepth.until.is_clear", lambda look, precision: False)
    ticks = iter(range(0, 10_000, 60))
    monkeypatch.setattr("lensdepth.until.time.monotonic", lambda: float(next(ticks)))
    late = locate_crossing(trained, task, minutes=1.5, first_look=FIRST)
    # A minute for the first half, so that as many more would end after two.
    assert (late.stopped, late.looks[-1].n_pairs) == ("time", FIRST)
    assert "the 1.50 minutes were up" in late.told


def test_each_look_has_its_share_of_the_error() -> None:
    """At 99 % the interval holds that at 95 %, and a verdict needs more draws."""
    first, second = known(0, 40)
    narrow, wide = (find_crossing(first, second, level=v, n_resamples=4000) for v in (0.95, 0.99))
    assert wide.low <= narrow.low < narrow.depth < narrow.high <= wide.high
    assert wide.high - wide.low > narrow.high - narrow.low
    assert wide.depth == narrow.depth


@pytest.mark.parametrize(
    ("verdict", "low", "precision", "clear"),
    [
        ("crossing", 3.5, 0.5, True),
        ("crossing", 3.4, 0.5, False),
        ("crossing", 1.0, None, True),
        ("none", float("nan"), 0.5, True),
        ("gap", 3.4, 0.1, True),
        ("cannot tell", 4.0, 0.5, False),
        ("too few", 4.0, None, False),
    ],
)
def test_what_is_clear(verdict: str, low: float, precision: float | None, clear: bool) -> None:
    look = Look(
        n_pairs=9, n_units=9, verdict=verdict, depth=4.0, low=low, high=4.2, seconds=1.0  # type: ignore[arg-type]
    )  # fmt: skip
    assert is_clear(look, precision) is clear


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": 0.0}, "precision must be above 0, got 0.0"),
        ({"minutes": -1.0}, "minutes must be above 0"),
        ({"first_look": 0}, "first_look must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    trained: DepthModel, task: Task, options: dict[str, float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        locate_crossing(trained, task, **options)  # type: ignore[arg-type]
