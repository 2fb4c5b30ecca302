"""The table of edits: each does what it says, and can be asked for by name everywhere."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lensdepth import (
    DepthModel,
    Task,
    compare_local_global,
    intervene,
    patch_sweep,
    patch_windows,
    polar,
    shapley_depths,
    trajectory_response,
    transfer_matrix,
)
from lensdepth.claims.hypothesis import Condition
from lensdepth.edits import EDITS, STRONG_EDITS, SWEPT, edit_of, named_edit, reflect, strong_edit

D = 8


@st.composite
def states(draw: st.DrawFn) -> Tensor:
    seed = draw(st.integers(0, 2**16))
    return torch.randn(3, D, generator=torch.Generator().manual_seed(seed))


@given(states(), states())
def test_reflect_mirrors_the_part_along_the_source(base: Tensor, source: Tensor) -> None:
    """A Householder reflection: it keeps the norm, undoes itself, and leaves what is across."""
    mirrored = reflect()(base, source)
    torch.testing.assert_close(polar.norm(mirrored), polar.norm(base), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(reflect()(mirrored, source), base, atol=1e-5, rtol=1e-5)
    u = source / source.norm(dim=-1, keepdim=True)
    by_hand = base - 2 * (base * u).sum(-1, keepdim=True) * u
    torch.testing.assert_close(mirrored, by_hand, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        polar.project_off(mirrored, source), polar.project_off(base, source), atol=1e-5, rtol=1e-5
    )
    halfway = reflect(0.5)(base, source)
    torch.testing.assert_close(halfway, polar.project_off(base, source), atol=1e-5, rtol=1e-5)


def test_reflect_of_no_direction_changes_nothing() -> None:
    base = torch.randn(2, D, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(reflect()(base, torch.zeros(2, D)), base)
    torch.testing.assert_close(reflect()(base, base), -base)


def test_every_edit_is_one_function_and_says_what_it_does() -> None:
    for name, kind in EDITS.items():
        assert edit_of(name) is edit_of(name)
        assert kind.does
        assert (name in STRONG_EDITS) == bool(kind.unit)
    assert named_edit("reflect", caller="test") == ("reflect", edit_of("reflect"))
    with pytest.raises(ValueError, match="edit must be one of full, direction, norm, self, refl"):
        named_edit("mirror", caller="test")
    with pytest.raises(ValueError, match="the strength of 'reflect' is in share of the way"):
        strong_edit("reflect", 2.0, caller="test")


def test_reflect_goes_by_its_name_everywhere(trained: DepthModel, capitals: Task) -> None:
    """And is the same run as with the function, by plain hooks."""
    some = capitals.select(slice(0, 4))
    by_name = patch_sweep(trained, some, edit="reflect", depths=[2], controls=())
    by_hand = patch_sweep(trained, some, edit=reflect(), depths=[2], controls=(), engine="hooks")
    torch.testing.assert_close(by_name.values, by_hand.values, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(by_name.effects, torch.zeros(()), atol=1e-3)
    sweeps: list[Callable[..., object]] = [
        patch_windows, compare_local_global, shapley_depths, trajectory_response, transfer_matrix,
    ]  # fmt: skip
    for sweep in sweeps:
        assert sweep(trained, some, edit="reflect", depths=[1, 2]).edit == "reflect"  # type: ignore[attr-defined]
    base, source = some.corrupted[0], some.clean[0]  # type: ignore[index]
    found = intervene(trained, base, source, depth=2, edit="reflect", scopes=("local",))
    alone = patch_sweep(
        trained, some.select([0]), edit="reflect", depths=[2], positions=("prediction",)
    )
    assert found.effect[found.index("local")].item() == pytest.approx(
        alone.effects[0, 0, 0].item() , abs=2e-3
    )  # fmt: skip
    assert "local control" in found.runs
    assert Condition(intervention="patch", edit="reflect").edit == "reflect"
    assert "reflect" in SWEPT
