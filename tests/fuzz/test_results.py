"""Saved results: after any damage what is loaded equals what was saved, bit by bit, or is refused.

Also round trips: whatever a result holds comes back, however often it is saved.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import results
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float, Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fuzz.damage import changes, damaged, wounds
from fuzz.judge import Refused, inputs, judged
from lensdepth import storage
from lensdepth.lens import LensProfile, TunedLens
from lensdepth.storage import load_result, save_result

Injury = Callable[[Any], Any]


def tuned() -> TunedLens:
    generator = torch.Generator().manual_seed(0)
    return TunedLens(
        provenance=replace(
            results.provenance(), settings={"config": {"lr": 0.1, "deep": [1, "é"]}}
        ),
        kind="tuned",
        weights=torch.randn(results.N_LAYERS, 4, 4, generator=generator),
        bias=torch.randn(results.N_LAYERS, 4, generator=generator),
        kl_before=torch.rand(3, results.N_LAYERS, generator=generator),
        kl_after=None,
    )


RESULTS: dict[str, Any] = {
    name: getattr(results, name)()
    for name in ("lens", "patch", "ablation", "locality", "dose", "steering", "decoding",
                 "geometry", "claims")
} | {"tuned": tuned()}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Saved:
    """A result and the file that it was saved to."""

    result: Any
    whole: bytes
    header: dict[str, str]
    tensors: dict[str, Tensor]

    @property
    def said(self) -> dict[str, Any]:
        """Everything but its tensors."""
        return json.loads(self.header["fields"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def saved(place: Path) -> dict[str, Saved]:
    return {name: _saved(result, place / name) for name, result in RESULTS.items()}


def _saved(result: Any, path: Path) -> Saved:
    result.save(path)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Saved(result, path.read_bytes(), dict(file.metadata()), tensors)


def same(first: Any, second: Any) -> bool:
    """Equal in kind and in every bit, all the way down; a NaN is a NaN."""
    if type(first) is not type(second):
        return False
    if is_dataclass(first):
        names = [field.name for field in fields(first)]
        return all(same(getattr(first, name), getattr(second, name)) for name in names)
    if isinstance(first, Tensor):
        alike = (first.dtype, first.shape) == (second.dtype, second.shape)
        return alike and bits(first) == bits(second)
    if isinstance(first, tuple | list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[k], second[k]) for k in first)
    return repr(first) == repr(second)


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def check(saved: Saved, path: Path) -> None:
    kind = type(saved.result)
    found = judged(lambda: kind.load(path))
    assert isinstance(found, Refused) or same(found, saved.result)


NAMES = st.sampled_from(list(RESULTS))


@given(name=NAMES, data=st.data())
@inputs(few=60, of_20_000=2300)
def test_damaged_bytes(
    place: Path, saved: dict[str, Saved], name: str, data: st.DataObject
) -> None:
    one, path = saved[name], place / "damaged"
    path.write_bytes(damaged(one.whole, data.draw(wounds(one.whole))))
    check(one, path)


@given(name=NAMES, data=st.data())
@inputs(few=40, of_20_000=800)
def test_a_changed_header(
    place: Path, saved: dict[str, Saved], name: str, data: st.DataObject
) -> None:
    """Names, kinds, shapes and places of tensors, and what stands beside them."""
    one, path = saved[name], place / "header"
    n = struct.unpack("<Q", one.whole[:8])[0]
    header = json.loads(one.whole[8 : 8 + n])
    injuries = data.draw(changes(header, ("format", "checksum", "kind", "F32", "I64", "BOOL")))
    text = json.dumps(damaged(header, injuries)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + one.whole[8 + n :])
    check(one, path)


@given(name=NAMES, data=st.data())
@inputs(few=40, of_20_000=1300)
def test_other_values_with_the_checksum_that_belongs_to_them(
    place: Path, saved: dict[str, Saved], name: str, data: st.DataObject
) -> None:
    """What passes is a result like any other: it can be saved, and comes back."""
    one, path = saved[name], place / "forged"
    said = damaged(one.said, data.draw(changes(one.said, ("provenance", "settings", "new"))))
    tensors = damaged(one.tensors, data.draw(st.lists(_of_tensors(one.tensors), max_size=2)))
    header = one.header | {"fields": json.dumps(said)}
    header["checksum"] = storage._checksum(header, tensors)
    save_file(tensors, path, header)
    kind = type(one.result)
    found = judged(lambda: kind.load(path))
    if not isinstance(found, Refused):
        found.save(path)
        assert same(kind.load(path), found)


def _of_tensors(tensors: dict[str, Tensor]) -> st.SearchStrategy[Injury]:
    """A tensor of another shape or kind, one gone, one more."""
    ways: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda t: t.reshape(-1).clone(),
        lambda t: t[None].clone(),
        lambda t: t[:1].clone(),
        lambda t: t.movedim(0, -1).contiguous(),
        lambda t: t.double(),
        lambda t: t.long(),
        lambda t: t.bool(),
        lambda t: t.to(torch.complex64),
        lambda t: torch.full_like(t.float(), torch.nan),
        lambda t: t[:0].clone(),
    )
    name = st.sampled_from([*tensors, "new", "provenance"])

    def change(where: str, way: Callable[[Tensor], Tensor]) -> Injury:
        first = next(iter(tensors.values()))
        return lambda whole: whole | {where: way(whole.get(where, first)).clone()}

    def leave_out(where: str) -> Injury:
        return lambda whole: {key: value for key, value in whole.items() if key != where}

    return st.builds(change, name, st.sampled_from(ways)) | st.builds(leave_out, name)


# Round trips


@dataclass(frozen=True, kw_only=True, eq=False)
class Everything:
    """Every kind of field that results have."""

    values: Float[Tensor, "row column"]
    counts: Int[Tensor, " row"] | None
    texts: tuple[str, ...]
    settings: dict[str, Any]
    number: float
    either: int | str | None
    pairs: tuple[tuple[int, float], ...]


NUMBERS = st.floats(width=32)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def everything(draw: st.DrawFn) -> Everything:
    n, m = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    rows = draw(st.lists(st.lists(NUMBERS, min_size=m, max_size=m), min_size=n, max_size=n))
    counts = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n)
    values = torch.tensor(rows, dtype=torch.float32).reshape(n, m)
    return Everything(
        values=values.T.contiguous().T if draw(st.booleans()) else values,
        counts=draw(st.none() | counts.map(lambda found: torch.tensor(found, dtype=torch.long))),
        texts=tuple(draw(st.lists(st.text(st.characters()), max_size=3))),
        settings=draw(st.dictionaries(st.text(), PLAIN, max_size=3)),
        number=draw(st.floats()),
        either=draw(st.none() | st.integers() | st.text()),
        pairs=tuple(draw(st.lists(st.tuples(st.integers(), st.floats()), max_size=2))),
    )


@given(one=everything())
@inputs(few=40, of_20_000=400)
def test_what_is_saved_comes_back_however_often(place: Path, one: Everything) -> None:
    path = place / "trip"
    for _ in range(2):
        save_result(one, path)
        found = judged(lambda: load_result(Everything, path))
        assert same(found, one)
        assert isinstance(found, Everything)
        one = found


@pytest.mark.parametrize("name", list(RESULTS))
def test_every_result_comes_back_from_a_copy_of_a_copy(
    place: Path, saved: dict[str, Saved], name: str
) -> None:
    one, path = saved[name].result, place / "copy"
    type(one).load(place / name).save(path)
    assert same(type(one).load(path), one)


@given(values=st.lists(NUMBERS, min_size=9, max_size=9), text=st.text(st.characters()))
@inputs(few=15, of_20_000=200)
def test_odd_numbers_and_names_come_back(place: Path, values: list[float], text: str) -> None:
    lens = results.lens()
    odd = torch.tensor(values)[:, None, None].expand_as(lens.kl)
    lens = replace(
        lens,
        kl=odd,
        vocabulary={"0": text, text: "x"},
        provenance=replace(lens.provenance, task=text, prompts=(text, text)),
    )
    path = place / "odd"
    lens.save(path)
    assert same(judged(lambda: LensProfile.load(path)), lens)
