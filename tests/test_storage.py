"""What is saved comes back the same, and files are whole or untouched."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.storage import load_result, save_result
from lensdepth.writing import whole_file, write_text


@dataclass(frozen=True, kw_only=True)
class Inner:
    names: tuple[str, ...]
    settings: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outer:
    inner: Inner | None
    values: Float[Tensor, "row column"]
    missing: Float[Tensor, " row"] | None
    text: str
    number: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Other:
    text: str


def example() -> Outer:
    return Outer(
        inner=Inner(names=("a", "β"), settings={"x": 0.1}),
        values=torch.randn(3, 2).T,
        missing=None,
        text="<|endoftext|>\n",
        number=float("nan"),
    )


def test_a_result_comes_back_with_its_types(tmp_path: Path) -> None:
    saved = example()
    save_result(saved, tmp_path / "r.safetensors")
    loaded = load_result(Outer, tmp_path / "r.safetensors")
    assert torch.equal(loaded.values, saved.values)
    assert (loaded.inner, loaded.missing, loaded.text) == (saved.inner, None, saved.text)
    assert loaded.number != loaded.number


def test_the_wrong_kind_and_no_result_are_named(tmp_path: Path) -> None:
    save_result(example(), tmp_path / "r.safetensors")
    with pytest.raises(ValueError, match="holds 'Outer'"):
        load_result(Other, tmp_path / "r.safetensors")
    (tmp_path / "junk").write_text("not a result")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_result(Other, tmp_path / "junk")
    with pytest.raises(FileNotFoundError, match="no file"):
        load_result(Other, tmp_path / "absent")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="halfway"), whole_file(target) as partial:
        partial.write_text("new, but only ha")
        raise RuntimeError("halfway")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
