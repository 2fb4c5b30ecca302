"""Known answers: patching and steering find the planted depth, ablation what carries the answer."""

from pathlib import Path

import pytest
import torch

from lensdepth import (
    ablation_sweep,
    dose_response,
    find_crossing,
    load_model,
    load_task,
    patch_sweep,
    steering_sweep,
)
from lensdepth.provenance import Backend
from lensdepth.teaching import planted
from lensdepth.transition.crossing_result import Crossing

DIFFERENT = [(a, (a + 1 + a % 3) % len(planted.INPUTS)) for a in range(len(planted.INPUTS))]
"""Pairs of different inputs."""
KINDS = [(a, a + planted.N) for a in range(planted.N)] + [
    (a + planted.N, a) for a in range(planted.N)
]
"""Pairs of one input of each kind, both ways round."""


@pytest.fixture(params=["llama", "gpt2"])
def architecture(request: pytest.FixtureRequest) -> planted.Architecture:
    """RMSNorm, and LayerNorm."""
    return request.param


def _passes_in(found: Crossing, layer: int, n_layers: int = 6) -> None:
    """What the last block moves is seen at depth L alone, which decides nothing."""
    if layer == n_layers - 1:
        assert found.verdict == "none"
        assert "never leads before depth 6, where it does by construction" in found.reason
        return
    assert (found.verdict, found.depth, found.low, found.high) == ("crossing", *[layer + 0.5] * 3)


@pytest.mark.parametrize("layer", [0, 2, 5])
def test_the_crossing_lies_in_the_block_that_moves_the_input(
    tmp_path: Path, backend: Backend, architecture: planted.Architecture, layer: int
) -> None:
    folder = planted.switch(tmp_path / "switch", n_layers=6, layer=layer, architecture=architecture)
    model = load_model(folder, backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)))
    profile = patch_sweep(model, load_task(path, model, keep="correct"))
    found = find_crossing(profile, n_resamples=50)
    _passes_in(found, layer)
    before = torch.arange(7) <= layer
    assert torch.equal(profile.efficacy("input")[0] == 1, before)
    assert torch.equal(profile.efficacy("prediction")[0] == 1, ~before)


def test_a_model_deaf_to_its_input_has_no_crossing(
    tmp_path: Path, backend: Backend, architecture: planted.Architecture
) -> None:
    model = load_model(
        planted.deaf(tmp_path / "deaf", n_layers=4, architecture=architecture), backend=backend
    )
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)))
    task = load_task(path, model)
    assert find_crossing(patch_sweep(model, task), n_resamples=50).verdict == "none"
    with pytest.raises(ValueError, match="answers none of the 12 pairs"):
        load_task(path, model, keep="correct")


def test_where_the_direction_decides_the_norm_moves_nothing(
    tmp_path: Path, backend: Backend, architecture: planted.Architecture
) -> None:
    folder = planted.switch(tmp_path / "switch", n_layers=6, layer=2, architecture=architecture)
    model = load_model(folder, backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)))
    profile = ablation_sweep(model, load_task(path, model))
    direction, norm = (profile.of(e, profile.transferred)[:, 3:6] for e in ("direction", "norm"))
    torch.testing.assert_close(direction, torch.ones_like(direction), atol=1e-3, rtol=0)
    assert norm.abs().max() < 1e-3


def test_where_the_norm_decides_it_is_found_to(
    tmp_path: Path, backend: Backend, architecture: planted.Architecture
) -> None:
    """The tool must be able to disagree with the study: here C5 is false before block 4."""
    folder = planted.gate(
        tmp_path / "gate", n_layers=6, stretch=1, weigh=4, architecture=architecture
    )
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
    after = profile.of("success", edit="norm", scope=None, position=None)[:, 5:]
    assert (after == 0).all()


@pytest.mark.parametrize("layer", [0, 2, 5])
def test_steering_finds_the_planted_crossing(
    tmp_path: Path, backend: Backend, architecture: planted.Architecture, layer: int
) -> None:
    folder = planted.switch(tmp_path / "switch", n_layers=6, layer=layer, architecture=architecture)
    model = load_model(folder, backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)), planted.WORDINGS)
    profile = steering_sweep(model, load_task(path, model, keep="correct"))
    found = find_crossing(profile, n_resamples=50)
    _passes_in(found, layer)
    before = torch.arange(7) <= layer
    for edit in ("full", "direction"):
        assert torch.equal(profile.efficacy("input", edit=edit).mean(0), before.float())
        assert torch.equal(profile.efficacy("prediction", edit=edit).mean(0), (~before).float())
    for edit in ("norm", "random", "shuffled"):
        assert profile.efficacy("input", edit=edit).max() == 0
        assert profile.efficacy("prediction", edit=edit).max() == 0
    # Nearly the genuinely changed prompt's run: folds leave the wordings a little uneven.
    assert (
        profile.of("kl_to_source", position="prediction", edit=None, scope=None)[:, ~before].max()
        < 0.02
    )
    assert profile.base_kl_to_source.min() > 0.3


def test_centroids_of_a_deaf_model_coincide_at_the_end(
    tmp_path: Path, backend: Backend, architecture: planted.Architecture
) -> None:
    model = load_model(
        planted.deaf(tmp_path / "deaf", n_layers=4, architecture=architecture), backend=backend
    )
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)), planted.WORDINGS)
    task = load_task(path, model)
    with pytest.raises(
        ValueError, match=r"coincide at the prediction position at every depth.* line 2, line 3"
    ):
        steering_sweep(model, task)
    at_input = steering_sweep(model, task, positions=("input",))
    assert at_input.of("kl_to_source", position="input", edit=None, scope=None).max() < 1e-5


def test_where_the_norm_decides_steering_needs_the_norm(
    tmp_path: Path, backend: Backend, architecture: planted.Architecture
) -> None:
    """The difference of centroids is parallel to the states: its turn alone does nothing."""
    folder = planted.gate(
        tmp_path / "gate", n_layers=6, stretch=1, weigh=4, architecture=architecture
    )
    model = load_model(folder, backend=backend)
    outputs = [0] * planted.N + [1] * planted.N
    path = planted.prompt_file(tmp_path / "p.csv", KINDS, outputs)
    task = load_task(path, model, keep="correct")
    profile = steering_sweep(model, task, positions=("prediction",), scopes=("local",))
    between = slice(2, 5)
    assert (profile.efficacy("prediction", edit="norm")[:, between] == 1).all()
    assert (profile.efficacy("prediction", edit="full")[:, between] == 1).all()
    assert (profile.efficacy("prediction", edit="direction")[:, between] == 0).all()
    assert (profile.efficacy("prediction", edit="norm")[:, 5:] == 0).all()


def test_doses_of_what_decides(
    tmp_path: Path, backend: Backend, architecture: planted.Architecture
) -> None:
    """Enough of a stretch changes the answer of the gate, and none changes that of the switch."""
    outputs = [0] * planted.N + [1] * planted.N
    path = planted.prompt_file(tmp_path / "p.csv", KINDS, outputs)
    gate = load_model(
        planted.gate(tmp_path / "g", n_layers=4, stretch=1, weigh=3, architecture=architecture),
        backend=backend,
    )
    task = load_task(path, gate, keep="correct")
    found = dose_response(gate, task, depths=[2])
    factors, success = found.curve("norm", found.success, 2)
    assert task.target_ids is not None
    to_second = task.target_ids == task.target_ids[-1]  # these bases are stretched already
    assert success[~to_second][:, factors == 4].eq(1).all()
    assert success[to_second][:, factors == 0.25].eq(1).all()
    assert success[:, factors == 1].eq(0).all()
    switch = load_model(
        planted.switch(tmp_path / "s", n_layers=4, layer=1, architecture=architecture),
        backend=backend,
    )
    path = planted.prompt_file(tmp_path / "q.csv", DIFFERENT, list(range(12)))
    found = dose_response(switch, load_task(path, switch), depths=[2, 3])
    assert found.curve("norm", found.flip, 2)[1].max() == 0
    assert found.curve("direction", found.success, 3)[1][:, -1].min() == 1


def test_an_ablation_to_the_mean_of_what_decides_removes_it(
    tmp_path: Path, backend: Backend, architecture: planted.Architecture
) -> None:
    folder = planted.switch(tmp_path / "switch", n_layers=6, layer=2, architecture=architecture)
    model = load_model(folder, backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)))
    found = ablation_sweep(model, load_task(path, model), to="mean", scopes=("local", "prefix"))
    direction, norm = (found.of(e, found.kl)[:, 3:6] for e in ("direction", "norm"))
    assert direction.min() > 0.1
    assert norm.max() < 1e-3
    # Up to the block that reads the input, nothing at the end is there to be removed.
    assert found.of("kl", edit="full", scope="prefix", position=None)[:, :3].max() < 1e-3
