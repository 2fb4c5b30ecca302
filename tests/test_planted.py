"""Known answers: patching finds the planted depth, ablation finds what carries the answer."""

from pathlib import Path

import planted
import pytest
import torch

from lensdepth import ablation_sweep, find_crossing, load_model, load_task, patch_sweep
from lensdepth.provenance import Backend

DIFFERENT = [(a, (a + 1 + a % 3) % len(planted.INPUTS)) for a in range(len(planted.INPUTS))]
"""Pairs of different inputs."""
KINDS = [(a, a + planted.N) for a in range(planted.N)] + [
    (a + planted.N, a) for a in range(planted.N)
]
"""Pairs of one input of each kind, both ways round."""


@pytest.mark.parametrize("layer", [0, 2, 5])
def test_the_crossing_lies_in_the_block_that_moves_the_input(
    tmp_path: Path, backend: Backend, layer: int
) -> None:
    folder = planted.switch(tmp_path / "switch", n_layers=6, layer=layer)
    model = load_model(folder, backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)))
    profile = patch_sweep(model, load_task(path, model, keep="correct"))
    found = find_crossing(profile, n_resamples=50)
    assert (found.verdict, found.depth, found.low, found.high) == ("crossing", *[layer + 0.5] * 3)
    before = torch.arange(7) <= layer
    assert torch.equal(profile.efficacy("input")[0] == 1, before)
    assert torch.equal(profile.efficacy("prediction")[0] == 1, ~before)


def test_a_model_deaf_to_its_input_has_no_crossing(tmp_path: Path, backend: Backend) -> None:
    model = load_model(planted.deaf(tmp_path / "deaf", n_layers=4), backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)))
    task = load_task(path, model)
    assert find_crossing(patch_sweep(model, task), n_resamples=50).verdict == "none"
    with pytest.raises(ValueError, match="answers none of the 12 pairs"):
        load_task(path, model, keep="correct")


def test_where_the_direction_decides_the_norm_moves_nothing(
    tmp_path: Path, backend: Backend
) -> None:
    folder = planted.switch(tmp_path / "switch", n_layers=6, layer=2)
    model = load_model(folder, backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)))
    profile = ablation_sweep(model, load_task(path, model))
    direction, norm = (profile.of(e, profile.transferred)[:, 3:6] for e in ("direction", "norm"))
    torch.testing.assert_close(direction, torch.ones_like(direction), atol=1e-3, rtol=0)
    assert norm.abs().max() < 1e-3


def test_where_the_norm_decides_it_is_found_to(tmp_path: Path, backend: Backend) -> None:
    """The tool must be able to disagree with the study: here C5 is false before block 4."""
    folder = planted.gate(tmp_path / "gate", n_layers=6, stretch=1, weigh=4)
    model = load_model(folder, backend=backend)
    outputs = [0] * planted.N + [1] * planted.N
    path = planted.prompt_file(tmp_path / "p.csv", KINDS, outputs)
    task = load_task(path, model, keep="correct")
    assert task.n_wrong == 0
    profile = ablation_sweep(model, task)
    between = slice(2, 5)
    norm, direction, full = (
        profile.of(e, profile.success)[:, between] for e in ("norm", "direction", "full")
    )
    assert (full == 1).all()
    assert (norm == 1).all()
    assert (direction == 0).all()
    after = profile.of("norm", profile.success)[:, 5:]
    assert (after == 0).all()
