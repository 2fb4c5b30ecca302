"""Model folders: a damaged one is refused, or says of itself that it is another, or is the same.

What stands beside the weights and has no say changes no number; damage to the tokenizer changes no
logits of given token ids; damage to weights or configuration shows in its fingerprint.
"""

import json
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import architectures
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from fuzz.damage import Absent, Other, as_json, changes, damaged, wounds
from fuzz.judge import Refused, inputs, judged
from lensdepth.conversion import BackendChoice
from lensdepth.model import load_model
from lensdepth.provenance import ModelInfo

ARCHITECTURES = ("llama", "gpt2", "gemma2", "gpt_neox")
PROMPT = "Two months from January is"
BACKENDS = st.sampled_from(("auto", "bridge"))
NAMES = (
    "quantization_config", "auto_map", "rope_scaling", "transformers_weights", "text_config",
    "architectures", "model_type", "tokenizer_class", "attn_implementation", "_name_or_path",
    "dtype", "tie_word_embeddings", "is_decoder", "num_labels", "chat_template",
    "added_tokens_decoder",
)  # fmt: skip
VALUES = st.sampled_from(
    ("mistral", "gpt2", "bert", "float16", "yarn", "dynamic", "linear", "relu", "model.safetensors",
     "BPE", "Unigram", "GPT2Tokenizer", "sliding_attention", [32, 32], {"rope_type": "linear"})
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Saved:
    """A model folder, and what the model in it says and does."""

    folder: Path
    info: dict[str, ModelInfo]
    ids: list[int]
    logits: dict[str, Tensor]

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def _ran(folder: Path, backend: BackendChoice, ids: list[int]) -> tuple[ModelInfo, Tensor]:
    """What a model says of itself, and its logits; its tokenizer is used and may refuse."""
    model = load_model(folder, backend=backend, name="mine")
    model.str_tokens(PROMPT)
    return model.info, model.logits([ids])


@cache
def _base(root: Path, architecture: str, *, adapter: bool = False) -> Saved:
    folder = architectures.build(architecture, root / f"{architecture}{'+' * adapter}")
    if adapter:
        _add_adapter(folder)
    ids = load_model(folder).tokenize(PROMPT).row(0)
    ran = {backend: _ran(folder, backend, ids) for backend in ("auto", "bridge")}
    return Saved(
        folder=folder,
        info={backend: info for backend, (info, _) in ran.items()},
        ids=ids,
        logits={backend: logits for backend, (_, logits) in ran.items()},
    )


def _add_adapter(folder: Path) -> None:
    """A LoRA of two matrices in every block, as peft writes it."""
    generator, low = torch.Generator().manual_seed(1), {}
    for key, weight in load_file(folder / "model.safetensors").items():
        if key.endswith(("q_proj.weight", "up_proj.weight")):
            part = f"base_model.model.{key.removesuffix('.weight')}"
            n_out, n_in = weight.shape
            low[f"{part}.lora_A.weight"] = torch.randn(4, n_in, generator=generator)
            low[f"{part}.lora_B.weight"] = torch.randn(n_out, 4, generator=generator)
    (folder / "adapter_config.json").write_bytes(as_json(ADAPTER))
    save_file(low, folder / "adapter_model.safetensors", {"format": "pt"})


ADAPTER = {
    "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 6,
    "target_modules": ["q_proj", "up_proj"], "base_model_name_or_path": "someone/base",
    "inference_mode": True, "lora_dropout": 0.0, "fan_in_fan_out": False, "bias": "none",
    "use_rslora": False, "modules_to_save": None, "layers_to_transform": None, "rank_pattern": {},
    "alpha_pattern": {}, "use_dora": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("models")
    _base.cache_clear()
    _otherwise.cache_clear()


def outcome(saved: Saved, changed: dict[str, bytes | None], backend: BackendChoice) -> str:
    """`refused`, `shown` or `same`: what a copy with these files, or without them, comes to.

    Anything else, `silent`, is another model that says that it is this one.
    """
    with TemporaryDirectory(dir=saved.folder.parent) as place:
        folder = Path(place) / "mine"
        shutil.copytree(saved.folder, folder, copy_function=os.link)
        for name, content in changed.items():
            (folder / name).unlink(missing_ok=True)
            if content is not None:
                (folder / name).write_bytes(content)
        found = judged(lambda: _ran(folder, backend, saved.ids))
    if isinstance(found, Refused):
        return "refused"
    info, logits = found
    if info != saved.info[backend]:
        return "shown"
    # Weights that begin elsewhere in memory, after a longer header, are rounded in another order.
    near = torch.allclose(logits, saved.logits[backend], rtol=1e-5, atol=1e-5)
    return "same" if near else "silent"


@pytest.mark.parametrize("architecture", ARCHITECTURES[:2])
def test_undamaged_copies_are_the_same(root: Path, architecture: str) -> None:
    saved = _base(root, architecture)
    old, index = _otherwise(saved)
    whole, gone = saved.file("model.safetensors"), {"model.safetensors": None}
    in_parts = gone | {"model.safetensors.index.json": index, "part.safetensors": whole}
    for changed in ({}, gone | {"pytorch_model.bin": old}, in_parts):
        assert outcome(saved, changed, "auto") == "same"


def injured(data: st.DataObject, content: bytes) -> bytes:
    """A JSON file with other bytes or other values."""
    whole = json.loads(content)
    if data.draw(st.integers(0, 3)) == 0:
        return damaged(content, data.draw(wounds(content)))
    if data.draw(st.booleans()):
        return as_json(damaged(whole, data.draw(changes(whole, NAMES))))
    key = data.draw(st.sampled_from([*whole, *NAMES]))
    way = st.just(Absent((key,))) | st.builds(Other, st.just((key,)), VALUES)
    return as_json(damaged(whole, [data.draw(way)]))


@given(architecture=st.sampled_from(ARCHITECTURES), backend=BACKENDS, data=st.data())
@inputs(few=20, of_20_000=750)
def test_a_damaged_config(
    root: Path, architecture: str, backend: BackendChoice, data: st.DataObject
) -> None:
    saved = _base(root, architecture)
    config = injured(data, saved.file("config.json"))
    assert outcome(saved, {"config.json": config}, backend) != "silent"


@given(
    architecture=st.sampled_from(ARCHITECTURES),
    backend=BACKENDS,
    name=st.sampled_from(("tokenizer.json", "tokenizer_config.json")),
    data=st.data(),
)
@inputs(few=12, of_20_000=600)
def test_a_damaged_tokenizer(
    root: Path, architecture: str, backend: BackendChoice, name: str, data: st.DataObject
) -> None:
    saved = _base(root, architecture)
    assert outcome(saved, {name: injured(data, saved.file(name))}, backend) != "silent"


@cache
def _otherwise(saved: Saved) -> tuple[bytes, bytes]:
    """The same weights as torch saves them, and an index of files that names one."""
    weights, buffer = load_file(saved.folder / "model.safetensors"), BytesIO()
    torch.save(weights, buffer)
    index = {
        "metadata": {"total_size": 1},
        "weight_map": dict.fromkeys(weights, "part.safetensors"),
    }
    return buffer.getvalue(), as_json(index)


@given(
    architecture=st.sampled_from(ARCHITECTURES[:2]),
    backend=BACKENDS,
    is_index=st.booleans(),
    data=st.data(),
)
@inputs(few=6, of_20_000=250)
def test_damaged_weights_in_other_forms(
    root: Path, architecture: str, backend: BackendChoice, is_index: bool, data: st.DataObject
) -> None:
    saved = _base(root, architecture)
    old, index = _otherwise(saved)
    changed: dict[str, bytes | None] = {"model.safetensors": None}
    if is_index:
        changed["part.safetensors"] = saved.file("model.safetensors")
        changed["model.safetensors.index.json"] = injured(data, index)
    else:
        changed["pytorch_model.bin"] = damaged(old, data.draw(wounds(old)))
    assert outcome(saved, changed, backend) != "silent"


@given(architecture=st.sampled_from(ARCHITECTURES), backend=BACKENDS, data=st.data())
@inputs(few=10, of_20_000=300)
def test_damaged_weights(
    root: Path, architecture: str, backend: BackendChoice, data: st.DataObject
) -> None:
    saved = _base(root, architecture)
    weights = saved.file("model.safetensors")
    if data.draw(st.booleans()):
        weights = damaged(weights, data.draw(wounds(weights)))
    else:
        n = struct.unpack("<Q", weights[:8])[0]
        header = json.loads(weights[8 : 8 + n])
        header = as_json(damaged(header, data.draw(changes(header, ("lm_head.weight", "I32")))))
        weights = struct.pack("<Q", len(header)) + header + weights[8 + n :]
    assert outcome(saved, {"model.safetensors": weights}, backend) != "silent"


@given(
    backend=BACKENDS,
    name=st.sampled_from(("adapter_config.json", "adapter_model.safetensors")),
    data=st.data(),
)
@inputs(few=8, of_20_000=300)
def test_a_damaged_adapter(
    root: Path, backend: BackendChoice, name: str, data: st.DataObject
) -> None:
    saved = _base(root, "llama", adapter=True)
    content = saved.file(name)
    if name.endswith("json"):
        content = injured(data, content)
    else:
        content = damaged(content, data.draw(wounds(content)))
    assert outcome(saved, {name: content}, backend) != "silent"


@given(
    architecture=st.sampled_from(ARCHITECTURES),
    name=st.sampled_from(("generation_config.json", "README.md", "chat_template.jinja", ".cache")),
    data=st.data(),
)
@inputs(few=6, of_20_000=150)
def test_what_has_no_say_changes_nothing(
    root: Path, architecture: str, name: str, data: st.DataObject
) -> None:
    saved = _base(root, architecture)
    found = outcome(saved, {name: injured(data, saved.file("generation_config.json"))}, "auto")
    # A chat template that is no text belongs to no tokenizer that can be read.
    assert found == "same" or (found == "refused" and name == "chat_template.jinja")


@given(
    architecture=st.sampled_from(ARCHITECTURES),
    backend=BACKENDS,
    data=st.data(),
)
@inputs(few=6, of_20_000=150)
def test_files_gone_and_under_each_others_names(
    root: Path, architecture: str, backend: BackendChoice, data: st.DataObject
) -> None:
    saved = _base(root, architecture)
    names = sorted(path.name for path in saved.folder.iterdir())
    first, second = (data.draw(st.sampled_from(names)) for _ in range(2))
    gone: dict[str, bytes | None] = {second: None}
    changed = gone if first == second else gone | {first: saved.file(second)}
    assert outcome(saved, changed, backend) != "silent"
