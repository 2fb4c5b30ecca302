"""Lenses of other packages: what is loaded are the tensors that were saved, or it is refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fuzz.damage import VALUES, as_json, changes, damaged, wounds
from fuzz.judge import Refused, inputs, judged
from lensdepth import load_jacobian_lens, load_tuned_lens
from lensdepth.lens import TunedLens
from lensdepth.model import DepthModel

Change = Callable[[Any], Any]
D, LAYERS = 32, 3
"""Sizes of the bundled model "tiny"."""


def _drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


TUNED = {
    f"{i}.{part}": _drawn(*shape, seed=i)
    for i in range(LAYERS)
    for part, shape in (("weight", (D, D)), ("bias", (D,)))
}
CONFIG = {
    "base_model_name_or_path": "someone/tiny",
    "d_model": D,
    "num_hidden_layers": LAYERS,
    "bias": True,
    "base_model_revision": None,
    "unembed_hash": None,
    "lens_type": "linear_tuned_lens",
}
JACOBIAN: dict[str, Any] = {
    "J": {i: _drawn(D, D, seed=i) for i in range(LAYERS - 1)},
    "n_prompts": 3,
    "source_layers": list(range(LAYERS - 1)),
    "d_model": D,
    "metadata": {
        "model_name": "tiny",
        "model_revision": "main",
        "target_layer": LAYERS - 1,
        "processing": {"compatibility_mode": False, "weight_basis": "raw_huggingface"},
        "estimator": "jacobian_lens",
        "hook_convention": "blocks.{layer}.hook_out",
    },
}


def _saved(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


TUNED_BYTES, JACOBIAN_BYTES = _saved(TUNED), _saved(JACOBIAN)
MATRIX = torch.zeros(D, D)
OTHERS = (
    torch.zeros(2), torch.zeros(D + 1, D), MATRIX.int(), MATRIX.bool(), MATRIX.to(torch.complex64),
    MATRIX.half(), MATRIX.double() + 1e300, MATRIX + torch.nan, MATRIX.to_sparse(),
    MATRIX.to(torch.float8_e4m3fn), torch.zeros(D, D, device="meta"), torch.zeros(1).expand(D, D),
    _drawn(D, D, seed=9).T, torch.nn.Parameter(MATRIX), torch.zeros(()), torch.Size([1]),
    torch.float32, (1, 2), {(1, 2): 3}, None, 3, "x", {}, [],
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lenses")


def test_sizes_are_those_of_the_model(trained: DepthModel) -> None:
    assert (trained.d_model, trained.n_layers) == (D, LAYERS)


def check_tuned(place: Path, model: DepthModel, state: dict[Any, Any] | None) -> None:
    """Load the folder, and compare with what it holds; None: it must hold `TUNED`."""
    lens = judged(lambda: load_tuned_lens(place, model))
    if isinstance(lens, Refused):
        return
    state = TUNED if state is None else state
    assert len(lens.weights) == LAYERS
    for i in range(LAYERS):
        assert torch.equal(lens.weights[i], state[f"{i}.weight"].float())
        assert torch.equal(lens.bias[i], state.get(f"{i}.bias", torch.zeros(D)).float())
    check_again(lens, place)


def check_jacobian(place: Path, model: DepthModel, jacobians: dict[Any, Any]) -> None:
    lens = judged(lambda: load_jacobian_lens(place / "lens.pt", model))
    if isinstance(lens, Refused):
        return
    by_layer = {str(i): matrix for i, matrix in jacobians.items()}
    assert len(lens.weights) == LAYERS
    assert not lens.weights[0].any()
    assert not lens.bias.any()
    for i in range(LAYERS - 1):
        assert torch.equal(lens.weights[i + 1], by_layer[str(i)].float() - torch.eye(D))
    check_again(lens, place)


def check_again(lens: TunedLens, place: Path) -> None:
    """What is loaded can be saved with all that the file said of itself."""
    lens.save(place / "again")
    again = TunedLens.load(place / "again")
    assert torch.equal(again.weights, lens.weights)
    assert repr(again.provenance) == repr(lens.provenance)


@given(injuries=wounds(TUNED_BYTES))
@inputs(few=25, of_20_000=550)
def test_damaged_weights_of_a_tuned_lens(
    place: Path, trained: DepthModel, injuries: list[Any]
) -> None:
    (place / "config.json").write_bytes(as_json(CONFIG))
    (place / "params.pt").write_bytes(damaged(TUNED_BYTES, injuries))
    check_tuned(place, trained, None)


@given(
    text=changes(CONFIG).map(lambda some: as_json(damaged(CONFIG, some)))
    | wounds(as_json(CONFIG)).map(lambda some: damaged(as_json(CONFIG), some))
)
@inputs(few=25, of_20_000=400)
def test_a_damaged_description_of_a_tuned_lens(
    place: Path, trained: DepthModel, text: bytes
) -> None:
    (place / "config.json").write_bytes(text)
    (place / "params.pt").write_bytes(TUNED_BYTES)
    # With "bias": false, too, the biases in the other file are read or refused.
    check_tuned(place, trained, None)


@given(name=st.sampled_from([*TUNED, "9.weight", "x", 0]), value=st.sampled_from(OTHERS))
@inputs(few=20, of_20_000=150)
def test_other_tensors_in_a_tuned_lens(
    place: Path, trained: DepthModel, name: Any, value: Any
) -> None:
    (place / "config.json").write_bytes(as_json(CONFIG))
    state = TUNED | {name: value}
    torch.save(state, place / "params.pt")
    check_tuned(place, trained, state)


@given(injuries=wounds(JACOBIAN_BYTES))
@inputs(few=25, of_20_000=550)
def test_damaged_bytes_of_a_jacobian_lens(
    place: Path, trained: DepthModel, injuries: list[Any]
) -> None:
    (place / "lens.pt").write_bytes(damaged(JACOBIAN_BYTES, injuries))
    check_jacobian(place, trained, JACOBIAN["J"])


ABOUT = JACOBIAN["metadata"]
LAYER = st.sampled_from((0, 1, LAYERS - 1, -1, "0", "x", 1.5, True, None, (1, 2)))


@given(
    about=st.just([]) | changes(ABOUT, ("target_layer", "model_name", "processing")),
    key=st.sampled_from((*JACOBIAN, "target_layer", "model_name", "x")),
    value=st.none() | st.sampled_from((*VALUES[:-1], *OTHERS)),
    layers=st.dictionaries(LAYER, st.sampled_from(OTHERS), max_size=2),
)
@inputs(few=30, of_20_000=350)
def test_other_values_in_a_jacobian_lens(
    place: Path,
    trained: DepthModel,
    about: list[Change],
    key: str,
    value: Any,
    layers: dict[Any, Any],
) -> None:
    state = JACOBIAN | {"metadata": damaged(ABOUT, about), "J": JACOBIAN["J"] | layers}
    if value is not None:
        state[key] = value
    torch.save(state, place / "lens.pt")
    check_jacobian(place, trained, state["J"] if isinstance(state["J"], dict) else {})
