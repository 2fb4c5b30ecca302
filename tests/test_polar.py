"""Polar form: what each edit keeps, what it changes, and where it is undefined."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from lensdepth import polar

STATES = arrays(np.float32, (2, 3, 6), elements=st.floats(-100, 100, width=32))


def close(a: Tensor, b: Tensor, *, atol: float = 1e-4) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=1e-5)


@given(STATES)
def test_norm_times_direction_gives_the_state_back(states: np.ndarray) -> None:
    x = torch.from_numpy(states)
    close(polar.norm(x).unsqueeze(-1) * polar.direction(x), x)


@given(STATES)
def test_swaps_keep_what_they_say_they_keep(states: np.ndarray) -> None:
    base, source = torch.from_numpy(states) + torch.eye(3, 6)
    turned, scaled = polar.direction_swap(base, source), polar.norm_swap(base, source)
    close(polar.norm(turned), polar.norm(base))
    close(polar.norm(scaled), polar.norm(source))
    nonzero = (source != 0).any(-1) & (base != 0).any(-1)
    close(polar.direction(turned)[nonzero], polar.direction(source)[nonzero])
    close(polar.direction(scaled)[nonzero], polar.direction(base)[nonzero])
    close(polar.norm_swap(polar.direction_swap(base, source), source)[nonzero], source[nonzero])


def test_zero_vectors_are_defined() -> None:
    zero, x = torch.zeros(1, 4), torch.tensor([[0.0, 3.0, 4.0, 0.0]])
    assert polar.direction(zero).tolist() == zero.tolist()
    assert polar.angle(zero, x).isnan().all()
    assert polar.direction_swap(x, zero).tolist() == x.tolist()
    assert polar.norm_swap(x, zero).tolist() == zero.tolist()
    assert polar.norm_swap(zero, x).tolist() == zero.tolist()
    for turn in (polar.rotate_part(0.3), polar.random_direction_swap(torch.Generator())):
        assert polar.angle(turn(x, zero), x).item() == 0.0
        assert turn(zero, x).tolist() == zero.tolist()


@pytest.mark.parametrize("theta", [1e-6, 1e-3, 1.0, math.pi / 2, math.pi - 1e-3, math.pi])
def test_angle_is_accurate_near_both_ends(theta: float) -> None:
    x = torch.tensor([1.0, 0.0, 0.0])
    y = torch.tensor([math.cos(theta), math.sin(theta), 0.0])
    assert polar.angle(x, y).item() == pytest.approx(theta, rel=1e-4)


def test_huge_and_tiny_states_keep_their_direction() -> None:
    x = torch.tensor([[3e30, 4e30], [3e-30, 4e-30]])
    close(polar.direction(x), torch.tensor([[0.6, 0.8], [0.6, 0.8]]))


@given(STATES, st.floats(0.01, 3.0))
def test_rotation_turns_by_the_asked_angle_and_keeps_the_norm(
    states: np.ndarray, theta: float
) -> None:
    x, towards = torch.from_numpy(states)
    between = polar.angle(x, towards)
    # Squares of states shorter than this underflow in float32.
    defined = (between > 0.01) & (between < math.pi - 0.01) & (polar.norm(x) > 1e-15)
    turned = polar.rotate_by(x, towards, theta)
    close(polar.norm(turned), polar.norm(x), atol=1e-3)
    close(polar.angle(x, turned)[defined], torch.full((int(defined.sum()),), theta), atol=1e-3)
    arrived = polar.rotate_by(x, towards, between.nan_to_num(0.0))
    assert (polar.angle(arrived, towards)[defined] < 2e-3).all()


def test_random_direction_is_as_far_away_and_seeded() -> None:
    generator = torch.Generator().manual_seed(3)
    base, source = torch.randn(2, 5, 16, generator=generator)
    edit = polar.random_direction_swap(torch.Generator().manual_seed(0))
    again = polar.random_direction_swap(torch.Generator().manual_seed(0))
    found = edit(base, source)
    close(polar.angle(base, found), polar.angle(base, source))
    close(polar.norm(found), polar.norm(base))
    assert torch.equal(found, again(base, source))
    assert (polar.angle(found, source) > 0.1).all()


def test_spherical_mean_ignores_norms_and_refuses_what_cancels() -> None:
    x = torch.tensor([[10.0, 0.0], [0.0, 0.1]])
    close(polar.spherical_mean(x), torch.tensor([1.0, 1.0]) / math.sqrt(2))
    with pytest.raises(ValueError, match="no mean direction"):
        polar.spherical_mean(torch.tensor([[1.0, 0.0], [-2.0, 0.0]]))


def test_an_edit_without_its_source_says_so() -> None:
    with pytest.raises(ValueError, match="direction_swap: this edit needs a source"):
        polar.direction_swap(torch.ones(1, 2), None)


@given(STATES)
def test_split_and_recombine_give_the_state_back(states: np.ndarray) -> None:
    x = torch.from_numpy(states)
    back = polar.recombine(*polar.split(x))
    assert (back - x).norm(dim=-1).le(1e-6 * polar.norm(x)).all()


def test_split_and_recombine_survive_tiny_huge_and_zero_states() -> None:
    x = torch.tensor([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0]])
    torch.testing.assert_close(polar.recombine(*polar.split(x)), x, rtol=1e-6, atol=0.0)


@given(STATES, st.floats(0.01, 100))
def test_swaps_scale_with_the_states(states: np.ndarray, factor: float) -> None:
    base, source = torch.from_numpy(states) + torch.eye(3, 6)
    for swap in (polar.full_swap, polar.direction_swap, polar.norm_swap, polar.rotate_part(0.3)):
        scaled = swap(factor * base, factor * source)
        torch.testing.assert_close(
            scaled, factor * swap(base, source), rtol=1e-3, atol=1e-3 * factor
        )


@given(STATES)
def test_a_norm_swap_keeps_cosine_one(states: np.ndarray) -> None:
    base, source = torch.from_numpy(states) + torch.eye(3, 6)
    put = polar.norm_swap(base, source)
    defined = (polar.norm(base) > 1e-6) & (polar.norm(source) > 1e-6)
    assert (polar.angle(base, put)[defined] < 1e-3).all()


@given(STATES)
def test_turns_by_nothing_and_by_the_whole_angle(states: np.ndarray) -> None:
    base, source = torch.from_numpy(states) + torch.eye(3, 6)
    none, whole = polar.rotate_part(0.0)(base, source), polar.rotate_part(1.0)(base, source)
    close(none, base, atol=1e-3)
    close(whole, polar.direction_swap(base, source), atol=2e-3)


def test_opposite_states_have_a_way_round_and_parallel_ones_none() -> None:
    x = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 4.0]])
    close(polar.rotate_by(x, -x, math.pi), -x)
    half = polar.rotate_by(x, -x, math.pi / 2)
    close(polar.angle(x, half), torch.full((2,), math.pi / 2))
    close(polar.norm(half), polar.norm(x))
    assert torch.equal(polar.rotate_by(x, 5 * x, 1.0), x)


@given(STATES)
def test_projections_part_a_state(states: np.ndarray) -> None:
    x, along = torch.from_numpy(states)
    on, off = polar.project_on(x, along), polar.project_off(x, along)
    close(on + off, x, atol=1e-3)
    close((off * polar.direction(along)).sum(-1), torch.zeros(3), atol=1e-3)
    close(polar.project_off(off, along), off, atol=1e-3)
    zero = torch.zeros_like(along)
    assert torch.equal(polar.project_off(x, zero), x)


@given(STATES)
def test_parts_of_an_edit_are_its_direction_and_its_norm(states: np.ndarray) -> None:
    base, source = torch.from_numpy(states) + torch.eye(3, 6)
    turned = polar.keep_norm(polar.full_swap)(base, source)
    stretched = polar.keep_direction(polar.full_swap)(base, source)
    close(turned, polar.direction_swap(base, source))
    close(stretched, polar.norm_swap(base, source))
    added = polar.add(0.5)
    whole = polar.keep_direction(added)(polar.keep_norm(added)(base, source), source)
    close(polar.norm(polar.keep_norm(added)(base, source)), polar.norm(base), atol=1e-3)
    assert whole.isfinite().all()


def test_means_are_of_directions_and_of_norms() -> None:
    states = torch.tensor([[10.0, 0.0], [0.0, 2.0]])
    base = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    close(polar.mean_norm(states)(base, None), torch.tensor([[3.6, 4.8], [0.0, 6.0]]))
    turned = polar.mean_direction(states)(base, None)
    close(turned, torch.tensor([[5.0, 5.0], [1.0, 1.0]]) / math.sqrt(2))
    with pytest.raises(ValueError, match="no mean direction"):
        polar.mean_direction(torch.tensor([[1.0, 0.0], [-2.0, 0.0]]))


def test_scaling_and_adding() -> None:
    base, vector = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 1.0]])
    assert polar.scale(0.25)(base, None).tolist() == [[0.25, 0.5]]
    assert polar.add(2.0)(base, vector).tolist() == [[1.0, 4.0]]
    assert polar.add()(base, vector).tolist() == [[1.0, 3.0]]
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="must be 0 or more and finite"):
            polar.scale(wrong)
    with pytest.raises(ValueError, match="add: this edit needs a source"):
        polar.add()(base, None)


def test_half_precision_is_computed_in_float32() -> None:
    base = torch.randn(4, 64, generator=torch.Generator().manual_seed(0)).half()
    source = torch.randn(4, 64, generator=torch.Generator().manual_seed(1)).half()
    for edit in (polar.direction_swap, polar.norm_swap, polar.rotate_part(0.5)):
        put = edit(base, source)
        assert put.dtype == torch.float16
        torch.testing.assert_close(put, edit(base.float(), source.float()).half())
    assert polar.angle(base, source).dtype == torch.float32


def test_of_a_batch_with_several_axes_each_state_stands_for_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 2, 4, 5, generator=generator, dtype=torch.float64)
    x[0, 1], y[1, 0], y[1, 1], y[1, 2] = 0.0, 0.0, -2 * x[1, 1], 3 * x[1, 2]
    theta = torch.rand(2, 4, generator=generator, dtype=torch.float64)
    for function, *args in (
        (polar.norm, x),
        (polar.direction, x),
        (polar.recombine, theta, y),
        (polar.angle, x, y),
        (polar.project_on, x, y),
        (polar.project_off, x, y),
        (polar.rotate_by, x, y, theta),
        (polar.full_swap, x, y),
        (polar.direction_swap, x, y),
        (polar.norm_swap, x, y),
        (polar.rotate_part(0.3), x, y),
        (polar.swap_within(torch.eye(5, 2, dtype=torch.float64)), x, y),
    ):
        found = function(*args)
        for at in itertools.product(range(2), range(4)):
            alone = function(*(part[at] for part in args))
            torch.testing.assert_close(found[at], alone, equal_nan=True)


def test_within_a_subspace_the_source_stands_and_outside_it_the_base() -> None:
    base, source = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 20.0, 30.0]])
    axes = torch.eye(3)
    assert polar.swap_within(axes[:, [2, 0]])(base, source).tolist() == [[10.0, 2.0, 30.0]]
    assert polar.swap_within(axes[:, :0])(base, source).tolist() == base.tolist()
    # Along (3, 4, 0) / 5 the base is 2.2 long and the source 22: 19.8 of it are put in.
    slanted = torch.tensor([[0.6], [0.8], [0.0]])
    close(polar.swap_within(slanted)(base, source), torch.tensor([[12.88, 17.84, 3.0]]))
    assert polar.swap_within(axes)(base.half(), source).dtype == torch.float16


def test_a_turn_of_so_many_radians_is_towards_the_source_and_the_base_is_its_own_control() -> None:
    base, source = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 7.0]])
    half = polar.rotate(math.pi / 6)(base, source)
    close(half, torch.tensor([[math.sqrt(3), 1.0]]))
    with pytest.raises(ValueError, match="rotate: this edit needs a source"):
        polar.rotate(0.1)(base, None)
    assert torch.equal(polar.self_swap(base, source), base)
