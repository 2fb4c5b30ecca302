"""What is saved comes back the same, or not at all, and it is said why."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import results
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lensdepth import storage
from lensdepth.lens import LensProfile
from lensdepth.storage import load_result, save_result


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Typed:
    kind: Literal["a", "b"]
    pairs: tuple[tuple[int, ...], ...]
    fixed: tuple[str, float]
    inner: Inner | None
    either: int | str
    yes: bool
    square: Float[Tensor, "n n"]
    row: Float[Tensor, " n"] | None


TYPED: dict[str, Any] = {
    "kind": "a",
    "pairs": ((1, 2), ()),
    "fixed": ("x", 1),
    "inner": Inner(names=(), settings={}),
    "either": "s",
    "yes": True,
    "square": torch.zeros(2, 2),
    "row": torch.ones(2),
}


def typed(**changes: Any) -> Typed:
    return Typed(**(TYPED | changes))


def same(first: Any, second: Any) -> bool:
    """Equal in kind and value, all the way down."""
    if type(first) is not type(second):
        return False
    if is_dataclass(first):
        names = [field.name for field in fields(first)]
        return all(same(getattr(first, name), getattr(second, name)) for name in names)
    if isinstance(first, Tensor):
        alike = (first.dtype, first.shape) == (second.dtype, second.shape)
        return alike and torch.equal(first.nan_to_num(7.5), second.nan_to_num(7.5))
    return first == second or (first != first and second != second)


@pytest.fixture
def remade(tmp_path: Path) -> Callable[..., Path]:
    """A saved result with other contents and, unless told, the checksum that belongs to them."""

    def remake(
        result: Any,
        *,
        tensors: dict[str, Tensor] | None = None,
        header: dict[str, str | None] | None = None,
        sum_up: bool = True,
        **values: Any,
    ) -> Path:
        path = tmp_path / "r.safetensors"
        save_result(result, path)
        with safe_open(path, "pt") as file:
            about = dict(file.metadata())
            numbers = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        numbers |= tensors or {}
        about["fields"] = json.dumps(json.loads(about["fields"]) | values)
        changes = header or {}
        about = {name: x for name, x in (about | changes).items() if x is not None}
        if sum_up:
            about["checksum"] = storage._checksum(about, numbers)
        save_file(numbers, path, about)
        return path

    return remake


@pytest.mark.parametrize(
    "name",
    ["lens", "patch", "ablation", "locality", "dose", "steering", "decoding", "geometry", "claims"],
)
def test_every_kind_of_result_comes_back(tmp_path: Path, name: str) -> None:
    result = getattr(results, name)()
    result.save(tmp_path / name)
    assert same(type(result).load(tmp_path / name), result)


def test_no_flipped_bit_is_loaded(tmp_path: Path) -> None:
    """Nor a file that is cut off, or has a hole."""
    path = tmp_path / "r.safetensors"
    save_result(example(), path)
    whole = path.read_bytes()
    damaged = [whole[:n] for n in range(0, len(whole), 11)]
    damaged += [whole[:n] + b"\0\0" + whole[n + 2 :] for n in range(8, len(whole) - 2, 11)]
    for bit in range(0, len(whole) * 8, 7):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        if content == whole:
            continue
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged") as refused:
            load_result(Outer, path)
        assert "\n" not in str(refused.value)


def test_a_header_longer_than_the_file_is_not_made_room_for(tmp_path: Path) -> None:
    path = tmp_path / "r.safetensors"
    for length in (1 << 62, 99_000_000):
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        with pytest.raises(ValueError, match="not a safetensors file, or a damaged one"):
            load_result(Outer, path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "c"}, "Typed.kind must be one of 'a', 'b', got 'c'"),
        ({"pairs": [[1], ["2"]]}, r"Typed.pairs\[1\]\[0\] must be int, got '2'"),
        ({"pairs": [1]}, r"Typed.pairs\[0\] must be tuple"),
        ({"fixed": ["x"]}, "Typed.fixed must be tuple"),
        ({"fixed": ["x", True]}, r"Typed.fixed\[1\] must be float, got True"),
        ({"inner": 3}, "Typed.inner must be Inner, got 3"),
        ({"inner": {"names": [], "settings": {"a": "b"}}}, r"inner.settings\['a'\] must be float"),
        ({"either": None}, "Typed.either must be str, got None"),
        ({"either": 1.5}, "Typed.either must be str, got 1.5"),
        ({"yes": 1}, "Typed.yes must be bool, got 1"),
        ({"square": [[1.0]]}, "are there twice"),
    ],
)
def test_every_value_is_what_its_field_says(
    remade: Callable[..., Path], values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=f"holds no sound Typed: .*{said}"):
        load_result(Typed, remade(typed(), **values))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"square": torch.zeros(2, 3)}, "Typed.square must be .*'n n'.* float32 .2, 3."),
        ({"square": torch.zeros(3, 3)}, "is a tensor of float32 .*axes that other fields have"),
        ({"square": torch.zeros(4)}, "Typed.square must be"),
        ({"square": torch.zeros(2, 2, dtype=torch.long)}, "Typed.square must be .*int64"),
        ({"row": torch.zeros(3)}, "is a tensor of float32 .*axes that other fields have"),
    ],
)
def test_every_tensor_has_its_axes(
    remade: Callable[..., Path], tensors: dict[str, Tensor], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        load_result(Typed, remade(typed(), tensors=tensors))


def test_what_is_sound_is_loaded(remade: Callable[..., Path]) -> None:
    for changes in ({}, {"inner": None, "row": None, "either": 3, "pairs": ()}):
        saved = typed(**changes)
        assert same(load_result(Typed, remade(saved)), saved)


def test_versions_are_told_apart_from_damage(remade: Callable[..., Path]) -> None:
    newer: dict[str, str | None] = {"lensdepth": "9.1"}
    with pytest.raises(ValueError, match=r"by lensdepth 9\.1 with Typed\.more, .*update lensdepth"):
        load_result(Typed, remade(typed(), header=newer, more=1))
    with pytest.raises(ValueError, match=r"by lensdepth 9\.1 in format 2; .*up to 1\. Update"):
        load_result(Typed, remade(typed(), header=newer | {"format": "2"}))
    with pytest.raises(ValueError, match="is damaged"):
        load_result(Typed, remade(typed(), header={"format": "2"}, sum_up=False))
    older = remade(Other(text="x"), header={"kind": "Outer", "lensdepth": "0.0.9"})
    with pytest.raises(ValueError, match=r"by lensdepth 0\.0\.9 without Outer\.inner, which"):
        load_result(Outer, older)
    for name in ("format", "checksum", "lensdepth"):
        with pytest.raises(ValueError, match="is damaged"):
            load_result(Typed, remade(typed(), header={name: None}, sum_up=False))


def test_a_file_of_the_first_version_is_read_with_a_warning(
    remade: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    first: dict[str, Any] = {
        "header": dict.fromkeys(("format", "checksum", "lensdepth")),
        "sum_up": False,
    }
    saved = typed()
    assert same(load_result(Typed, remade(saved, **first)), saved)
    assert "no checksum" in caplog.text
    with pytest.raises(ValueError, match=r"Typed\.yes must be bool"):
        load_result(Typed, remade(saved, **first, yes="yes"))
    lens = replace(results.lens(), final_rank=None)
    assert same(LensProfile.load(remade(lens, **first)), lens)


def test_somebody_elses_tensors_are_no_result(tmp_path: Path) -> None:
    for metadata in ({"format": "pt"}, None):
        save_file({"weight": torch.zeros(2)}, tmp_path / "m.safetensors", metadata)
        with pytest.raises(ValueError, match="holds no result of lensdepth"):
            load_result(Other, tmp_path / "m.safetensors")


def test_what_could_not_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.safetensors"
    wrong = typed(yes="yes")
    with pytest.raises(ValueError, match=r"loaded again: Typed\.yes must be bool"):
        save_result(wrong, path)
    monkeypatch.setattr(storage, "LARGEST_HEADER", 1000)
    with pytest.raises(ValueError, match="fewer prompts"):
        save_result(Other(text="x" * 1000), path)
    assert not path.exists()


def test_fields_may_be_views_of_the_same_numbers(tmp_path: Path) -> None:
    square = torch.arange(4.0).reshape(2, 2)
    saved = typed(square=square, row=square[1])
    save_result(saved, tmp_path / "r")
    assert same(load_result(Typed, tmp_path / "r"), saved)
