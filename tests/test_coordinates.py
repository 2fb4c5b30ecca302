"""Coordinates: what an edit acts on, and that it leaves the rest where it is."""

import torch

from lensdepth import polar
from lensdepth.coordinates import Coordinates, coordinates_of

X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
BASE, SOURCE = X


def test_raw_coordinates_are_the_states() -> None:
    raw = coordinates_of("raw", "LN")
    assert torch.equal(raw.inner(BASE), BASE)
    assert raw.edit(polar.direction_swap) is polar.direction_swap
    assert coordinates_of("final_norm", "RMS").edit(polar.norm_swap) is polar.norm_swap


def test_about_a_center_the_distance_to_it_is_the_norm() -> None:
    center = torch.full((8,), 2.0)
    centred = coordinates_of("centred", "RMS", center)
    put = centred.edit(polar.norm_swap)(BASE, SOURCE)
    torch.testing.assert_close((put - center).norm(dim=-1), (SOURCE - center).norm(dim=-1))
    torch.testing.assert_close(polar.direction(put - center), polar.direction(BASE - center))
    both = centred.edit(polar.norm_swap)(centred.edit(polar.direction_swap)(BASE, SOURCE), SOURCE)
    torch.testing.assert_close(both, SOURCE, atol=1e-5, rtol=1e-5)


def test_as_a_layer_norm_sees_it_the_mean_stays_the_bases() -> None:
    seen = coordinates_of("final_norm", "LN")
    put = seen.edit(polar.direction_swap)(BASE, SOURCE)
    torch.testing.assert_close(put.mean(-1), BASE.mean(-1))
    norm = torch.nn.LayerNorm(8, eps=0.0)
    torch.testing.assert_close(norm(put), norm(SOURCE), atol=1e-5, rtol=1e-5)
    stretched = seen.edit(polar.norm_swap)(BASE, SOURCE)
    torch.testing.assert_close(norm(stretched), norm(BASE), atol=1e-5, rtol=1e-5)


def test_those_of_one_depth_have_its_center() -> None:
    centers = torch.randn(3, 1, 1, 8)
    of_all = Coordinates(center=centers)
    states = torch.randn(3, 4, 2, 8)
    torch.testing.assert_close(of_all.inner(states)[1], of_all[1].inner(states[1]))
    torch.testing.assert_close(of_all.outer(of_all.inner(states), states), states)
