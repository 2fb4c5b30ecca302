"""From the metadata of a GGUF file to a tokenizer that reads text as the model was trained to.

transformers builds the vocabulary, its merges and special tokens. How text is split before that is
a name in the file (`tokenizer.ggml.pre`), of which transformers knows some and takes GPT-2's rule
for all others: SmolLM2 would then read "2024" by other tokens than it was trained on. The table
below says what each name demands, as llama.cpp and the models' own tokenizer.json have it; a name
that is not in it is refused, for nobody would notice.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensdepth.gguf.header import Header
from lensdepth.outside import outside, shown
from lensdepth.telling.plain import Json

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_GPT2 = {**_BYTES, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
_ENDING = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = _SUFFIXES + r"|[^\r\n\p{L}\p{N}]?\p{L}+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+{S}"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*{S}"
)
_CASED_ENDING = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a byte-level tokenizer splits text before it merges."""

    steps: tuple[Json, ...]
    """Pre-tokenizers one after another, as tokenizer.json has them."""
    whole_words: bool = False
    """A word that is in the vocabulary is one token, whatever merges would make of it."""
    begins: bool = False
    """A BOS token stands in front where the file does not say."""
    composed: bool = False
    """Characters and their accents are joined first (Unicode's NFC)."""


def _split(pattern: str) -> tuple[Json, ...]:
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    return split, _BYTES


_GPT = Rule(steps=(_GPT2,))
_BY_DIGIT = Rule(steps=(_DIGITS, _GPT2))
_LLAMA3 = Rule(steps=_split(_WORDS + r"|\p{N}{1,3}" + _ENDING), whole_words=True, begins=True)
_QWEN = Rule(steps=_split(_WORDS + r"|\p{N}" + _ENDING), composed=True)
_TEKKEN = Rule(
    steps=_split(_CASED.replace("{S}", "") + r"|\p{N}" + _CASED_ENDING),
    whole_words=True,
    begins=True,
)
_GPT4O = Rule(steps=_split(_CASED.replace("{S}", f"{_SUFFIXES}?") + r"|\p{N}{1,3}" + _CASED_ENDING))

RULES = {
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "trillion"), _GPT),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), _BY_DIGIT),
    **dict.fromkeys(("exaone", "minerva-7b"), _BY_DIGIT),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1"), _LLAMA3),
    **dict.fromkeys(("pixtral", "midm-2.0", "lfm2"), _LLAMA3),
    **dict.fromkeys(("dbrx", "smaug-bpe"), Rule(steps=_LLAMA3.steps)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "kormo", "megrez"), _QWEN),
    "stablelm2": Rule(steps=_QWEN.steps),
    "tekken": _TEKKEN,
    "gpt-4o": _GPT4O,
}
"""By `tokenizer.ggml.pre`. It matters to byte-level vocabularies alone: those of SentencePiece know
where words begin by themselves."""

KEEPS_SPACE = ("<unk>", "<s>", "<|endoftext|>")
"""Phi-3's special tokens that leave the white space behind them."""


def write_tokenizer(header: Header, folder: Path, name: str) -> None:
    """Write the tokenizer of a GGUF file to a folder, as tokenizer.json has it.

    Raises:
        ValueError: it has none, one of a kind that transformers does not build, or one that splits
            text by a rule that is not known.
    """
    _check_there(header, name)
    byte_level = header.metadata["tokenizer.ggml.model"] == "gpt2"
    rule = _rule(header, name) if byte_level else None
    with outside(f"load_model: the tokenizer of {shown(name)} cannot be made from its GGUF file"):
        from transformers import PreTrainedTokenizerFast

        # Not AutoTokenizer, which makes a configuration first and takes a minute for Gemma.
        built = PreTrainedTokenizerFast.from_pretrained(
            str(header.path.parent), gguf_file=header.path.name, local_files_only=True
        )
        made = _mended(json.loads(built.backend_tokenizer.to_str()), header, rule)
        (folder / "tokenizer.json").write_text(json.dumps(made, ensure_ascii=False), "utf-8")
        special = {
            key: getattr(built, key)
            for key in ("bos_token", "eos_token", "unk_token", "pad_token")
            if getattr(built, key, None) is not None
        }
        plain = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"),
            chat_template=header.metadata.get("tokenizer.chat_template"),
            clean_up_tokenization_spaces=False,
            **special,
        )
        plain.save_pretrained(folder)


def _check_there(header: Header, name: str) -> None:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    kind = header.metadata.get("tokenizer.ggml.model")
    if not isinstance(tokens, list) or not tokens or kind is None:
        raise ValueError(
            f"load_model: the GGUF file {shown(name)} holds no tokenizer; put the model's "
            f"tokenizer.json into a folder with it, and load the folder."
        )
    rows = header.tensors["token_embd.weight"].shape[0]
    if len(tokens) > rows:
        raise ValueError(
            f"load_model: the GGUF file {shown(name)} has {len(tokens):,} tokens and embeds "
            f"{rows:,}; it is damaged, or of two models."
        )
    if kind not in ("gpt2", "llama"):
        raise ValueError(
            f"load_model: the GGUF file {shown(name)} has a tokenizer of the kind {shown(kind)}, "
            f"which is not read; put the model's tokenizer.json into a folder with it, and load "
            f"the folder."
        )


def _rule(header: Header, name: str) -> Rule:
    given = header.metadata.get("tokenizer.ggml.pre")
    if given is None and header.architecture == "gpt2":
        return _GPT
    if given in RULES:
        return RULES[given]
    how = (
        "does not say how its tokenizer splits text"
        if given in (None, "", "default")
        else f"has a tokenizer that splits text by the rule {shown(given)}, which is not known here"
    )
    raise ValueError(
        f"load_model: the GGUF file {shown(name)} {how}, so that its prompts might be read by "
        f"other tokens than the model's own; put the model's tokenizer.json into a folder with it, "
        f"and load the folder."
    )


def _mended(made: Json, header: Header, rule: Rule | None) -> Json:
    """tokenizer.json with all in it that the file says and transformers leaves out."""
    said = header.metadata
    begins, ends = (
        said.get("tokenizer.ggml.add_bos_token"),
        said.get("tokenizer.ggml.add_eos_token"),
    )
    if begins is None:  # as llama.cpp has it
        begins = rule.begins if rule else True
    if rule is not None:
        made["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(rule.steps)}
        made["normalizer"] = {"type": "NFC"} if rule.composed else None
        made["model"]["ignore_merges"] = rule.whole_words
    elif said.get("tokenizer.ggml.add_space_prefix") is False:
        made["pre_tokenizer"] = _unprefixed(made["pre_tokenizer"])
    if _swallows(header, rule):
        for token in made["added_tokens"]:
            token["rstrip"] = token["content"] not in KEEPS_SPACE
    made["post_processor"] = _around(said, bool(begins), bool(ends))
    return made


def _swallows(header: Header, rule: Rule | None) -> bool:
    """Whether special tokens swallow the white space behind them, which no file says.

    Phi-3's do, as its own tokenizer.json and llama.cpp have it: by the architecture, or by its name
    where the file is of another one. Phi-4's byte-level vocabulary is another.
    """
    named = str(header.metadata.get("general.name", "")).lower()
    phi3 = header.architecture == "phi3" or any(part in named for part in ("phi-3", "phi3"))
    return rule is None and phi3


def _unprefixed(step: Json | None) -> Json | None:
    """A SentencePiece step that puts no space in front of a text."""
    if step is not None and step.get("type") == "Metaspace":
        return {**step, "prepend_scheme": "never"}
    return step


def _around(said: Any, begins: bool, ends: bool) -> Json:
    """What stands in front of every text and behind it."""
    tokens = said["tokenizer.ggml.tokens"]
    marks = {}
    for wanted, key in ((begins, "bos"), (ends, "eos")):
        number = said.get(f"tokenizer.ggml.{key}_token_id")
        if wanted and isinstance(number, int) and 0 <= number < len(tokens):
            marks[key] = {"id": tokens[number], "ids": [number], "tokens": [tokens[number]]}

    def text(which: str, kind: int) -> list[Json]:
        parts: list[Json] = [{"Sequence": {"id": which, "type_id": kind}}]
        if "bos" in marks:
            parts.insert(0, {"SpecialToken": {"id": marks["bos"]["id"], "type_id": kind}})
        if "eos" in marks:
            parts.append({"SpecialToken": {"id": marks["eos"]["id"], "type_id": kind}})
        return parts

    return {
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": [*text("A", 0), *text("B", 1)],
        "special_tokens": {mark["id"]: mark for mark in marks.values()},
    }
