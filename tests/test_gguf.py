"""GGUF files: the numbers and the text of the model that was packed, or one readable line."""

import json
import logging
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import architectures
import ggufs
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from lensdepth import converted
from lensdepth.conversion import has_hooked_transformer
from lensdepth.gguf import read_header, settings, tokens
from lensdepth.model import load_model
from lensdepth.provenance import Backend

TOKENS = torch.tensor([[5, 300, 700, 41, 900, 12], [5, 300, 700, 41, 900, 77]])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LENSDEPTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return ggufs.write(ggufs.tiny(architectures.CONFIGS["llama"]()), tmp_path / "llama.gguf")


def complaint(*args: Any, **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        load_model(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("load_model: ")
    return message


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


def read_logits(path: Path, backend: Backend = "bridge") -> torch.Tensor:
    return load_model(path, backend=backend).logits(TOKENS, "all")


def gemma(architecture: str) -> Any:
    config = architectures.CONFIGS[architecture]()
    config.query_pre_attn_scalar = config.head_dim  # the file has no word for another one
    return config


@pytest.mark.parametrize(
    "architecture",
    ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2"],
)
def test_a_file_gives_the_numbers_of_the_model_that_was_packed(
    tmp_path: Path, architecture: str, backend: Backend
) -> None:
    make = gemma if architecture.startswith("gemma") else lambda a: architectures.CONFIGS[a]()
    model = ggufs.tiny(make(architecture))
    path = ggufs.write(model, tmp_path / "packed.gguf")
    loaded = load_model(path, backend=backend)
    assert loaded.info.architecture == type(model).__name__
    assert (loaded.logits(TOKENS, "all") - logits(model)).abs().max() < 1e-4
    assert loaded.info.name == "packed"


def test_heads_without_groups_need_no_word_on_them(tmp_path: Path) -> None:
    config = architectures.CONFIGS["llama"]()
    config.num_key_value_heads = config.num_attention_heads
    model = ggufs.tiny(config)
    path = ggufs.write(model, tmp_path / "m.gguf", without=("llama.attention.head_count_kv",))
    assert (read_logits(path) - logits(model)).abs().max() < 1e-4


def test_llama_3_s_rotary_factors_are_read(tmp_path: Path, backend: Backend) -> None:
    config = architectures.CONFIGS["llama"]()
    scaling = {"rope_type": "llama3", "factor": 8.0, "rope_theta": 500000.0, **settings._LLAMA3}
    config.rope_parameters = scaling
    config.max_position_embeddings = 64
    model = ggufs.tiny(config)
    factors = settings.llama3_factors(scaling, 500000.0, 8)
    # As transformers has them: what the frequencies of the model are divided by.
    plain = 500000.0 ** -(torch.arange(0, 8, 2) / 8)
    np.testing.assert_allclose(factors, plain / model.model.rotary_emb.inv_freq, rtol=1e-5)
    held = {"rope_freqs.weight": np.array(factors, dtype=np.float32)}
    path = ggufs.write(model, tmp_path / "m.gguf", tensors=held)
    loaded = load_model(path, backend=backend)
    assert loaded.known.configuration.rope_parameters["rope_type"] == "llama3"
    assert (loaded.logits(TOKENS, "all") - logits(model)).abs().max() < 1e-4
    odd = {"rope_freqs.weight": np.linspace(1, 3, 4, dtype=np.float32)}
    path = ggufs.write(model, tmp_path / "odd.gguf", tensors=odd)
    assert "factors that are not those of Llama 3" in complaint(path)


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_rotary_scaling_is_read(tmp_path: Path, kind: str) -> None:
    config = architectures.CONFIGS["qwen2"]()
    config.rope_parameters = {"rope_type": kind, "factor": 4.0, "rope_theta": 5000.0}
    if kind == "yarn":
        config.rope_parameters["original_max_position_embeddings"] = 12
    model = ggufs.tiny(config)
    plain = ggufs.write(model, tmp_path / "plain.gguf")
    extra = {
        "qwen2.rope.scaling.type": kind,
        "qwen2.rope.scaling.factor": 4.0,
        "qwen2.rope.scaling.original_context_length": 12,
    }
    path = ggufs.write(model, tmp_path / "m.gguf", extra=extra)
    assert (read_logits(path) - logits(model)).abs().max() < 1e-4
    assert (read_logits(plain) - logits(model)).abs().max() > 1e-2
    extra["qwen2.rope.scaling.type"] = "su"
    path = ggufs.write(model, tmp_path / "su.gguf", extra=extra)
    assert "scales rotary positions by 'su'" in complaint(path)


def test_gemma_3_s_global_blocks_may_be_scaled(tmp_path: Path) -> None:
    config = gemma("gemma3")
    config.rope_parameters["full_attention"] |= {"rope_type": "linear", "factor": 8.0}
    model = ggufs.tiny(config)
    extra = {"gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": 8.0}
    path = ggufs.write(model, tmp_path / "m.gguf", extra=extra)
    assert (read_logits(path) - logits(model)).abs().max() < 1e-4


def test_phi_3_may_turn_a_part_of_a_head_and_have_two_sets_of_factors(tmp_path: Path) -> None:
    config = architectures.CONFIGS["phi3"]()
    short, long = [1.0, 1.5], [2.0, 3.0]
    config.rope_parameters = {
        "rope_type": "longrope",
        "rope_theta": 5000.0,
        "partial_rotary_factor": 0.5,
        "short_factor": short,
        "long_factor": long,
        "original_max_position_embeddings": 24,
    }
    config.original_max_position_embeddings = 24
    model = ggufs.tiny(config)
    path = ggufs.write(
        model,
        tmp_path / "m.gguf",
        extra={"phi3.rope.scaling.original_context_length": 24},
        tensors={
            "rope_factors_short.weight": np.array(short, dtype=np.float32),
            "rope_factors_long.weight": np.array(long, dtype=np.float32),
        },
    )
    assert (read_logits(path) - logits(model)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_a_quantised_file_gives_the_rounded_model(tmp_path: Path, kind: str) -> None:
    import gguf

    model = ggufs.tiny(architectures.CONFIGS["llama"]())
    path = ggufs.write(model, tmp_path / "m.gguf", kind=kind)
    packed = gguf.GGMLQuantizationType[kind]
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if weight.ndim == 2 and weight.shape[1] % gguf.GGML_QUANT_SIZES[packed][0] == 0:
                # Which numbers stand in a block together depends on the order of the rows alone.
                rounded = gguf.dequantize(gguf.quantize(weight.numpy(), packed), packed)
                weight.copy_(torch.from_numpy(rounded.copy()).reshape(weight.shape))
                assert key
    loaded = load_model(path, backend="bridge")
    assert (loaded.logits(TOKENS, "all") - logits(model)).abs().max() < 1e-4
    assert re_kind(loaded.info.quantization) == kind


def re_kind(quantization: str) -> str:
    return quantization.partition(" ")[0]


def test_the_file_s_own_word_on_its_mix_is_kept(tmp_path: Path, llama: Path) -> None:
    header = read_header(llama, "llama")
    assert header.quantization == f"F32 ({len(header.tensors)} F32)"
    model = ggufs.tiny(architectures.CONFIGS["llama"]())
    path = ggufs.write(model, tmp_path / "q.gguf", kind="Q8_0", extra={"general.file_type": 15})
    n_packed = 2 + 3 * 6  # embedding, unembedding, and six of seven matrices a block: 48 is no 32s
    told = read_header(path, "q").quantization
    assert told == f"Q4_K_M ({n_packed} Q8_0, {3 + 2 * 3 + 1} F32)"
    assert load_model(path).info.quantization == told


# ------------------------------------------------------------------------------------ text

TEXTS = (
    "In 2024, 15+3 is 18; call 555-1234.",
    "x  2",
    "He'll DON'T  stop\n\n  now",
    "café naïve ½ 日本語 12345678",
    "\ttab and  two  spaces ",
    "camelCase HTTPServer e/\nnext",
    "cafe\u0301 in two characters",
)


def originals() -> dict[str, Any]:
    """Pre-tokenizers as the models' own tokenizer.json have them, spelt out apart from `tokens`."""
    from tokenizers import Regex, pre_tokenizers

    def split(pattern: str) -> Any:
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )

    return {
        "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
        "smollm": pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        ),
        "llama-bpe": split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        "qwen2": split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        "tekken": split(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
            r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
    }


def trained(pre: str) -> Any:
    """A byte-level tokenizer that merged digits and spaces wherever its rule let it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = originals()[pre]
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = [*architectures.task_words()[:200], *TEXTS, *map(str, range(300)), "  ", "   "]
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken"])
def test_text_is_read_as_by_the_model_s_own_tokenizer(tmp_path: Path, pre: str) -> None:
    own = trained(pre)
    config = architectures.CONFIGS["llama"]()
    model = ggufs.tiny(config)
    model.resize_token_embeddings(len(own))
    path = ggufs.write(model, tmp_path / "m.gguf", pre=pre, tokenizer=own)
    read = load_model(path, backend="bridge")
    begins = pre in ("llama-bpe", "tekken")
    for text in TEXTS:
        ids = own(text)["input_ids"]
        assert read.tokenize(text).row(0) == [own.eos_token_id] * begins + ids, text


def test_the_rules_are_not_all_one() -> None:
    """A test of equal encodings on texts that every rule splits alike could not fail."""
    splits = {
        name: str([rule.pre_tokenize_str(text) for text in TEXTS])
        for name, rule in originals().items()
    }
    assert len(set(splits.values())) == len(splits)


def test_whether_a_bos_token_stands_in_front_is_the_file_s_to_say(tmp_path: Path) -> None:
    model = ggufs.tiny(architectures.CONFIGS["llama"]())
    for says, pre, begins in ((True, "gpt-2", True), (False, "llama-bpe", False)):
        extra = {"tokenizer.ggml.add_bos_token": says}
        path = ggufs.write(model, tmp_path / f"{pre}.gguf", pre=pre, extra=extra)
        loaded = load_model(path, backend="bridge")
        row = loaded.tokenize("January").row(0)
        assert (row[0] == architectures.byte_tokenizer().eos_token_id) is begins


@pytest.mark.parametrize("pre", ["default", "some-new-rule", None])
def test_a_rule_that_is_not_known_is_refused_and_can_be_brought_along(
    tmp_path: Path, pre: str | None
) -> None:
    model = ggufs.tiny(architectures.CONFIGS["llama"]())
    path = ggufs.write(model, tmp_path / "m.gguf", pre=pre)
    said = complaint(path)
    assert "put the model's tokenizer.json into a folder with it" in said
    folder = tmp_path / "both"
    folder.mkdir()
    shutil.copy(path, folder)
    architectures.byte_tokenizer().save_pretrained(folder)
    text = "Two months from January"
    assert load_model(folder).tokenize(text).row(0) == list(
        architectures.byte_tokenizer()(text)["input_ids"]
    )


def test_gpt_2_needs_no_word_on_its_rule(tmp_path: Path) -> None:
    model = ggufs.tiny(architectures.CONFIGS["gpt2"]())
    assert load_model(ggufs.write(model, tmp_path / "m.gguf", pre=None)).info.n_layers == 3


def sentencepiece(**more: Any) -> dict[str, Any]:
    """A vocabulary of pieces with scores, as Llama 2 and Mistral have: bytes, letters, words."""
    words = ["▁", *"abcdefgh", "ab", "▁ab", "cd", "abcd", "▁abcd", "▁▁"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    n_words = len(words)
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 259 + [-float(i) for i in range(n_words)],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * n_words,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        **more,
    }


def test_pieces_are_read_as_sentencepiece_reads_them(tmp_path: Path) -> None:
    model = ggufs.tiny(architectures.CONFIGS["llama"]())
    skip = ("tokenizer.ggml.merges",)

    def pieces(text: str, **more: Any) -> list[str]:
        path = ggufs.write(model, tmp_path / "m.gguf", extra=sentencepiece(**more), without=skip)
        loaded = load_model(path, backend="bridge")
        return loaded.tokenizer.convert_ids_to_tokens(loaded.tokenize(text).row(0))

    assert pieces("abcd ab") == ["<s>", "▁abcd", "▁ab"]
    assert pieces("abcd é") == ["<s>", "▁abcd", "▁", "<0xC3>", "<0xA9>"]
    without = {"tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.add_bos_token": False}
    assert pieces("abcd ab", **without) == ["abcd", "▁ab"]
    ended = {"tokenizer.ggml.add_eos_token": True}
    assert pieces("ab", **ended) == ["<s>", "▁ab", "</s>"]


def test_special_tokens_of_phi_3_swallow_the_space_behind_them(tmp_path: Path) -> None:
    # llama.cpp reads "<|user|>\nSYS" as Phi-3 does: the word stands right behind the mark.
    plain = sentencepiece()
    marks = ["<|endoftext|>", "<|user|>", "<|end|>", "<|assistant|>"]
    more = {
        "tokenizer.ggml.tokens": [*plain["tokenizer.ggml.tokens"], *marks],
        "tokenizer.ggml.scores": [*plain["tokenizer.ggml.scores"], *[-1000.0] * len(marks)],
        "tokenizer.ggml.token_type": [*plain["tokenizer.ggml.token_type"], *[3] * len(marks)],
    }
    text = "<|user|>\nabcd ab<|end|> \n<|assistant|> ab<|endoftext|> ab"

    def pieces(architecture: str, **said: Any) -> list[str]:
        model = ggufs.tiny(architectures.CONFIGS[architecture]())
        extra = sentencepiece(**more, **said)
        path = ggufs.write(
            model, tmp_path / "m.gguf", extra=extra, without=("tokenizer.ggml.merges",)
        )
        loaded = load_model(path, backend="bridge")
        return loaded.tokenizer.convert_ids_to_tokens(loaded.tokenize(text).row(0))

    turns = ["<s>", "<|user|>", "▁abcd", "▁ab", "<|end|>", "<|assistant|>", "▁ab", "<|endoftext|>"]
    found = pieces("phi3")
    assert found[: len(turns)] == turns
    assert "".join(found[len(turns) :]) == "▁▁ab"  # the space, and what begins every text
    assert "<0x0A>" not in pieces("llama", **{"general.name": "My Phi-3 Mini"})
    assert pieces("llama").count("<0x0A>") == 2


def test_a_chat_template_comes_along(tmp_path: Path) -> None:
    model = ggufs.tiny(architectures.CONFIGS["llama"]())
    template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    path = ggufs.write(model, tmp_path / "m.gguf", extra={"tokenizer.chat_template": template})
    assert load_model(path).tokenizer.chat_template == template


# ------------------------------------------------------------------------------ the cache


def only(folder: Path) -> Path:
    (found,) = (folder / "converted").iterdir()
    return found


def test_a_file_is_unpacked_once(
    llama: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="lensdepth"):
        first = load_model(llama).info
    assert "unpacked from F32 into plain float32 weights, once: 1 MB in" in caplog.text
    assert first.origin == f"llama.gguf, SHA-256 {converted.digest(llama)}"
    monkeypatch.setattr("lensdepth.gguf.unpack.read_header", None)
    moved = llama.rename(llama.with_name("llama.bin"))  # the content counts, and not the name
    shutil.copy(moved, llama)
    assert load_model(llama).info == first
    assert load_model(only(own_cache)).info == first  # as a folder it still says where it is from


def test_what_is_damaged_in_the_cache_is_made_anew(llama: Path, own_cache: Path) -> None:
    first = load_model(llama).info
    weights = next(only(own_cache).glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    assert not converted.is_whole(only(own_cache))
    assert load_model(llama).info == first
    assert converted.is_whole(only(own_cache))
    (only(own_cache) / "tokenizer.json").unlink()
    assert load_model(llama).info == first


def test_a_conversion_that_is_cut_short_leaves_nothing(
    llama: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lensdepth.gguf.unpack._write_weights", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_model(llama)
    assert list((own_cache / "converted").iterdir()) == []
    assert load_model(llama).info.n_layers == 3


def test_a_cache_that_cannot_be_written_is_one_line(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LENSDEPTH_CACHE", str(tmp_path / "file"))
    assert "name another folder in LENSDEPTH_CACHE" in complaint(llama)


def test_the_cache_is_where_users_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert converted.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("LENSDEPTH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert converted.cache_folder() == tmp_path / "xdg" / "lensdepth"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert converted.cache_folder() == tmp_path / "home" / ".cache" / "lensdepth"


def test_converted_models_are_listed_and_cleaned(llama: Path, own_cache: Path) -> None:
    load_model(llama)
    (own_cache / "converted" / "mine").mkdir()
    (own_cache / "converted" / "mine" / "notes.txt").write_text("not lensdepth's")
    (listed,) = converted.converted_models()
    assert listed["name"] == "llama"
    assert listed["bytes"] > llama.stat().st_size / 2
    assert converted.clean() == listed["bytes"]
    assert converted.converted_models() == []
    assert [p.name for p in (own_cache / "converted").iterdir()] == ["mine"]


# ------------------------------------------------------------------------- what is refused


def test_a_folder_with_one_file_is_that_model(llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(llama, folder / "a.gguf")
    (folder / "mmproj-a.gguf").write_bytes(b"GGUF")
    assert load_model(folder).info.name == "a"
    shutil.copy(llama, folder / "b.gguf")
    assert "holds 2 GGUF files ('a.gguf', 'b.gguf'); name one by file='a.gguf'" in complaint(folder)
    assert load_model(folder, file="b.gguf").info.name == "b"
    assert "there is no file 'c.gguf'" in complaint(folder, file="c.gguf")
    assert "file='x' has no meaning for the bundled model 'tiny'" in complaint("tiny", file="x")
    assert "there is no file" in complaint(tmp_path / "nowhere.gguf")


@pytest.mark.parametrize("keep", [0, 3, 20, 200, 5_000, -1])
def test_a_file_that_is_cut_short_is_one_line(llama: Path, keep: int) -> None:
    whole = llama.read_bytes()
    llama.write_bytes(whole[:keep])
    assert "is cut short or damaged" in complaint(llama)


def test_damage_anywhere_in_the_header_is_one_line_or_another_model(
    llama: Path, tmp_path: Path
) -> None:
    whole = llama.read_bytes()
    said = []
    for place in np.random.default_rng(0).integers(0, 3000, 60):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        llama.write_bytes(damaged)
        try:
            read_header(llama, "llama")
        except ValueError as error:
            said.append(str(error))
    assert len(said) > 5
    assert all(line.startswith("load_model: ") and "\n" not in line for line in said)


def test_sizes_that_cannot_be_are_refused_without_memory(llama: Path) -> None:
    whole = bytearray(llama.read_bytes())
    whole[8:16] = struct.pack("<Q", 2**60)
    llama.write_bytes(whole)
    assert "claims 1,152,921,504,606,846,976 entries" in complaint(llama)
    whole[:4] = b"GGML"
    llama.write_bytes(whole)
    assert "does not begin as GGUF files do" in complaint(llama)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"split.count": 3}, "is one of 3 parts; join them by"),
        ({"general.type": "adapter"}, "holds an adapter (LoRA) and no model"),
        ({"adapter.type": "lora"}, "holds an adapter (LoRA) and no model"),
        ({"general.type": "mmproj"}, "a projector of images (mmproj) and no language model"),
        ({"general.architecture": "clip"}, "a projector of images (mmproj)"),
        ({"general.architecture": "mamba"}, "holds the architecture 'mamba'; read are llama"),
        ({"llama.expert_count": 8}, "sets llama.expert_count to 8, which changes its numbers"),
        ({"llama.attention.scale": 0.5}, "sets llama.attention.scale to 0.5"),
        ({"llama.attention.causal": False}, "reads in both directions"),
        ({"llama.block_count": 5}, "lacks 'blk.3.attn_q.weight'"),
        ({"llama.block_count": 2}, "holds 'blk.2."),
        ({"llama.feed_forward_length": 32}, "in the shape [48, 32], and its own settings make"),
        ({"llama.embedding_length": "wide"}, "gives llama.embedding_length as 'wide'"),
        ({"tokenizer.ggml.model": "rwkv"}, "has a tokenizer of the kind 'rwkv'"),
    ],
)
def test_what_is_no_model_that_is_read_says_what_to_do(
    tmp_path: Path, extra: dict[str, Any], says: str
) -> None:
    model = ggufs.tiny(architectures.CONFIGS["llama"]())
    assert says in complaint(ggufs.write(model, tmp_path / "m.gguf", extra=extra))


def test_other_incomplete_files_say_what_they_lack(tmp_path: Path) -> None:
    model = ggufs.tiny(architectures.CONFIGS["llama"]())
    part = ggufs.write(model, tmp_path / "m-00002-of-00003.gguf")
    assert "'llama-gguf-split --merge m-00001-of-00003.gguf whole.gguf'" in complaint(part)
    lone = ggufs.write(model, tmp_path / "a.gguf", without=("token_embd.weight",))
    assert "holds no embedding of tokens" in complaint(lone)
    mute = ggufs.write(model, tmp_path / "b.gguf", without=("tokenizer.ggml.tokens",))
    assert "holds no tokenizer; put the model's tokenizer.json into a folder" in complaint(mute)
    more = {"blk.0.attn_q.lora": np.zeros((4, 4), dtype=np.float32)}
    extra = ggufs.write(model, tmp_path / "c.gguf", tensors=more)
    assert "holds 'blk.0.attn_q.lora', for which LlamaForCausalLM has no place" in complaint(extra)


def test_biases_of_attention_are_kept(tmp_path: Path) -> None:
    config = architectures.CONFIGS["llama"]()
    config.attention_bias = True
    model = ggufs.tiny(config)
    path = ggufs.write(model, tmp_path / "m.gguf")
    assert (read_logits(path) - logits(model)).abs().max() < 1e-4


def test_without_the_package_it_says_how_to_get_it(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    said = complaint(llama)
    assert "reading it needs the package gguf" in said
    assert said.endswith("pip install 'lensdepth[gguf]'.")


def test_a_file_of_the_hub_is_fetched_by_name(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "hub" / "models--someone--packed"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copy(llama, snapshot / "model.Q8_0.gguf")
    for module in ("huggingface_hub.constants", "huggingface_hub.file_download"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr("lensdepth.sources.reachable", lambda source: False)
    info = load_model("someone/packed", file="model.Q8_0.gguf").info
    assert info.origin.startswith("someone/packed/model.Q8_0.gguf, SHA-256 ")
    said = complaint("someone/packed", file="other.gguf")
    assert "'other.gguf' of 'someone/packed' cannot be had in the local Hugging Face cache" in said


def test_every_rule_is_one_that_tokenizers_takes(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    whole = json.loads(architectures.byte_tokenizer().backend_tokenizer.to_str())
    for name, rule in tokens.RULES.items():
        whole["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(rule.steps)}
        assert Tokenizer.from_str(json.dumps(whole)).encode("a 1").ids, name


def test_the_tokenizer_of_the_folder_is_the_one_of_the_file(llama: Path, own_cache: Path) -> None:
    loaded = load_model(llama)
    again = AutoTokenizer.from_pretrained(only(own_cache))
    for text in TEXTS:
        assert loaded.tokenize(text).row(0) == again(text)["input_ids"]


def test_hooked_takes_a_file_where_there_is_one(llama: Path) -> None:
    wanted = "hooked" if has_hooked_transformer() else "bridge"
    assert load_model(llama).info.backend == wanted
