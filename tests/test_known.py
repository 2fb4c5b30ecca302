"""A model on another device or in another dtype: what was found out about it is found out anew."""

import copy
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from torch import Tensor

from lensdepth import DepthModel, load_model, load_task, patch_sweep, polar
from lensdepth.provenance import Backend

PROMPTS = list(architectures.PROMPTS)
Load = Callable[..., DepthModel]


@pytest.fixture
def load(model_folder: Callable[[str], Path], backend: Backend) -> Load:
    """A model of its own, to be moved."""

    def load(architecture: str = "llama", **options: Any) -> DepthModel:
        return load_model(model_folder(architecture), backend=backend, **options)

    return load


def weights_of(model: DepthModel) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.model.named_parameters()}


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_a_cast_model_is_one_that_was_loaded_so(load: Load, architecture: str, dtype: str) -> None:
    cast, loaded = load(architecture), load(architecture, dtype=dtype)
    before = cast.logits(PROMPTS)
    assert cast.to(dtype) is cast
    assert cast.dtype == cast.passes.dtype == getattr(torch, dtype)
    assert {w.dtype for w in cast.model.parameters()} == {cast.dtype}
    assert cast.model.cfg.dtype == cast.dtype
    # Rotary tables of half precision would show here: they are made anew, or kept as they were.
    atol = 1e-6 if dtype == "float64" else 0
    torch.testing.assert_close(cast.logits(PROMPTS), loaded.logits(PROMPTS), atol=atol, rtol=0)
    assert cast.generate(PROMPTS[0], max_new_tokens=3) == loaded.generate(
        PROMPTS[0], max_new_tokens=3
    )
    moved = float((cast.logits(PROMPTS) - before).abs().max())
    assert (moved > 1e-4) == (dtype != "float64")


def test_float64_and_back_changes_nothing(load: Load) -> None:
    model = load()
    before, info = model.logits(PROMPTS), model.info
    wide = model.to(dtype="float64").info
    assert (wide.dtype, wide.device) == ("float64", "cpu")
    assert wide.fingerprint != info.fingerprint
    kept = ("architecture", "configuration", "tokenizer", "weights", "name", "backend")
    assert all(getattr(wide, name) == getattr(info, name) for name in kept)
    assert model.to("cpu", torch.float32).info == info
    assert model.logits(PROMPTS).equal(before)
    # Rounded digits do not come back.
    model.to("bfloat16").to("float32")
    assert model.info.fingerprint != info.fingerprint
    assert not model.logits(PROMPTS).equal(before)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt_neox"])
def test_what_the_configuration_decides_is_not_rounded(load: Load, architecture: str) -> None:
    model = load(architecture)
    before = {name: table.clone() for name, table in model.model.named_buffers()}
    model.to("bfloat16").to("float32")
    tables = {name: table for name, table in model.model.named_buffers() if "rotary" in name}
    assert tables
    assert all(table.equal(before[name]) for name, table in tables.items())


def test_everything_goes_to_another_device(load: Load) -> None:
    model = load()
    with torch.no_grad():
        model.logits(PROMPTS)
    before = model.info
    model.passes.move(torch.device("meta"), None)  # which no user may ask for: numbers are lost
    held = {**dict(model.model.named_parameters()), **dict(model.model.named_buffers())}
    assert {x.device.type for x in held.values()} == {"meta"}
    assert str(model.model.cfg.device) == str(model.device) == model.info.device == "meta"
    assert model.info.fingerprint == before.fingerprint
    assert model.dtype == torch.float32


def test_moving_nowhere_finds_nothing_anew(load: Load) -> None:
    model = load()
    model.logits(PROMPTS)
    info, known = model.info, model.known
    assert model.to() is model.to("cpu") is model.to("cpu", "float32") is model
    assert model.known is known
    assert model.info == info


def test_every_wrapper_of_a_model_notices(load: Load) -> None:
    one = load()
    other = DepthModel(one.model, tokenizer=one.tokenizer)
    task = load_task("months", one, n=4)
    patch_sweep(other, task, depths=[1])
    assert other.known.replay_checked
    before = other.info
    one.to("bfloat16").to("float32")  # as before for whoever looks at the dtype alone
    assert other.known.replay_checked == {}
    assert other.info.fingerprint != before.fingerprint
    assert other.logits(PROMPTS).equal(one.logits(PROMPTS))
    torch.nn.Module.to(one.model, torch.float64)  # and whoever did it
    assert (other.dtype, other.info.dtype) == (torch.float64, "float64")
    found = patch_sweep(other, task, depths=[1])
    assert found.provenance.model.dtype == "float64"


def test_the_readout_is_compared_anew(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load()
    ones = torch.ones(1, model.d_model)
    model.readout(ones)
    forward = model.passes.forward
    monkeypatch.setattr(model.passes, "forward", lambda *args: forward(*args) * 2)
    model.readout(ones)  # compared before, and not again
    model.to("float64")
    with pytest.raises(RuntimeError, match="differ from the model's own"):
        model.readout(ones)


def test_a_wrapper_that_is_kept_with_its_model_notices(load: Load) -> None:
    bare = copy.deepcopy(load().model)
    kept = DepthModel.adopt(bare)
    assert kept is not None
    before = kept.info
    kept.to("float64")
    assert DepthModel.adopt(bare) is kept
    assert kept.info.dtype == "float64"
    DepthModel(bare).to("bfloat16")  # another wrapper of it
    assert DepthModel.adopt(bare) is kept
    assert kept.info.dtype == "bfloat16"
    # Who changed weights before the move is noticed in spite of it.
    narrow = kept.to("float32").info
    with torch.no_grad():
        next(bare.parameters()).mul_(2)
    kept.to("cpu")
    again = DepthModel.adopt(bare)
    assert again is not kept
    assert again is not None
    assert again.info.fingerprint not in (narrow.fingerprint, before.fingerprint)


def test_a_steered_model_is_moved_with_its_edits(load: Load) -> None:
    model = load()
    push = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)

    def noise(found: Tensor, source: Tensor | None) -> Tensor:
        return torch.randn(found.shape, generator=generator)

    with model.steer(polar.add(3.0), depths=[1], source=push) as steered:
        before = steered.logits(PROMPTS)
        steered.to("float64")
        torch.testing.assert_close(steered.logits(PROMPTS), before, atol=1e-4, rtol=1e-4)
        assert steered.info.dtype == "float64"
        assert steered.info.name.endswith("(steered)")
    assert not torch.allclose(model.logits(PROMPTS), before, atol=1e-2)
    with model.steer(noise, depths=3) as steered:  # no two passes would agree
        steered.to("float32").logits(PROMPTS)  # the readout is compared without


def test_a_move_waits_for_passes_at_work(load: Load) -> None:
    model = load()
    wanted = [model.logits(PROMPTS), model.to("float64").logits(PROMPTS)]
    model.to("float32")
    assert not wanted[0].equal(wanted[1])
    found: list[Any] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                found.append(model.logits(PROMPTS))
            except Exception as error:
                found.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            model.to("float64").to("float32")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert found
    assert all(any(isinstance(x, Tensor) and x.equal(w) for w in wanted) for x in found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("int8",), "'int8' names no device; use 'cpu', 'cuda', 'cuda:1' or 'mps'"),
        (("cuda:99",), "there is no device 'cuda:99' here; there is cpu"),
        (("meta",), "there is no device 'meta' here"),
        (
            (torch.int64,),
            "dtype must be one of float32, float16, bfloat16, float64, got 'torch.",
        ),
        (("cpu", "float33"), "dtype must be one of float32, float16, bfloat16, float64, got 'floa"),
        (("float64", "float32"), "'float64' is a dtype, and dtype names another one"),
        ((3,), "device must be a text, a device, a dtype or None, got the int 3"),
    ],
)
def test_a_move_to_nowhere_changes_nothing(load: Load, given: tuple[Any, ...], said: str) -> None:
    model = load()
    info, before = model.info, weights_of(model)
    with pytest.raises((TypeError, ValueError), match=re.escape(f"DepthModel.to: {said}")):
        model.to(*given)
    assert model.info == info
    assert all(weight.equal(before[name]) for name, weight in model.model.named_parameters())


def test_weights_beyond_the_range_are_told_before_any_is_cast(load: Load) -> None:
    model = load("gpt2")
    with torch.no_grad():
        list(model.model.parameters())[-1].view(-1)[0] = 70000.0
    before = weights_of(model)
    with pytest.raises(ValueError, match=r"weight '.*' holds numbers as large as 7e\+04\. float16"):
        model.to("float16")
    assert all(weight.equal(before[name]) for name, weight in model.model.named_parameters())
    assert model.to("bfloat16").dtype == torch.bfloat16


def test_a_move_that_fails_half_way_is_taken_back(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load()
    before, info = model.logits(PROMPTS), model.info
    plain, calls = torch.nn.Module.to, []

    def full(module: Any, *args: Any, **options: Any) -> Any:
        calls.append(plain(module, *args, **options))
        if len(calls) == 1:
            raise RuntimeError("CUDA out of memory.")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(
        ValueError, match=r"'llama' cannot be taken to torch\.float64: CUDA out of memory"
    ):
        model.to("float64")
    assert {w.dtype for w in model.model.parameters()} == {torch.float32}
    assert model.info == info
    assert model.logits(PROMPTS).equal(before)


def test_weights_made_in_inference_mode_stay_where_they_are(load: Load) -> None:
    made = copy.deepcopy(load().model)
    name, weight = next(iter(made.named_parameters()))
    with torch.inference_mode():
        owner = made.get_submodule(name.rpartition(".")[0])
        owner._parameters[name.rpartition(".")[2]] = torch.nn.Parameter(weight.clone())
    with pytest.raises(
        ValueError, match=r"DepthModel\.to: .* made inside torch\.inference_mode\(\)"
    ):
        DepthModel(made).to("float64")


def test_a_move_in_inference_mode_leaves_ordinary_weights(load: Load) -> None:
    model = load()
    with torch.inference_mode():
        model.to("float64")
    assert not any(weight.is_inference() for weight in model.model.parameters())
    with model.passes.differentiating("a test"):
        pass
