"""What stands beside the weights has no say, or is refused, or is said aloud."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lensdepth.model import load_model

Folder = Callable[[str], Path]
PROMPT = "Two months from January is"


@pytest.fixture
def folder(model_folder: Folder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "mine"))


def configure(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def add_weights(folder: Path, added: dict[str, torch.Tensor]) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(weights | added, folder / "model.safetensors", {"format": "pt"})


def heard(folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is said while the model loads."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="lensdepth"):
        load_model(folder)
    return [r.getMessage() for r in caplog.records if r.name.startswith("lensdepth")]


def complaint(folder: Path, **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        load_model(folder, **options)
    said = str(caught.value)
    assert said.startswith("load_model: ")
    assert "\n" not in said
    return said


def test_of_a_plain_folder_nothing_is_said(
    model_folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    for architecture in ("llama", "gpt2", "gemma2", "qwen2"):
        assert heard(model_folder(architecture), caplog) == []


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "null",
        '{"do_sample": true, "temperature": 9.0, "max_new_tokens": 0, "eos_token_id": 3}',
        '{"temperature": -1, "top_k": "x", "suppress_tokens": [0, 1, 2, 3]}',
    ],
)
def test_generation_config_has_no_say(
    folder: Path, model_folder: Folder, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    plain = load_model(model_folder("llama"))
    (folder / "generation_config.json").write_text(text)
    assert heard(folder, caplog) == []
    model = load_model(folder)
    assert model.info.fingerprint == plain.info.fingerprint
    assert torch.equal(model.logits(PROMPT), plain.logits(PROMPT))
    assert model.generate(PROMPT, max_new_tokens=4) == plain.generate(PROMPT, max_new_tokens=4)


@pytest.mark.parametrize("said", [{"quant_method": "bitsandbytes"}, {"quant_method": "new"}, {}])
def test_quantised_models_are_refused_before_their_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    configure(folder, quantization_config=said)
    assert "'mine' is quantised" in complaint(folder)
    assert "plain floating-point weights" in complaint(folder)


def test_code_that_is_not_run_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    configure(folder, auto_map={"AutoModelForCausalLM": "modeling.Mine"})
    (folder / "modeling.py").write_text("raise AssertionError('this was run')")
    assert heard(folder, caplog) == [
        "mine: code for its model comes with it and is not run, transformers' own is. "
        "trust_remote_code=True runs it."
    ]
    about = json.loads((folder / "tokenizer_config.json").read_text())
    about["auto_map"] = {"AutoTokenizer": ["modeling.Mine", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    assert "code for its tokenizer comes with it" in heard(folder, caplog)[1]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ZeroDivisionError('oops')", "ZeroDivisionError: oops"),
        ("import sys\nsys.exit(3)", "code that comes with it called for an exit"),
        ("import no_such_package_here", "no_such_package_here"),
        ("def f(:", "SyntaxError"),
        ("class Mine: pass", "AttributeError"),
    ],
)
def test_code_that_fails_is_one_line(folder: Path, code: str, says: str) -> None:
    configure(folder, auto_map={"AutoModelForCausalLM": "modeling.Mine"})
    (folder / "modeling.py").write_text(code)
    assert says in complaint(folder, trust_remote_code=True)


def test_weight_files_that_are_not_read_are_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(folder / "model.safetensors", folder / "pytorch_model.bin")
    assert heard(folder, caplog) == [
        "mine: of its weight files 'model.safetensors' is read, 'pytorch_model.bin' is not."
    ]
    (folder / "mine.Q4.gguf").write_bytes(b"")
    (folder / "training_args.bin").write_bytes(b"")
    said = heard(folder, caplog)
    assert said[0].endswith("is read, 'mine.Q4.gguf' and 1 more are not.")


def test_weights_without_a_place_are_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"model.layers.{i}.self_attn.q_proj.bias" for i in range(3)]
    add_weights(folder, {name: torch.ones(32) for name in names})
    said = heard(folder, caplog)
    assert len(said) == 1
    assert "3 of the weights in its files are not used" in said[0]
    assert f"LlamaForCausalLM has no place for them; the first is '{names[0]}'" in said[0]


def test_an_unembedding_that_should_be_tied_and_is_not(
    model_folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(model_folder("gpt2"), tmp_path / "mine"))
    embedding = load_file(folder / "model.safetensors")["transformer.wte.weight"]
    add_weights(folder, {"lm_head.weight": embedding.clone()})
    assert heard(folder, caplog) == []
    add_weights(folder, {"lm_head.weight": embedding.roll(1, 0).contiguous()})
    said = heard(folder, caplog)
    assert len(said) == 1
    assert "ties unembedding and embedding, its files hold two different ones" in said[0]


def test_an_architecture_that_the_config_names_beside_its_kind(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configure(folder, architectures=["MistralForCausalLM"])
    said = "mine: its config names the architecture 'MistralForCausalLM'; it is read as Llama"
    assert heard(folder, caplog)[0].startswith(said)


def test_vocabularies_that_contradict(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "vocab.json").write_text('{"<unk>": 0, "Two": 3}')
    said = heard(folder, caplog)
    assert len(said) == 1
    assert "1 tokens of its vocab.json have other ids" in said[0]
    assert "the first 'Two'" in said[0]
    (folder / "vocab.json").unlink()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["beyond"] = len(tokenizer["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    said = heard(folder, caplog)
    assert len(said) == 1
    assert "a prompt with one beyond is refused" in said[0]
    with pytest.raises(ValueError, match=r"token id .* is out of range"):
        load_model(folder).tokenize("beyond")
