"""Weights that stay packed, and devices by a map: what is refused, and numbers where they can be
had."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from lensdepth import (
    DepthModel,
    checkpoint,
    load_model,
    load_task,
    logit_lens,
    packed,
    patch_sweep,
)
from lensdepth.devices import Spread, parse_device_map
from lensdepth.replay.copies import Unreplayable, unwrapped
from lensdepth.replay.ways import blocks_of

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quantize": "nf4", "backend": "hooked"}, "cannot hold 'tiny' packed; use backend="),
        ({"device_map": {"": "disk"}}, "puts the model on 'disk'; TransformerLens runs it on CUDA"),
        ({"device_map": {"model": "cpu", "lm_head": 0}}, "'cpu, cuda:0'; TransformerLens runs it"),
        ({"device_map": {"model": 0, "lm_head": 1}}, "there is no device 'cuda:"),
        ({"device_map": "auto", "device": "cpu"}, "device 'cpu' and device_map are both given"),
        ({"device_map": "balanced"}, "over CUDA devices, and there is none here"),
    ],
)
def test_what_cannot_be_is_said_before_weights_are_read(
    options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lensdepth.checkpoint._read_weights", None)
    with pytest.raises(ValueError) as refusal:
        load_model("tiny", **options)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_without_bitsandbytes_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'lensdepth\[bitsandbytes\]'"):
        load_model("tiny", quantize="nf4")


def test_a_map_of_one_device_is_that_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_model("tiny", device_map={"model": "cpu", "lm_head": "cpu"}).device.type == "cpu"
    assert parse_device_map(None, "cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda at: (at % 2, 8))  # most room on cuda:1
    assert parse_device_map(None, "auto") == torch.device("cuda:1")
    assert parse_device_map(None, {"": 2}) == torch.device("cuda:2")


@pytest.mark.parametrize("device_map", ["balanced", {"model": 0, "lm_head": "cuda:1"}])
def test_a_map_of_several_devices_reaches_transformers(
    monkeypatch: pytest.MonkeyPatch, device_map: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    asked: list[dict[str, Any]] = []

    def refuse(source: str, name: str, dtype: torch.dtype, options: dict[str, Any]) -> None:
        asked.append(options)
        raise ValueError("seen")

    monkeypatch.setattr("lensdepth.checkpoint._read_weights", refuse)
    with pytest.raises(ValueError, match="seen"):
        load_model("tiny", device_map=device_map)
    named = device_map if isinstance(device_map, str) else {"model": "cuda:0", "lm_head": "cuda:1"}
    assert asked[0]["device_map"] == named
    for options in ({"backend": "hooked"}, {"quantize": "nf4"}):
        with pytest.raises(ValueError, match=r"several devices needs the bridge|on one device"):
            load_model("tiny", device_map=device_map, **options)  # type: ignore[arg-type]
    assert len(asked) == 1


def test_the_engine_runs_what_accelerate_has_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import cpu_offload, dispatch_model

    own = checkpoint._read_weights
    places = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu"}

    def placed(source: str, name: str, dtype: torch.dtype, options: dict[str, Any]) -> Any:
        assert options.pop("device_map") == "balanced"
        hf_model = own(source, name, dtype, options)
        layers = {f"model.layers.{i}": "cpu" for i in range(len(hf_model.model.layers))}
        here: Any = "cpu"  # the word: a device of that name would mean offloading
        whole: Any = {**places, **layers, "lm_head": "cpu"}
        return dispatch_model(hf_model, whole, main_device=here, force_hooks=True)

    monkeypatch.setattr(checkpoint, "_read_weights", placed)
    monkeypatch.setattr(
        "lensdepth.loading.parse_device_map", lambda *_: Spread(device_map="balanced")
    )
    model = load_model("tiny", device_map="balanced")
    monkeypatch.undo()
    plain = load_model("tiny", backend="bridge")
    block = unwrapped(model.model.blocks[0])
    assert "forward" in vars(block)  # accelerate's
    task = load_task("months", plain, n=8)
    found = [patch_sweep(one, task, engine="replay").outcome.values for one in (model, plain)]
    torch.testing.assert_close(*found, equal_nan=True)
    assert model.info.fingerprint == plain.info.fingerprint
    # Weights that come and go are left to plain hooks.
    cpu_offload(block, execution_device=torch.device("cpu"))
    with pytest.raises(Unreplayable, match="its weights are offloaded"):
        blocks_of(model)


def test_nothing_is_differentiated_through_packed_weights(
    trained: DepthModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_task("months", trained, n=2)
    monkeypatch.setattr("lensdepth.patching.sweep.is_packed", lambda model: True)
    with pytest.raises(ValueError, match=r"gradients, and the weights of .* are kept packed"):
        patch_sweep(trained, task, method="attribution")


@needs_bitsandbytes
@pytest.mark.parametrize("quantize", ["int8", "nf4"])
def test_a_packed_model_is_measured_as_it_is(quantize: packed.Quantize) -> None:
    model = load_model("calendar", quantize=quantize)
    plain = load_model("calendar", backend="bridge")
    assert model.info.quantization.startswith(f"{quantize}, kept packed by bitsandbytes")
    assert model.info.packing == model.info.quantization
    assert model.info.fingerprint != plain.info.fingerprint
    sizes = [
        sum(p.numel() * p.element_size() for p in m.model.parameters()) for m in (model, plain)
    ]
    assert sizes[0] < sizes[1] / 2
    task = load_task("months", model, n=4)
    replayed, hooked = (
        patch_sweep(model, task, depths=[0, 7], controls=(), engine=engine)
        for engine in ("auto", "hooks")
    )
    assert (replayed.effects - hooked.effects).abs().max() < 0.02
    assert replayed.self_patch_error < 1e-3
    # Embedding and unembedding are plain: at depth L the lens is the model's own distribution.
    assert logit_lens(model, task).kl[-1].abs().max() < 1e-4
    with pytest.raises(ValueError, match="kept packed"):
        patch_sweep(model, task, method="attribution")
