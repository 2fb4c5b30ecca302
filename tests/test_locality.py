"""Local against global: identities, and models whose answers are known."""

import itertools
from dataclasses import replace

import pytest
import results
import torch
from conftest import Load
from torch import Tensor

from lensdepth import (
    DepthModel,
    Task,
    compare_local_global,
    load_task,
    patch_sweep,
    shapley_depths,
    trajectory_response,
    transfer_matrix,
)
from lensdepth.locality import LocalityProfile, ShapleyProfile, TrajectoryProfile, TransferProfile
from lensdepth.locality.repair import final_scale
from lensdepth.locality.shapley import _exact
from lensdepth.locality.trajectory_profile import FOLLOWED


@pytest.fixture(scope="module")
def compared(trained: DepthModel, capitals: Task) -> LocalityProfile:
    return compare_local_global(trained, capitals, stream="mlp_out")


def test_windows_of_one_are_local_effects(
    trained: DepthModel, capitals: Task, compared: LocalityProfile
) -> None:
    local = patch_sweep(trained, capitals, stream="mlp_out", positions=["prediction"], controls=())
    torch.testing.assert_close(compared.local, local.effects[..., 0], atol=1e-4, rtol=0)
    one = compare_local_global(trained, capitals, stream="mlp_out", depths=[2])
    torch.testing.assert_close(one.whole, compared.local[:, 2], atol=1e-4, rtol=0)
    assert one.without.abs().max() < 1e-5
    assert one.gap.abs().max() < 1e-5


def test_the_parts_of_self_repair_add_up(compared: LocalityProfile) -> None:
    assert compared.direct is not None
    assert compared.total is not None
    assert compared.total_at_base_scale is not None
    torch.testing.assert_close(compared.total, compared.local, atol=1e-4, rtol=1e-4)
    # After the last block there is nothing left that could repair but the norm.
    torch.testing.assert_close(
        compared.direct[:, -1], compared.total_at_base_scale[:, -1], atol=1e-3, rtol=1e-3
    )
    assert compared.undone(2) is not None
    with pytest.raises(ValueError, match="depth 9 is not in the window"):
        compared.undone(9)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "olmo2", "gpt_neox"])
def test_the_last_block_is_repaired_by_the_norm_alone(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    """True for layer norm and RMS norm, with a bias, and with a cap on the logits."""
    model = load_tiny(architecture, backend)
    task = load_task("months", model, n=4, keep="all")
    found = compare_local_global(model, task, stream="mlp_out", depths=[1, 2])
    assert found.direct is not None
    assert found.total_at_base_scale is not None
    torch.testing.assert_close(
        found.direct[:, -1], found.total_at_base_scale[:, -1], atol=2e-4, rtol=1e-3
    )
    assert (found.direct - found.total_at_base_scale)[:, 0].abs().max() > 1e-3


def test_the_final_scale_is_what_the_norm_divides_by(tiny_gpt2: DepthModel) -> None:
    x = torch.randn(5, tiny_gpt2.d_model, generator=torch.Generator().manual_seed(0)) + 3
    expected = x.var(-1, unbiased=False).add(tiny_gpt2.model.cfg.eps).sqrt()
    torch.testing.assert_close(final_scale(tiny_gpt2, x), expected)


def test_elsewhere_than_at_the_prediction_there_is_no_direct_effect(
    trained: DepthModel, capitals: Task
) -> None:
    found = compare_local_global(trained, capitals, position="input")
    assert found.direct is None
    assert found.undone(0) is None
    assert "undoes" not in found.describe()


def test_describe_says_the_numbers(compared: LocalityProfile) -> None:
    said = compared.describe()
    assert str(compared.sufficiency()) in said
    assert f"block {compared.best_depth}" in said
    summary = compared.summary()
    assert summary["best_depth"] == compared.best_depth
    interval = compared.sufficiency()
    assert interval.low <= interval.value <= interval.high


def test_exact_shapley_values_by_hand() -> None:
    """Three players: 1 and 2 each suffice, 3 doubles what there is."""

    def worth(chosen: tuple[int, ...]) -> float:
        return (2.0 if 2 in chosen else 1.0) * (1.0 if {0, 1} & set(chosen) else 0.0)

    sets = [tuple(i for i in range(3) if mask >> i & 1) for mask in range(8)]
    effects = torch.tensor([[worth(chosen) for chosen in sets]])
    expected = torch.zeros(3)
    for order in itertools.permutations(range(3)):
        for k, player in enumerate(order):
            expected[player] += (worth(order[: k + 1]) - worth(order[:k])) / 6
    torch.testing.assert_close(_exact(effects, 3)[0], expected)


def test_shapley_values_sum_to_the_whole(trained: DepthModel, capitals: Task) -> None:
    exact = shapley_depths(trained, capitals, stream="mlp_out")
    torch.testing.assert_close(exact.values.sum(1), exact.whole, atol=1e-4, rtol=0)
    assert (exact.standard_error == 0).all()
    assert exact.n_permutations == 0
    sampled = shapley_depths(trained, capitals, stream="mlp_out", n_permutations=40)
    torch.testing.assert_close(sampled.values.sum(1), sampled.whole, atol=1e-4, rtol=0)
    off = (sampled.values.mean(0) - exact.values.mean(0)).abs()
    assert (off <= 4 * sampled.standard_error + 1e-4).all()
    with pytest.raises(ValueError, match="n_permutations must be even and at least 4"):
        shapley_depths(trained, capitals, n_permutations=3)


def test_a_whole_swap_gives_everything_to_whoever_comes_last(
    trained: DepthModel, capitals: Task
) -> None:
    """Swaps of the residual stream overwrite one another: v(S) is the effect of its last depth."""
    found = shapley_depths(trained, capitals, depths=[2, 3])
    local = patch_sweep(trained, capitals, depths=[2, 3], positions=["prediction"], controls=())
    two, three = local.effects[:, 0, 0], local.effects[:, 1, 0]
    expected = torch.stack([two / 2, three - two / 2], dim=1)
    torch.testing.assert_close(found.values, expected, atol=1e-4, rtol=0)


def test_the_diagonal_of_transfer_is_patching(trained: DepthModel, capitals: Task) -> None:
    found = transfer_matrix(trained, capitals)
    local = patch_sweep(trained, capitals, positions=["prediction"], controls=())
    torch.testing.assert_close(
        found.effects.diagonal(dim1=1, dim2=2), local.effects[..., 0], atol=1e-4, rtol=0
    )
    # What is put in at depth L is read out as it is, whatever depth it comes from: the lens.
    states = trained.residual_stream(capitals.clean_tokens).resid[:, :, 0]
    assert capitals.target_ids is not None
    assert capitals.foil_ids is not None
    lens = trained.readout(states)
    rows = torch.arange(len(capitals))
    expected = lens[:, rows, capitals.target_ids] - lens[:, rows, capitals.foil_ids]
    torch.testing.assert_close(found.values[:, :, -1], expected.T, atol=1e-4, rtol=1e-4)


def test_a_trajectory_starts_at_the_source_and_ends_with_the_run(
    trained: DepthModel, capitals: Task
) -> None:
    found = trajectory_response(trained, capitals)
    n = trained.n_layers + 1
    for depth in range(1, n):
        assert found.angle_progress[:, depth, depth].sub(1).abs().max() < 1e-2
        assert found.angle_to_source[:, depth, depth].abs().max() < 1e-3
        assert found.angle_from_base[:, depth, :depth].isnan().all()
        # The control turned the state just as far.
        torch.testing.assert_close(
            found.control_angle_from_base[:, depth, depth],
            found.angle_from_base[:, depth, depth],
            atol=2e-3,
            rtol=0,
        )
    assert found.angle_base_source[:, 0].abs().max() < 1e-3  # equal last tokens
    elsewhere = trajectory_response(trained, capitals, position="input")
    assert elsewhere.angle_from_base[:, n - 1, n - 1].abs().max() < 1e-3  # nobody reads it
    # The only token that differs, swapped at depth 0, gives the source run's whole trajectory.
    assert elsewhere.angle_to_source[:, 0, 1:].abs().max() < 2e-3


def test_components_have_trajectories_and_transfer_too(trained: DepthModel, capitals: Task) -> None:
    found = trajectory_response(trained, capitals, stream="mlp_out")
    assert found.reached.tolist() == [1, 2, 3]
    assert found.angle_from_base[:, 1, :2].isnan().all()
    assert (found.angle_from_base[:, 1, 2] > 1e-3).any()
    assert found.persistence.shape == (len(capitals), 3)
    assert found.plot().data
    moved = transfer_matrix(trained, capitals, stream="mlp_out")
    local = patch_sweep(trained, capitals, stream="mlp_out", positions=["prediction"])
    torch.testing.assert_close(
        moved.effects.diagonal(dim1=1, dim2=2), local.effects[..., 0], atol=1e-4, rtol=0
    )


def test_a_trajectory_equals_plain_hooks(trained: DepthModel, capitals: Task) -> None:
    fast = trajectory_response(trained, capitals, edit="norm")
    slow = trajectory_response(trained, capitals, edit="norm", engine="hooks")
    for name in ("norm", "angle_from_base", "angle_to_source"):
        torch.testing.assert_close(
            getattr(fast, name), getattr(slow, name), atol=2e-3, rtol=1e-3, equal_nan=True
        )


def test_controls_of_a_trajectory_do_not_depend_on_blocks(
    trained: DepthModel, capitals: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trajectory_response(trained, capitals)
    monkeypatch.setattr("lensdepth.sweep.blocks.STATE_BYTES", 1)  # pair by pair
    parts = trajectory_response(trained, capitals)
    torch.testing.assert_close(
        parts.control_angle_from_base, whole.control_angle_from_base,
        atol=2e-3, rtol=0, equal_nan=True,
    )  # fmt: skip
    # Each pair and each depth has a direction of its own.
    later = whole.control_angle_from_base[:, 1, 2:]
    assert len(torch.unique((later * 1e3).round(), dim=0)) > len(capitals) // 2


def test_a_comparison_is_asked_by_name_and_depth() -> None:
    """Two pairs, blocks 1 and 3; alone they move 1 and 2, or 3 and 4; together 5, or 6."""
    found = replace(
        results.locality(),
        depths=torch.tensor([1, 3]),
        base_value=torch.zeros(2),
        source_value=torch.ones(2),
        local=torch.tensor([[1.0, 2], [3, 4]]),
        whole=torch.tensor([5.0, 6]),
        without=torch.tensor([[2.0, 1], [4, 3]]),
        direct=None,
        total=torch.tensor([[10.0, 20], [30, 40]]),
        total_at_base_scale=None,
    )
    assert found.of("local", depth=3).tolist() == [2, 4]
    assert found.of(depth=None).tolist() == [1, 3]
    assert found.of("without", depth=1).tolist() == [2, 4]
    assert found.of("necessity", depth=3).tolist() == [4, 3]
    assert found.of("necessity").tolist() == [[3, 4], [2, 3]]
    assert found.of("total", depth=1).tolist() == [10, 30]
    assert found.of("whole").tolist() == [5, 6]
    assert found.of("gap").tolist() == [2, -1]
    with pytest.raises(ValueError, match="LocalityProfile: depth 2 was not there; there are 1, 3"):
        found.of("local", depth=2)
    with pytest.raises(ValueError, match="'direct' was not measured; there are local, whole, with"):
        found.of("direct")
    with pytest.raises(ValueError, match="no axis 'depth' to choose on; there are none"):
        found.of("whole", depth=1)
    with pytest.raises(ValueError, match="no axis 'head' to choose on; there are depth"):
        found.of("local", head=1)


def test_shares_are_asked_by_depth() -> None:
    found = ShapleyProfile(
        **{name: getattr(results.locality(), name) for name in
           ("provenance", "mode", "stream", "edit", "position", "metric")},
        depths=torch.tensor([2, 0]),
        values=torch.tensor([[1.0, 2], [3, 4]]),
        standard_error=torch.tensor([0.5, 0.25]),
        whole=torch.tensor([3.0, 7]),
        n_permutations=4,
    )  # fmt: skip
    assert found.of().tolist() == [[1, 2], [3, 4]]
    assert found.of("value", depth=0).tolist() == [2, 4]
    assert found.of("standard_error", depth=0).item() == 0.25
    assert found.of("whole").tolist() == [3, 7]
    with pytest.raises(ValueError, match="ShapleyProfile: quantity 'values' was not measured"):
        found.of("values")


def test_a_trajectory_is_asked_by_edited_and_later_depth(
    trained: DepthModel, capitals: Task
) -> None:
    found = trajectory_response(trained, capitals, stream="mlp_out", depths=[2, 1])
    frame = found.to_frame()
    assert set(frame["edited_layer"]) == {1, 2}
    for name in FOLLOWED:
        asked = found.of(name, edited=1, depth=3)
        here = frame[(frame["edited_layer"] == 1) & (frame["depth"] == 3)]
        assert asked.tolist() == pytest.approx(here[name].tolist(), nan_ok=True)
    row = found.edited.tolist().index(1)
    assert torch.equal(found.of("norm", edited=1)[:, 2:], found.norm[:, row, 2:])
    assert torch.equal(found.of("base_norm", depth=2), found.base_norm[:, 2])
    assert torch.equal(found.of("persistence", edited=1), found.persistence[:, row])
    torch.testing.assert_close(found.of(depth=3), found.angle_progress[..., 3], equal_nan=True)
    with pytest.raises(ValueError, match="TrajectoryProfile: edited 0 was not there; there are"):
        found.of("norm", edited=0)
    with pytest.raises(ValueError, match="no axis 'edited' to choose on; there are depth"):
        found.of("base_norm", edited=1)


def test_results_save_load_frame_and_plot(
    trained: DepthModel, capitals: Task, compared: LocalityProfile, tmp_path
) -> None:
    made: list[LocalityProfile | ShapleyProfile | TrajectoryProfile | TransferProfile] = [
        compared,
        shapley_depths(trained, capitals, depths=[1, 2]),
        trajectory_response(trained, capitals, depths=[1, 2]),
        transfer_matrix(trained, capitals, depths=[1, 2]),
    ]
    for result in made:
        path = tmp_path / f"{type(result).__name__}.safetensors"
        result.save(path)
        again = type(result).load(path)
        assert again.to_frame().equals(result.to_frame())
        assert again.provenance == result.provenance
        assert result.plot().data


def test_an_edit_of_mine_goes_through_all_of_it(trained: DepthModel, capitals: Task) -> None:
    def half(base: Tensor, source: Tensor | None) -> Tensor:
        assert source is not None
        return (base + source) / 2

    found = compare_local_global(trained, capitals, edit=half, depths=[1, 2])
    assert found.edit == "half"
    assert found.whole.isfinite().all()
    assert shapley_depths(trained, capitals, edit=half, depths=[1, 2]).values.isfinite().all()
