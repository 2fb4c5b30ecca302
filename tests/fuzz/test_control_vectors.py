"""Control vectors of repeng: what is loaded are the vectors that were written, or it is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given

from fuzz.damage import damaged, wounds
from fuzz.judge import Refused, inputs, judged
from lensdepth import load_repeng_vector, steering_vector
from lensdepth.model import DepthModel

pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, trained: DepthModel) -> Path:
    folder = tmp_path_factory.mktemp("control")
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    steering_vector(trained, vectors, depths=[1, 2, 3]).to_repeng(folder / "whole.gguf")
    return folder


@given(injuries=wounds(bytes(600)))
@inputs(few=25, of_20_000=300)
def test_damaged_bytes_of_a_control_vector(
    place: Path, trained: DepthModel, injuries: list[Any]
) -> None:
    """The format keeps no checksum: numbers may be others, and never of another shape or place."""
    path = place / "damaged.gguf"
    path.write_bytes(damaged((place / "whole.gguf").read_bytes(), injuries))
    found = judged(lambda: load_repeng_vector(path, trained))
    if isinstance(found, Refused):
        return
    assert found.vector.isfinite().all()
    assert {*found.depths} <= {1, 2, 3}
    found.save(place / "again")
    assert torch.equal(type(found).load(place / "again").vector, found.vector)
