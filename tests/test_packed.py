"""Weights that stay packed, and devices by a map: what is refused, and numbers where they can be
had."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from lensdepth import DepthModel, load_model, load_task, logit_lens, packed, patch_sweep
from lensdepth.devices import parse_device_map

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"quantize": "nf4", "backend": "hooked"}, "cannot hold 'tiny' packed; use backend="),
        ({"device_map": {"": "disk"}}, "puts the model on 'disk'; it is run on one device"),
        ({"device_map": {"model": "cpu", "lm_head": 0}}, "'cpu, cuda:0'; it is run on one device"),
        ({"device_map": "auto", "device": "cpu"}, "device 'cpu' and device_map are both given"),
        ({"device_map": "balanced"}, "'balanced' names no device"),
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
