"""Configurations that their weight files cannot fill are refused before anything is built."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lensdepth.checkpoint import read_n_layers
from lensdepth.conversion import has_hooked_transformer
from lensdepth.model import load_model
from lensdepth.weight_files import Stored, count_blocks, is_adapter

Folder = Callable[[str], Path]


@pytest.fixture
def copy_of(model_folder: Folder, tmp_path: Path) -> Folder:
    return lambda architecture: Path(
        shutil.copytree(model_folder(architecture), tmp_path / "mine", dirs_exist_ok=True)
    )


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)


def configure(folder: Path, **sizes: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | sizes))
    return folder


def complaint(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    said = str(caught.value)
    assert said.startswith("load_model: ")
    assert "\n" not in said
    return said


def as_torch_file(folder: Path, *, zipped: bool = True) -> Path:
    weights = load_file(folder / "model.safetensors")
    file = folder / "pytorch_model.bin"
    torch.save(weights, file, _use_new_zipfile_serialization=zipped)
    (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("size", ["vocab_size", "hidden_size", "num_hidden_layers"])
@pytest.mark.parametrize("value", [100_000, 10**12, 0, -1, "3", None, 3.0, 1e30, [3]])
def test_sizes_that_the_files_do_not_hold(
    copy_of: Folder, architecture: str, size: str, value: Any
) -> None:
    gpt2 = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer"}
    called = gpt2.get(size, size) if architecture == "gpt2" else size
    folder = configure(copy_of(architecture), **{called: value})
    said = complaint(lambda: load_model(folder))
    assert called in said.replace(" ", "_")
    assert "'mine'" in said


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize("kind", ["safetensors", "zipped", "plain"])
def test_blocks_are_counted_in_every_kind_of_file(copy_of: Folder, kind: str) -> None:
    folder = copy_of("llama")
    if kind != "safetensors":
        as_torch_file(folder, zipped=kind == "zipped")
    assert read_n_layers(folder) == 3
    configure(folder, num_hidden_layers=100_000)
    for call in (load_model, read_n_layers):
        said = complaint(lambda call=call: call(folder))
        assert "num_hidden_layers as 100,000, its weights hold 3 blocks" in said


def test_fewer_blocks_than_the_files_hold_are_refused(copy_of: Folder) -> None:
    folder = configure(copy_of("llama"), num_hidden_layers=2)
    said = complaint(lambda: load_model(folder))
    assert "gives 2 blocks, its weights hold 'model.layers.2." in said


def test_the_shape_that_does_not_fit_is_named_with_the_sizes(copy_of: Folder) -> None:
    folder = configure(copy_of("llama"), intermediate_size=40)
    said = complaint(lambda: load_model(folder))
    assert "'model.layers.0.mlp.gate_proj.weight' of 'mine' has shape [40, 32] by its" in said
    assert "and [48, 32] in its weight files" in said


def test_torch_files_give_the_same_model(copy_of: Folder, model_folder: Folder) -> None:
    expected = load_model(model_folder("llama")).info.fingerprint
    assert load_model(as_torch_file(copy_of("llama"))).info.fingerprint == expected


def test_shards(copy_of: Folder, model_folder: Folder) -> None:
    folder = copy_of("llama")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    keys, files = sorted(weights), ("model-1.safetensors", "model-2.safetensors")
    parts = {files[0]: keys[:10], files[1]: keys[10:]}
    index = folder / "model.safetensors.index.json"
    listed = {key: file for file, part in parts.items() for key in part}
    index.write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    for file, part in parts.items():
        save_file({key: weights[key] for key in part}, folder / file, {"format": "pt"})
    expected = load_model(model_folder("llama")).info.fingerprint
    assert load_model(folder).info.fingerprint == expected

    save_file({key: weights[key] for key in keys[:11]}, folder / files[0], {"format": "pt"})
    assert f"two weight files of 'mine' hold '{keys[10]}'" in complaint(lambda: load_model(folder))
    (folder / files[0]).unlink()
    assert f"names '{files[0]}', which is not there" in complaint(lambda: load_model(folder))
    index.write_text("null")
    assert "has no 'weight_map' of names" in complaint(lambda: load_model(folder))


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.complex64])
def test_weights_that_are_no_plain_numbers(copy_of: Folder, dtype: torch.dtype) -> None:
    folder = copy_of("llama")
    weights = load_file(folder / "model.safetensors")
    packed = {k: w.to(dtype) for k, w in weights.items() if "up_proj" in k}
    save_file(weights | packed, folder / "model.safetensors", {"format": "pt"})
    said = complaint(lambda: load_model(folder))
    assert "3 weights of 'mine' are stored as" in said
    assert "the first 'model.layers.0.mlp.up_proj.weight'" in said


def test_names() -> None:
    one = Stored(shape=(1,), dtype="F32")
    assert count_blocks({"model.layers.11.mlp.experts.40.w": one, "lm_head.weight": one}) == 12
    assert count_blocks({"lm_head.weight": one}) == 0
    assert is_adapter("adapter_model.safetensors")
    assert is_adapter("pytorch_lora_weights.safetensors")
    assert not is_adapter("exploration.safetensors")


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize(
    "scale", ["query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"]
)
@pytest.mark.parametrize("value", [0, -1, 10**400, float("nan"), "3", True, [3]])
def test_scales_that_nothing_can_be_divided_by(copy_of: Folder, scale: str, value: Any) -> None:
    said = complaint(lambda: load_model(configure(copy_of("gemma2"), **{scale: value})))
    assert f"gives {scale} as " in said or "config of 'mine' cannot be read" in said


def test_values_that_only_hooked_transformer_needs(
    copy_of: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """transformers does not look at this one in a Llama."""
    rope = {"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": "x"}
    folder = configure(copy_of("llama"), rope_parameters=rope)
    assert load_model(folder).info.backend == "bridge"
    if has_hooked_transformer():
        assert "mine is on the bridge: its configuration gives no settings: inv" in caplog.text
