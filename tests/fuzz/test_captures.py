"""Captures: what is read is what was kept, or it is refused; so are folders that others made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fuzz.damage import changes, damaged, wounds
from fuzz.judge import Refused, inputs, judged
from lensdepth import Capture, ResidualStream, capture, load_model

Change = Callable[[Any], Any]
PROMPTS = ["two months from January is", "five days from Monday is", "May"]
STATES = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
TOLD = {"depths": [0, 4], "prompts": PROMPTS, "labels": {"kind": ["a", "b", "a"]}, "n_layers": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    folder = tmp_path_factory.mktemp("captures") / "made"
    return capture(load_model("tiny"), PROMPTS, folder, readout=True, shard_bytes=600)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("foreign")


def write(folder: Path, told: Any) -> bytes:
    """The folder of somebody; what its array holds."""
    np.save(folder / "a.npy", STATES.numpy())
    (folder / "states.json").write_text(json.dumps(told))
    return (folder / "a.npy").read_bytes()


def check(folder: Path, states: Tensor, logits: Tensor | None) -> None:
    """Open the folder, and read what is there."""

    def read() -> tuple[Tensor, Tensor | None]:
        kept = ResidualStream.open(folder)
        resid = kept.read()
        return resid, None if logits is None else kept.readout(states)

    found = judged(read)
    if not isinstance(found, Refused):
        assert torch.equal(found[0], states)
        assert logits is None or torch.equal(found[1], logits)  # type: ignore[arg-type]


@given(data=st.data())
@inputs(few=40, of_20_000=600)
def test_a_damaged_file_gives_the_numbers_that_were_kept_or_none(
    made: Capture, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = made.folder.with_name("hurt")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made.folder, folder)
    names = ["capture.json", "readout.safetensors", *(shard["file"] for shard in made.shards)]
    path = folder / data.draw(st.sampled_from(names))
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, data.draw(wounds(whole))))
    states = made.read()
    check(folder, states, made.readout(states))


@given(injuries=changes(TOLD))
@inputs(few=40, of_20_000=500)
def test_what_others_tell_is_taken_or_refused(foreign: Path, injuries: list[Change]) -> None:
    told = damaged(json.loads(json.dumps(TOLD)), injuries)
    write(foreign, told)

    def read() -> Capture:
        kept = ResidualStream.open(foreign)
        kept.read()
        _ = kept.task, kept.tokens, kept.info, kept.provenance
        return kept

    found = judged(read)
    if not isinstance(found, Refused):
        assert list(found.depths) == told["depths"]
        assert torch.equal(found.read()[:, :, 0], STATES.transpose(0, 1))


@given(data=st.data())
@inputs(few=40, of_20_000=400)
def test_a_damaged_array_is_finite_or_refused(foreign: Path, data: st.DataObject) -> None:
    whole = write(foreign, TOLD)
    (foreign / "a.npy").write_bytes(damaged(whole, data.draw(wounds(whole))))
    found = judged(lambda: ResidualStream.open(foreign).read())
    if not isinstance(found, Refused):
        assert found.isfinite().all()
        assert found.shape[:3] == (2, 3, 1)
