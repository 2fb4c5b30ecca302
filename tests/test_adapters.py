"""Adapters beside the weights: merged as by hand, or refused; never left out in silence."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lensdepth.model import load_model
from lensdepth.provenance import Backend

Folder = Callable[[str], Path]
TARGETS = ("self_attn.q_proj", "mlp.up_proj")
SCALE = 6 / 4  # lora_alpha over r
PROMPT = "Two months from January is"


@pytest.fixture
def base(model_folder: Folder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "mine"))


def add_adapter(folder: Path, *, name: str = "adapter_model.safetensors") -> dict[str, Tensor]:
    """Write a LoRA as peft does, and give what it adds to each weight."""
    generator, low, added = torch.Generator().manual_seed(1), {}, {}
    for key, weight in load_file(folder / "model.safetensors").items():
        if key.removesuffix(".weight").endswith(TARGETS):
            n_out, n_in = weight.shape
            a = torch.randn(4, n_in, generator=generator)
            b = torch.randn(n_out, 4, generator=generator)
            part = "base_model.model." + key.removesuffix(".weight")
            low |= {f"{part}.lora_A.weight": a, f"{part}.lora_B.weight": b}
            added[key] = SCALE * b @ a
    about = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 6,
        "target_modules": [target.split(".")[1] for target in TARGETS],
        "base_model_name_or_path": "someone/base", "inference_mode": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(about))
    save_file(low, folder / name, {"format": "pt"})
    return added


def complaint(folder: Path) -> str:
    with pytest.raises(ValueError) as caught:
        load_model(folder)
    said = str(caught.value)
    assert said.startswith("load_model: ")
    assert "\n" not in said
    return said


def test_an_adapter_is_merged_as_by_hand(
    base: Path, tmp_path: Path, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    alone = load_model(base, backend=backend)
    added = add_adapter(base)
    assert len(added) == 6
    by_hand = Path(shutil.copytree(base, tmp_path / "by_hand"))
    for file in by_hand.glob("adapter_*"):
        file.unlink()
    weights = load_file(by_hand / "model.safetensors")
    weights |= {key: weights[key] + part for key, part in added.items()}
    save_file(weights, by_hand / "model.safetensors", {"format": "pt"})

    with caplog.at_level(logging.WARNING, logger="lensdepth"):
        adapted = load_model(base, backend=backend)
    assert caplog.text.count("an adapter stands beside its weights and is merged") == 1
    expected = load_model(by_hand, backend=backend).log_probs(PROMPT)
    torch.testing.assert_close(adapted.log_probs(PROMPT), expected, atol=1e-4, rtol=0)
    assert (adapted.log_probs(PROMPT) - alone.log_probs(PROMPT)).abs().max() > 0.1
    assert adapted.info.name == "mine"
    assert adapted.info.fingerprint != alone.info.fingerprint
    assert adapted.info.backend == backend


def test_without_peft_it_is_refused_before_weights_are_read(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_adapter(base)
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    said = complaint(base)
    assert "'mine' holds an adapter beside its weights, and merging it needs peft" in said
    assert "pip install 'lensdepth[peft]'" in said
    assert "take the adapter's files out" in said


def test_half_an_adapter_and_several_are_refused(base: Path) -> None:
    add_adapter(base)
    (base / "adapter_config.json").rename(base / "kept.json")
    assert "'adapter_model.safetensors' without adapter_config.json" in complaint(base)
    (base / "kept.json").rename(base / "adapter_config.json")
    (base / "adapter_model.bin").write_bytes(b"")
    assert "several adapters ('adapter_model.bin', 'adapter_model.saf" in complaint(base)
    (base / "adapter_model.bin").unlink()
    (base / "adapter_model.safetensors").rename(base / "pytorch_lora_weights.safetensors")
    assert "in a form that peft does not read" in complaint(base)
    (base / "pytorch_lora_weights.safetensors").unlink()
    assert "adapter_config.json without the adapter's weights" in complaint(base)


def test_an_adapter_that_does_not_fit_whole_is_refused(base: Path) -> None:
    add_adapter(base)
    file = base / "adapter_model.safetensors"
    whole = load_file(file)
    part = "base_model.model.model.layers.2.mlp.up_proj.lora_B.weight"
    save_file({key: low for key, low in whole.items() if key != part}, file, {"format": "pt"})
    assert f"the adapter of 'mine' lacks '{part}'" in complaint(base)
    other = part.replace("layers.2", "layers.7")
    save_file(whole | {other: torch.zeros(2)}, file, {"format": "pt"})
    assert f"holds what fits nowhere: '{other}'" in complaint(base)
    save_file(whole | {part: torch.zeros(2, 2)}, file, {"format": "pt"})
    assert "cannot be merged into its weights" in complaint(base)
    about = json.loads((base / "adapter_config.json").read_text())
    (base / "adapter_config.json").write_text(json.dumps(about | {"peft_type": "NEW"}))
    assert "cannot be merged into its weights" in complaint(base)
    (base / "adapter_config.json").write_text("null")
    assert "adapter_config.json of 'mine' must be an object" in complaint(base)


def test_an_adapter_that_changes_nothing_is_said(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = load_model(base).info.fingerprint
    add_adapter(base)
    file = base / "adapter_model.safetensors"
    fresh = {k: w * ("lora_A" in k) for k, w in load_file(file).items()}
    save_file(fresh, file, {"format": "pt"})
    with caplog.at_level(logging.WARNING, logger="lensdepth"):
        assert load_model(base).info.fingerprint == before
    assert "merged into them, which changes none of them" in caplog.text


def test_an_adapter_alone_is_told_what_to_do(base: Path) -> None:
    add_adapter(base)
    for file in base.iterdir():
        if not file.name.startswith("adapter"):
            file.unlink()
    said = complaint(base)
    assert "has no config.json. It holds an adapter of 'someone/base' alone" in said
    assert "merge_and_unload().save_pretrained" in said


def test_adapters_in_folders_below_are_not_read_and_that_is_said(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = load_model(base).info.fingerprint
    (base / "run-3").mkdir()
    (base / "run-3" / "adapter_config.json").write_text("{}")
    with caplog.at_level(logging.WARNING, logger="lensdepth"):
        assert load_model(base).info.fingerprint == before
    assert "the folder 'run-3' in it holds an adapter, which is not read" in caplog.text
