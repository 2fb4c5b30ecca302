import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from lensdepth import checkpoint, conversion, fingerprints, sources
from lensdepth.conversion import has_hooked_transformer
from lensdepth.model import DepthModel, load_model

Folder = Callable[[str], Path]


@pytest.fixture
def folder(model_folder: Folder, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may damage."""
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "mine"))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def complaint(*args: Any, **options: Any) -> str:
    """What load_model says: one line."""
    with pytest.raises(ValueError) as caught:
        load_model(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("load_model: ")
    return message


@pytest.fixture
def no_weights_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some errors must come before any weights are read."""

    def fail(*_args: Any, **_options: Any) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(folder: Path, value: float) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    change_weights(folder, lambda weights: weights[name][2, 3:5].fill_(value))
    said = complaint(folder)
    assert f"2 of 1536 weights of '{name}' in 'mine' are NaN or infinite" in said


def test_weights_that_a_dtype_cannot_hold_are_named(folder: Path) -> None:
    change_weights(folder, lambda weights: weights["model.norm.weight"].fill_(1e5))
    assert "32 of 32 weights of 'model.norm.weight'" in complaint(folder, dtype="float16")


def test_missing_weights_are_not_left_random(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("model.layers.2.mlp.up_proj.weight"))
    assert "the weights of 'mine' lack 'model.layers.2.mlp.up_proj.weight'" in complaint(folder)


def test_damaged_files_are_one_readable_line(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "the weights of 'mine' cannot be read" in complaint(folder)
    (folder / "model.safetensors").unlink()
    assert "the weights of 'mine' cannot be read" in complaint(folder)
    (folder / "config.json").write_text("{")
    assert "the config of 'mine' cannot be read" in complaint(folder)
    (folder / "config.json").unlink()
    assert "has no config.json" in complaint(folder)


def test_weights_of_other_shapes_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 40}))
    complaint(folder)


@pytest.mark.usefixtures("no_weights_read")
def test_a_folder_without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert "the folder of 'mine' has no tokenizer" in complaint(folder)


def test_a_tokenizer_is_the_one_in_its_file(model_folder: Folder) -> None:
    # transformers 5 would make a Qwen2 tokenizer of its own out of this folder's vocabulary.
    model = load_model(model_folder("qwen2"), backend="bridge")
    assert model.str_tokens("Two months") == ["<bos>", "Two", "months"]


@pytest.mark.usefixtures("no_weights_read")
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("t5", "is an encoder-decoder"),
        ("bart", "is an encoder-decoder"),
        ("bert", "reads in both directions"),
        ("roberta", "reads in both directions"),
        ("distilbert", "reads in both directions"),
        ("vit", "is not a causal language model"),
    ],
)
def test_other_architectures_are_refused_before_their_weights(
    tmp_path: Path, kind: str, says: str
) -> None:
    AutoConfig.for_model(kind).save_pretrained(tmp_path / "other")
    said = complaint(tmp_path / "other")
    assert says in said
    assert "needs a causal decoder" in said


def test_a_model_that_looks_ahead_is_refused() -> None:
    logits = torch.randn(2, 8, 20)
    with pytest.raises(ValueError, match="'odd' is not causal"):
        conversion._check_reference(logits, "odd")
    logits[1, :-1] = logits[0, :-1]
    conversion._check_reference(logits, "odd")


@pytest.mark.usefixtures("no_weights_read")
def test_unknown_names_offer_the_nearest(
    model_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "reachable", lambda source: False)
    assert "Did you mean" in complaint("gpt-2")
    assert "'gpt2'" in complaint("gpt-2")
    mistyped = model_folder("llama").parent / "lama"
    assert f"there is no folder '{mistyped}'" in complaint(mistyped)
    assert str(model_folder("llama")) in complaint(mistyped)
    monkeypatch.setattr(sources, "bundled_names", lambda: ("calendar", "tiny"))
    said = complaint("calender")
    assert "Did you mean 'calendar'" in said
    assert "hub cannot be reached" in said
    assert "Bundled models: calendar, tiny; 'lensdepth fetch'" in complaint("xqzw_0000_xqzw")
    assert "give a name or a folder" in complaint("")


def test_without_a_network_the_answer_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr(sources, "getproxies", dict)
    assert "hub cannot be reached" in complaint("somebody/some-model-that-is-not-here")


@pytest.mark.usefixtures("no_weights_read")
@pytest.mark.parametrize("device", ["cuda:99", "mps:7", "tpu", "cpu:zero", "meta"])
def test_a_device_that_is_not_there(model_folder: Folder, device: str) -> None:
    if device.startswith("mps") and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    said = complaint(model_folder("llama"), device=device)
    assert "no device" in said
    assert "cpu" in said


@pytest.mark.usefixtures("no_weights_read")
def test_wrong_options(model_folder: Folder) -> None:
    llama = model_folder("llama")
    assert "dtype must be one of float32, float16" in complaint(llama, dtype="int8")
    assert "dtype must be one of" in complaint(llama, dtype=torch.int64)
    with pytest.raises(Exception, match="backend"):
        load_model(llama, backend="both")  # type: ignore[arg-type]


def test_auto_takes_the_hooked_transformer_where_there_is_one(model_folder: Folder) -> None:
    expected = "hooked" if has_hooked_transformer() else "bridge"
    assert load_model(model_folder("llama")).info.backend == expected


def test_a_conversion_that_gives_other_numbers_is_not_used(
    model_folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not has_hooked_transformer():
        assert "has no HookedTransformer" in complaint(model_folder("llama"), backend="hooked")
        return
    right = conversion._hooked_settings
    monkeypatch.setattr(
        conversion, "_hooked_settings", lambda model: {**right(model), "rotary_base": 100.0}
    )
    said = complaint(model_folder("llama"), backend="hooked")
    assert re.search(r"logits differ from Hugging Face's by .* Use backend='bridge'", said)
    with caplog.at_level(logging.WARNING, logger="lensdepth"):
        assert load_model(model_folder("llama")).info.backend == "bridge"
    assert "llama is on the bridge: its logits differ" in caplog.text


def test_names_of_folders_do_not_matter(model_folder: Folder, tmp_path: Path, backend: str) -> None:
    # TransformerLens guesses architectures from names.
    for name in ("llama-7b", "gemma-2-2b", "bert"):
        copied = shutil.copytree(model_folder("gpt2"), tmp_path / name)
        info = load_model(copied, backend=backend).info  # type: ignore[arg-type]
        assert info.architecture == "GPT2LMHeadModel"
        assert info.name == name


def test_fingerprint_is_exact() -> None:
    weights = {"a": torch.randn(5, 7), "b": torch.randn(3).to(torch.bfloat16)}
    first = checkpoint.fingerprint(weights)
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert checkpoint.fingerprint(dict(reversed(weights.items()))) == first
    assert checkpoint.fingerprint({"a": weights["a"].T.contiguous().T, "b": weights["b"]}) == first
    flat = torch.cat([torch.zeros(1), weights["a"].flatten()])[1:].view(5, 7)  # not aligned
    assert checkpoint.fingerprint({"a": flat, "b": weights["b"]}) == first
    for key, weight in weights.items():
        for i in range(weight.numel()):
            other = weight.clone()
            other.view(-1)[i] += 0.5
            assert checkpoint.fingerprint({**weights, key: other}) != first
    swapped = weights["a"].clone().view(-1)
    swapped[[0, 9]] = swapped[[9, 0]]
    assert checkpoint.fingerprint({"a": swapped.view(5, 7), "b": weights["b"]}) != first
    assert checkpoint.fingerprint({"c": weights["a"], "b": weights["b"]}) != first
    assert checkpoint.fingerprint({"a": weights["a"].view(7, 5), "b": weights["b"]}) != first


def test_chunks_do_not_change_the_sum() -> None:
    weight = torch.randn(101)
    assert fingerprints._sum_bits(weight, chunk=4) == fingerprints._sum_bits(weight)


def test_architectures_differ_from_their_defaults() -> None:
    """The tiny models hold what makes conversions go wrong."""
    assert architectures.CONFIGS["mistral"]().sliding_window < len(architectures.PROMPTS[2].split())
    assert architectures.CONFIGS["gemma2"]().query_pre_attn_scalar != 12


# ---------------------------------------------------------------- one boundary, and names


def fail_with(error: BaseException) -> Callable[..., Any]:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    "function",
    [
        "checkpoint.check_causal",
        "beside.check_shapes",
        "checkpoint.fingerprint",
        "conversion._probe",
    ],
)
def test_our_own_faults_stay_faults(
    folder: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setattr(f"lensdepth.{function}", fail_with(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError, match="ours"):
        load_model(folder)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        ("transformers.AutoConfig.from_pretrained", "config"),
        ("transformers.PreTrainedTokenizerFast.from_pretrained", "tokenizer"),
        ("transformers.AutoModelForCausalLM.from_config", "config"),
        ("transformers.AutoModelForCausalLM.from_pretrained", "weights"),
        ("safetensors.safe_open", "weights"),
    ],
)
@pytest.mark.parametrize("kind", [ZeroDivisionError, ImportError, RecursionError])
def test_whatever_a_library_raises_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, part: str, kind: type[Exception]
) -> None:
    error = kind("theirs")  # a new one, for an error keeps the frames that it has been through
    monkeypatch.setattr(call, fail_with(error))
    with pytest.raises(ValueError, match=rf"^load_model: the {part} of 'mine' .*theirs") as caught:
        load_model(folder)
    assert caught.value.__cause__ is error


def test_what_a_backend_raises_means_that_it_cannot_hold_the_model(
    model_folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    boot = "transformer_lens.model_bridge.TransformerBridge.boot_transformers"
    with monkeypatch.context() as patched:
        patched.setattr(boot, fail_with(ZeroDivisionError("theirs")))
        said = complaint(model_folder("llama"), backend="bridge")
        assert "TransformerBridge cannot hold 'llama'" in said
        assert "ZeroDivisionError: theirs" in said
        patched.setattr(boot, fail_with(MemoryError()))
        said = complaint(model_folder("llama"), backend="bridge")
        assert "not enough memory for the weights of a TransformerBridge" in said
    if not has_hooked_transformer():
        return
    made = import_module("transformer_lens.HookedTransformer").HookedTransformer
    monkeypatch.setattr(made, "fill_missing_keys", fail_with(ZeroDivisionError("theirs")))
    with caplog.at_level(logging.WARNING, logger="lensdepth"):
        assert load_model(model_folder("llama")).info.backend == "bridge"
    assert "llama is on the bridge: TransformerLens said: ZeroDivisionError" in caplog.text
    full = fail_with(torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setattr(made, "fill_missing_keys", full)
    assert "backend='bridge', which copies none" in complaint(model_folder("llama"))


def test_a_context_without_end_is_no_memory(model_folder: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder("llama"), tmp_path / "mine"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "max_position_embeddings": 2**31 - 1})
    )
    assert load_model(folder).info.backend == "bridge"
    if has_hooked_transformer():
        assert "GiB of rotary tables" in complaint(folder, backend="hooked")


@pytest.mark.usefixtures("no_weights_read")
@pytest.mark.parametrize(
    "name", ["x" * 10_000, "a\0b", "./a\x1b[2J\n", "\ud800", "owner/a b", "~nobody-here/x", "-"]
)
def test_no_name_is_too_odd_to_be_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(checkpoint, "reachable", lambda source: False)
    said = complaint(name)
    assert said.isprintable()
    assert len(said) < 800


@pytest.mark.usefixtures("no_weights_read")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_pipe_among_the_files_does_not_hang(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert f"'{name}' in 'mine' is a pipe or a device" in complaint(folder)


def test_a_tokenizer_that_contradicts_itself_is_refused(folder: Path) -> None:
    about = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**about, "unk_token": ""}))
    assert "the tokenizer of 'mine' cannot be used: maximum recursion" in complaint(folder)
    (folder / "tokenizer_config.json").write_text("[]")
    assert "the tokenizer_config.json of 'mine' must hold an object" in complaint(folder)


def test_text_that_no_tokenizer_takes_is_named(model_folder: Folder) -> None:
    model = load_model(model_folder("llama"), backend="bridge")
    with pytest.raises(ValueError, match=r"tokenize: prompt 1, '.*ud800.*', cannot be tokenized"):
        model.tokenize(["Two months", "half \ud800"])


def hub_cache(root: Path, name: str, folder: Path) -> Path:
    """A folder as if it had been fetched from the hub."""
    repository = root / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    return Path(shutil.copytree(folder, repository / "snapshots" / ("a" * 40)))


def test_names_on_the_hub_are_looked_at_as_folders_are(
    model_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("huggingface_hub.constants", "huggingface_hub.file_download"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(checkpoint, "reachable", lambda source: False)
    hub_cache(tmp_path, "someone/toy", model_folder("llama"))
    info = load_model("someone/toy").info
    assert info.name == "someone/toy"
    assert info.fingerprint == load_model(model_folder("llama")).info.fingerprint
    deep = hub_cache(tmp_path, "someone/deep", model_folder("llama"))
    config = json.loads((deep / "config.json").read_text())
    (deep / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 100_000}))
    assert "its weights hold 3 blocks" in complaint("someone/deep")
    alone = hub_cache(tmp_path, "someone/lora", model_folder("llama"))
    for file in alone.iterdir():
        file.unlink()
    (alone / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/toy"}')
    assert "It holds an adapter of 'someone/toy' alone" in complaint("someone/lora")


@pytest.mark.parametrize(
    ("architecture", "key", "value"),
    [
        ("llama", "rope_parameters", {"rope_type": "default", "rope_theta": 500.0}),
        ("llama", "rms_norm_eps", 1e-3),
        ("gemma2", "final_logit_softcapping", 2.0),
        ("gpt_neox", "use_parallel_residual", False),
        ("gpt2", "activation_function", "relu"),
    ],
)
def test_what_weights_do_not_show_has_a_fingerprint(
    tmp_path: Path, model_folder: Callable[[str], Path], architecture: str, key: str, value: object
) -> None:
    folder = shutil.copytree(model_folder(architecture), tmp_path / "model")
    before = load_model(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    after = load_model(folder)
    assert before.info.fingerprint == after.info.fingerprint
    assert before.info.tokenizer == after.info.tokenizer
    assert before.info.configuration != after.info.configuration
    assert not torch.equal(before.logits(["Two months"]), after.logits(["Two months"]))
    both = [DepthModel(model.model).info.configuration for model in (before, after)]
    assert both[0] != both[1]


def test_a_tokenizer_has_a_fingerprint(tmp_path: Path, model_folder: Callable[[str], Path]) -> None:
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    before = load_model(folder)
    known = before.info.tokenizer
    before.tokenize(["Two", "Two months from January"])  # padding is no other tokenizer
    assert DepthModel(before.model, tokenizer=before.tokenizer).info.tokenizer == known
    whole = json.loads((folder / "tokenizer.json").read_text())
    vocab = whole["model"]["vocab"]
    first, second = list(vocab)[-2:]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    assert load_model(folder).info.tokenizer != known
    assert len(known) == 16


def test_a_tokenizer_counts_no_further_than_models_do(folder: Path) -> None:
    """Copying it would go through two billion ids, and take the memory for them."""
    whole = json.loads((folder / "tokenizer.json").read_text())
    whole["model"]["vocab"]["<eos>"] = 2**31
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    assert "gives '<eos>' the id 2147483648, which no model has" in complaint(folder)


def test_a_padding_token_is_a_token_as_any_other(
    model_folder: Folder, tmp_path: Path, backend: str
) -> None:
    """Gemma pads on the left with its token 0, which TransformerLens takes for none there."""
    folder = Path(shutil.copytree(model_folder("gemma3"), tmp_path / "gemma"))
    about = json.loads((folder / "tokenizer_config.json").read_text())
    for bos in ({"bos_token": "<bos>"}, {"bos_token": None}):
        changed = {**about, **bos, "pad_token": "<unk>", "padding_side": "left"}
        (folder / "tokenizer_config.json").write_text(json.dumps(changed))
        model = load_model(folder, backend=backend)  # type: ignore[arg-type]
        assert model.tokenizer.padding_side == "left"
        assert model.tokenizer.pad_token_id == 0
        tokens = torch.tensor([[0, 5, 9, 0, 7], [0, 0, 0, 3, 4]])
        hf_model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
        with torch.no_grad():
            wanted = hf_model(tokens).logits
        assert (model.logits(tokens, "all") - wanted).abs().max() < 1e-4


@pytest.mark.skipif(not has_hooked_transformer(), reason="TransformerLens 4 has no such class")
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2", "phi3"])
def test_weights_are_taken_over_where_they_lie(model_folder: Folder, architecture: str) -> None:
    folder = model_folder(architecture)
    read = checkpoint.load_checkpoint(folder, device=torch.device("cpu"), dtype=torch.float32)
    theirs = {w.untyped_storage().data_ptr() for w in read.hf_model.parameters()}
    model, _ = conversion.convert(read, "hooked", torch.float32)
    apart = {"embed.W_E", "unembed.W_U"}
    copied = {
        name
        for name, weight in model.named_parameters()
        if weight.ndim > 1
        and not name.rpartition(".")[2].lstrip("_").startswith("b_")
        and weight.untyped_storage().data_ptr() not in theirs
    }
    assert copied <= apart
    ours = dict(model.named_parameters())
    assert ours["embed.W_E"].data_ptr() != ours["unembed.W_U"].data_ptr()
    # What TransformerLens does in place to one weight must leave the others alone.
    before = {name: weight.detach().clone() for name, weight in ours.items()}
    with torch.no_grad():
        for name, weight in ours.items():
            weight.add_(1.0)
            assert torch.equal(weight, before[name] + 1), name


def test_a_lent_tokenizer_leaves_the_model_s_own_as_it_is(
    model_folder: Folder, backend: str
) -> None:
    for architecture in ("llama", "gpt2"):
        model = load_model(model_folder(architecture), backend=backend)  # type: ignore[arg-type]
        own = architectures.tokenizer_of(architecture)
        theirs = model.model.tokenizer
        theirs.padding_side = "left"
        theirs(["January", "two months from January"], padding=True)
        for text in architectures.PROMPTS:
            assert model.tokenize(text).row(0) == own(text)["input_ids"]
        assert model.tokenizer.padding_side == "right"
        assert model.tokenizer.pad_token is None


def test_a_tokenizer_that_cannot_be_copied_is_refused(
    model_folder: Folder, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two tokens with one id it is left to chance which a tokenizer keeps, and with the other
    one it is not read again."""

    def refuse(self: object, memo: dict[int, object]) -> None:
        raise Exception("Error while attempting to unpickle Tokenizer")  # which is what it raises

    monkeypatch.setattr(PreTrainedTokenizerFast, "__deepcopy__", refuse, raising=False)
    folder = model_folder("gpt2")
    with pytest.raises(ValueError, match=r"tokenizer of 'gpt2.*' cannot be copied: .*get the"):
        load_model(folder, backend=backend)  # type: ignore[arg-type]


def test_a_revision_or_subfolder_is_another_model(
    model_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("huggingface_hub.constants", "huggingface_hub.file_download"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(checkpoint, "reachable", lambda source: False)
    hub_cache(tmp_path, "someone/toy", model_folder("llama"))
    repository = tmp_path / "models--someone--toy"
    early = repository / "snapshots" / ("b" * 40)
    shutil.copytree(model_folder("gpt2"), early)
    shutil.copytree(model_folder("qwen2"), early / "inner")
    (repository / "refs" / "step1000").write_text("b" * 40)
    assert load_model("someone/toy").info.architecture == "LlamaForCausalLM"
    for given in (("someone/toy@step1000", {}), ("someone/toy", {"revision": "step1000"})):
        info = load_model(given[0], **given[1]).info  # type: ignore[arg-type]
        assert info.architecture == "GPT2LMHeadModel"
        assert info.name == "someone/toy@step1000"
        assert info.origin == f"Hugging Face hub, commit {'b' * 40}"
    inner = load_model("someone/toy@step1000", subfolder="inner").info
    assert inner.architecture == "Qwen2ForCausalLM"
    assert inner.name == "someone/toy@step1000/inner"
    assert checkpoint.read_n_layers("someone/toy@step1000", subfolder="inner") == 3
    assert load_model(early, subfolder="inner").info.fingerprint == inner.fingerprint
    assert "give one" in complaint("someone/toy@step1000", revision="main")
    lost = complaint("someone/toy@step2000")
    assert "no bundled model, no folder and not in the local" in lost
    assert "Load it once where there is a network. Bundled models: calendar, tiny" in lost
    assert "has no folder 'outer' in it" in complaint(early, subfolder="outer")
    assert "revision='x' has no meaning for the folder" in complaint(early, revision="x")


@pytest.mark.parametrize(
    ("offline", "why"), [(True, "HF_HUB_OFFLINE is set"), (False, "there is no")]
)
def test_a_name_of_the_hub_is_not_offered_in_its_own_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: bool, why: str
) -> None:
    monkeypatch.setattr(checkpoint, "reachable", lambda source: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    said = complaint("gpt2")
    assert "Did you mean" not in said
    assert f"the hub cannot be reached ({why}" in said
    assert "Did you mean 'gpt2'?" in complaint("gtp2")
