"""What stands beside the weights of a model and would change what is measured: refused, or said.

Of two things that contradict each other transformers takes one without a word. Where the other
would give another model, this says so once, as a warning; where the one that is taken is none that
can be measured, it refuses.
"""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lensdepth.fingerprints import MOST_IDS
from lensdepth.outside import heading, outside, shown
from lensdepth.weight_files import (
    check_blocks,
    check_kinds,
    check_shapes,
    find_weights,
    read_stored,
)

logger = logging.getLogger(__name__)


def check_weight_files(
    folder: Path, config: Any, name: str, *, partial: bool, own_code: bool
) -> None:
    """Refuse weight files that do not hold what the configuration asks for.

    Args:
        folder: of the model.
        config: as transformers read it.
        name: of the model, for messages.
        partial: files may yet have to come from the hub.
        own_code: the model is built by code that comes with it.
    """
    weights = find_weights(folder, config, name, partial=partial)
    if weights is None:
        return
    if weights.others:
        logger.warning(
            "%s: of its weight files %s is read, %s%s not.",
            heading(name),
            shown(weights.entry),
            shown(weights.others[0]),
            f" and {len(weights.others) - 1} more are" if len(weights.others) > 1 else " is",
        )
    stored = read_stored(weights, name)
    check_blocks(config, stored, name)
    if _quantization(config) is None:
        check_kinds(stored, name)
        if not own_code:
            check_shapes(config, stored, name)


def check_plain_weights(hf_model: Any, name: str) -> None:
    """Whatever the configuration said: what was loaded must be numbers that one can read."""
    odd = [
        key
        for key, weight in hf_model.named_parameters()
        if not weight.is_floating_point() or weight.element_size() < 2
    ]
    if getattr(hf_model, "is_quantized", False) or odd:
        of = f" (such as {shown(odd[0])})" if odd else ""
        raise ValueError(
            f"load_model: the weights of {shown(name)} came out quantised{of}; lensdepth measures "
            f"plain floating-point weights. Take the model as it was before that."
        )


def tell_of_unused(hf_model: Any, unused: Sequence[str], name: str) -> None:
    """Weights in the files that the model has no place for, and weights that are not tied.

    Raises:
        ValueError: they belong to blocks that the configuration leaves out.
    """
    config = hf_model.config.get_text_config()
    n_layers = getattr(config, "num_hidden_layers", None)
    own = {re.sub(r"\.\d+\.", ".0.", key, count=1) for key in hf_model.state_dict()}
    for key in unused:
        block = re.search(r"\.(\d+)\.", key)
        beyond = block is not None and n_layers is not None and int(block[1]) >= n_layers
        if beyond and any(k.endswith(re.sub(r"\.\d+\.", ".0.", key, count=1)) for k in own):
            raise ValueError(
                f"load_model: the config of {shown(name)} gives {n_layers} blocks, its weights "
                f"hold {shown(key)} as well. One of the two belongs to another model."
            )
    if unused:
        logger.warning(
            "%s: %d of the weights in its files are not used, for %s has no place for them; the "
            "first is %s.",
            heading(name),
            len(unused),
            type(hf_model).__name__,
            shown(unused[0]),
        )
    embedded, unembedded = hf_model.get_input_embeddings(), hf_model.get_output_embeddings()
    asked = getattr(config, "tie_word_embeddings", False)
    if asked and unembedded is not None and embedded.weight is not unembedded.weight:
        logger.warning(
            "%s: its config ties unembedding and embedding, its files hold two different ones; "
            "both are used as they are.",
            heading(name),
        )


def tell_of_code(folder: Path | None, config: Any, name: str) -> None:
    """Say that code comes with a model and is not run, transformers having some of its own."""
    tokenizer = folder and folder / "tokenizer_config.json"
    maps = {"model": getattr(config, "auto_map", None)}
    if tokenizer and tokenizer.is_file():
        maps["tokenizer"] = read_object(tokenizer, name).get("auto_map")
    for part, found in maps.items():
        if found:
            logger.warning(
                "%s: code for its %s comes with it and is not run, transformers' own is. "
                "trust_remote_code=True runs it.",
                heading(name),
                part,
            )


def named_architectures(config: Any) -> list[str]:
    """The architectures that a configuration names; whatever is no name is left out."""
    named = getattr(config, "architectures", None)
    return [each for each in named if isinstance(each, str)] if isinstance(named, list) else []


def tell_of_architecture(hf_model: Any, name: str) -> None:
    """Say where a configuration names another architecture than the one that its kind gives."""
    named, used = named_architectures(hf_model.config), type(hf_model).__name__
    if named and used not in named:
        logger.warning(
            "%s: its config names the architecture %s; it is read as %s.",
            heading(name),
            shown(named[0]),
            used,
        )


def _quantization(config: Any) -> Any:
    """What a configuration says about how its weights are packed, or None."""
    for part in (config, config.get_text_config()):
        for key in ("quantization_config", "compression_config"):
            said = getattr(part, key, None)
            if said is not None:
                return said
    return None


def check_plain(config: Any, name: str) -> None:
    """Refuse quantised weights: the passes, edits and fingerprints here are of plain numbers.

    Packed integers have no rows and columns to read an unembedding, a head or a norm off, and
    HookedTransformer would take them for weights. What transformers unpacks on loading is plain.

    Raises:
        ValueError: with the method and what to do.
    """
    said = _quantization(config)
    if said is None:
        return
    said = said if isinstance(said, dict) else getattr(said, "__dict__", {})
    if said.get("dequantize") is True:
        logger.warning("%s: its weights are quantised, and unpacked on loading.", heading(name))
        return
    method = said.get("quant_method")
    raise ValueError(
        f"load_model: {shown(name)} is quantised ({shown(method)}); lensdepth measures plain "
        f"floating-point weights. Take the model as it was before that, or, where transformers can "
        f"unpack the method on loading, set 'dequantize': true in its quantization_config."
    )


def check_tokenizer(tokenizer: Any, name: str) -> None:
    """Refuse a tokenizer that is empty, counts beyond all models or lacks its special tokens.

    Raises:
        ValueError: its files contradict each other, or hold no tokens.
    """
    with outside(f"load_model: the tokenizer of {shown(name)} cannot be used"):
        n_tokens = len(tokenizer)
        for special in ("unk_token_id", "bos_token_id", "eos_token_id"):
            getattr(tokenizer, special, None)
        vocab = tokenizer.get_vocab()
    if n_tokens == 0:
        raise ValueError(f"load_model: the tokenizer of {shown(name)} has no tokens.")
    # Whoever copies such a tokenizer goes through every id up to the largest, there or not.
    token = max(vocab, key=vocab.__getitem__, default="")
    if vocab and vocab[token] > MOST_IDS:
        raise ValueError(
            f"load_model: the tokenizer of {shown(name)} gives {shown(token)} the id "
            f"{vocab[token]}, which no model has; look for damage in its files."
        )


def tell_of_vocabulary(folder: Path | None, tokenizer: Any, hf_model: Any, name: str) -> None:
    """Say where the tokenizer's files or its ids are others than those that are used."""
    with outside(f"load_model: the tokenizer of {shown(name)} cannot be read"):
        n_tokens, used = len(tokenizer), dict(tokenizer.get_vocab())
    d_vocab = hf_model.get_input_embeddings().weight.shape[0]
    if n_tokens > d_vocab:
        logger.warning(
            "%s: its tokenizer has %d tokens, the model %d; a prompt with one beyond is refused.",
            heading(name),
            n_tokens,
            d_vocab,
        )
    if folder is None:
        return
    for file in ("tokenizer.json", "vocab.json"):
        if not (folder / file).is_file():
            continue
        written = read_object(folder / file, name)
        if file == "tokenizer.json":
            model = written.get("model")
            written = model.get("vocab") if isinstance(model, dict) else None
        if isinstance(written, dict):
            others = [token for token, number in written.items() if used.get(token) != number]
            if others:
                logger.warning(
                    "%s: %d tokens of its %s have other ids in the tokenizer that is used, the "
                    "first %s.",
                    heading(name),
                    len(others),
                    file,
                    shown(others[0]),
                )


def read_object(file: Path, name: str) -> dict[str, Any]:
    """A JSON file of a model that must hold an object."""
    with outside(f"load_model: the {file.name} of {shown(name)} cannot be read"):
        read = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(read, dict):
        raise ValueError(
            f"load_model: the {file.name} of {shown(name)} must hold an object, got {shown(read)}."
        )
    return read
