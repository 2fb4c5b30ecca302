"""From a name or a folder to a Hugging Face model with checked weights and its tokenizer.

Reach for `lensdepth.model.load_model`; this is its first half. Whatever goes wrong here is one
`ValueError` of one line, raised before weights are read where that is possible.
"""

import difflib
import json
import logging
import os
import re
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import torch

from lensdepth.adapters import CONFIG, WEIGHTS, check_peft, find_adapter, how_to_merge, merge
from lensdepth.bundled import bundled_names, bundled_path
from lensdepth.outside import LONGEST_NAME, outside, shown
from lensdepth.weight_files import (
    check_blocks,
    check_kinds,
    check_shapes,
    check_sizes,
    find_weights,
    read_stored,
)
from lensdepth.weights import check_finite, fingerprint

logger = logging.getLogger(__name__)

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "*.tiktoken",
)
MOST_ENTRIES = 1000
"""Entries of a folder among which a mistyped name is looked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A Hugging Face model with raw weights, and what is known about it."""

    hf_model: Any
    tokenizer: Any
    source: str
    """The folder or hub name that it was read from."""
    name: str
    """Bundled name, hub name or the folder's own name."""
    architecture: str
    fingerprint: str


def load_checkpoint(
    name_or_path: str | Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    trust_remote_code: bool = False,
) -> Checkpoint:
    """Read a bundled model, a local folder or a Hugging Face name.

    An adapter beside the weights is merged into them. Whatever else stands there and says another
    thing than what is read is logged as a warning.

    Raises:
        ValueError: there is no such model, it is not a causal decoder, its files are missing,
            damaged or quantised, do not fit its configuration, or hold weights that are not
            finite.
    """
    name, source = _resolve(name_or_path)
    hub = {"trust_remote_code": trust_remote_code, "local_files_only": not _reachable(source)}
    config = _read_config(source, name, hub)
    check_plain(config, name)
    if trust_remote_code is False:
        _tell_of_code(config, name)
    _check_tokenizer_files(source, name)
    folder = _folder(source, hub)
    if folder is not None:
        _check_weight_files(folder, config, name, partial=folder != Path(source))
    adapter = None if folder is None else find_adapter(folder, name)
    if adapter is not None:
        check_peft(name)
    tokenizer = _read(
        source, name, "tokenizer", _tokenizer_loader(source, name, trust_remote_code), hub
    )
    if len(tokenizer) == 0:
        raise ValueError(f"load_model: the tokenizer of {shown(name)} has no tokens.")
    hf_model = _read_weights(source, name, dtype, hub)
    if adapter is not None:
        hf_model = merge(hf_model, adapter, name)
    _tell_of_vocabulary(folder, tokenizer, hf_model, name)
    weights = hf_model.state_dict()
    check_finite(weights, name)
    with outside(f"load_model: {shown(name)} cannot be put on {str(device)!r}"):
        hf_model = hf_model.to(device).eval()
    return Checkpoint(
        hf_model=hf_model,
        tokenizer=tokenizer,
        source=source,
        name=name,
        architecture=type(hf_model).__name__,
        fingerprint=fingerprint(weights),
    )


def read_n_layers(name_or_path: str | Path, *, trust_remote_code: bool = False) -> int | None:
    """Number of blocks by the configuration alone; None where it does not say.

    Raises:
        ValueError: as `load_checkpoint`, for the name, the configuration and its sizes.
    """
    name, source = _resolve(name_or_path)
    hub = {"trust_remote_code": trust_remote_code, "local_files_only": not _reachable(source)}
    config = _read_config(source, name, hub)
    folder = _folder(source, hub)
    partial = folder != Path(source)
    weights = None if folder is None else find_weights(folder, config, name, partial=partial)
    if weights is not None:
        check_blocks(config, read_stored(weights, name), name)
    return getattr(config.get_text_config(), "num_hidden_layers", None)


def _read_config(source: str, name: str, hub: dict[str, Any]) -> Any:
    """The configuration, once it is one of a causal decoder with sizes that can be."""
    config = _read(source, name, "config", "AutoConfig", hub)
    check_causal(config, name)
    check_sizes(config, name)
    return config


def _check_weight_files(folder: Path, config: Any, name: str, *, partial: bool) -> None:
    """Refuse weight files that hold less than the configuration asks for."""
    weights = find_weights(folder, config, name, partial=partial)
    if weights is None:
        return
    if weights.others:
        logger.warning(
            "%s: of its weight files %s is read, %s%s not.",
            name,
            shown(weights.entry),
            shown(weights.others[0]),
            f" and {len(weights.others) - 1} more are" if len(weights.others) > 1 else " is",
        )
    stored = read_stored(weights, name)
    check_blocks(config, stored, name)
    if _quantization(config) is None:
        check_kinds(stored, name)
        if not getattr(config, "auto_map", None):
            check_shapes(config, stored, name)


def _read_weights(source: str, name: str, dtype: torch.dtype, hub: dict[str, Any]) -> Any:
    """The model with the weights of its files and no others.

    Raises:
        ValueError: weights are missing, packed or belong to more blocks than the model has.
    """
    from transformers import GenerationConfig

    options = {
        **hub,
        "dtype": dtype,
        # Eager attention is what both backends compute, and what their hooks need.
        "attn_implementation": "eager",
        "output_loading_info": True,
        # How to sample has no say here, so that nobody reads the file on it.
        "generation_config": GenerationConfig(),
        # Else transformers puts an adapter in its own way; merging it comes afterwards.
        "adapter_kwargs": {"subfolder": "no-adapter"},
    }
    hf_model, report = _read(source, name, "weights", "AutoModelForCausalLM", options)
    absent = sorted(report.get("missing_keys", ())) + sorted(map(str, report["mismatched_keys"]))
    if absent:
        raise ValueError(
            f"load_model: the weights of {shown(name)} lack {shown(absent[0])}"
            f"{f' and {len(absent) - 1} more' * (len(absent) > 1)}, which would be left random."
        )
    _check_plain_weights(hf_model, name)
    _tell_of_unused(hf_model, sorted(report.get("unexpected_keys", ())), name)
    return hf_model


def _check_plain_weights(hf_model: Any, name: str) -> None:
    """Whatever the configuration said: what was loaded must be numbers that one can read."""
    odd = [
        key
        for key, weight in hf_model.named_parameters()
        if not weight.is_floating_point() or weight.dtype not in DTYPES.values()
    ]
    if getattr(hf_model, "is_quantized", False) or odd:
        of = f" (such as {shown(odd[0])})" if odd else ""
        raise ValueError(
            f"load_model: the weights of {shown(name)} came out quantised{of}; lensdepth measures "
            f"plain floating-point weights. Take the model as it was before that."
        )


def _tell_of_unused(hf_model: Any, unused: Sequence[str], name: str) -> None:
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
            "%s: %d weights in its files have no place in %s and are not used, the first %s.",
            name,
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
            name,
        )


def _tell_of_code(config: Any, name: str) -> None:
    if getattr(config, "auto_map", None):
        logger.warning(
            "%s: code of its own comes with it and is not run; transformers' %s is. "
            "trust_remote_code=True runs it.",
            name,
            type(config).__name__.removesuffix("Config"),
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
        logger.warning("%s: its weights are quantised, and unpacked on loading.", name)
        return
    method = said.get("quant_method")
    raise ValueError(
        f"load_model: {shown(name)} is quantised ({shown(method)}); lensdepth measures plain "
        f"floating-point weights. Take the model as it was before that, or, where transformers can "
        f"unpack the method on loading, set 'dequantize': true in its quantization_config."
    )


def check_causal(config: Any, name: str) -> None:
    """Refuse an architecture that is not a decoder reading from left to right.

    Raises:
        ValueError: encoder-decoder, masked or not a language model.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = shown((getattr(config, "architectures", None) or [config.model_type])[0])
    named = f"load_model: {shown(name)} is"
    wanted = "lensdepth needs a causal decoder, such as Llama or GPT-2."
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"{named} an encoder-decoder ({kind}); {wanted}")
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if masked and not getattr(config, "is_decoder", False):
        raise ValueError(f"load_model: {shown(name)} reads in both directions ({kind}); {wanted}")
    own_code = bool(getattr(config, "auto_map", None))
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not own_code:
        raise ValueError(f"{named} not a causal language model ({kind}); {wanted}")


def parse_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The torch dtype of a name.

    Raises:
        ValueError: it is not one of the floating types that models run in.
    """
    found = DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if found is None or found not in DTYPES.values():
        raise ValueError(
            f"load_model: dtype must be one of {', '.join(DTYPES)}, got {shown(dtype)}."
        )
    return found


def parse_device(device: str | torch.device | None) -> torch.device:
    """A device that is there; None takes a CUDA device where there is one, else the CPU.

    Raises:
        ValueError: this machine has no such device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"load_model: {shown(device)} names no device; use 'cpu', 'cuda', 'cuda:1' or 'mps'."
        ) from error
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = {
        "cpu": True,
        "cuda": (found.index or 0) < n_cuda,
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(found.type, False):
        usable = ["cpu", *(f"cuda:{i}" for i in range(n_cuda))]
        usable += ["mps"] * torch.backends.mps.is_available()
        raise ValueError(
            f"load_model: there is no device {shown(device)} here; there is {', '.join(usable)}."
        )
    return found


def _resolve(name_or_path: str | Path) -> tuple[str, str]:
    """Name to show, and folder or hub name to read."""
    given = str(name_or_path)
    if given in bundled_names():
        return given, str(bundled_path(given))
    if not given.strip():
        raise ValueError(f"load_model: give a name or a folder.{_nearest(given)}")
    # os.path says no where Path raises: names too long, with a NUL, or of no user's home.
    path = Path(os.path.expanduser(given))
    if os.path.isdir(path):
        name = path.resolve().name
        _check_regular(path, name)
        if not os.path.isfile(path / "config.json"):
            raise ValueError(
                f"load_model: the folder {shown(given)} has no config.json."
                f"{how_to_merge(path, name) or _nearest(given)}"
            )
        return name, str(path)
    if os.path.exists(path):
        raise ValueError(f"load_model: {shown(given)} is a file; a model is a folder or a name.")
    if given != given.strip() or isinstance(name_or_path, Path) or _is_path(given):
        raise ValueError(f"load_model: there is no folder {shown(given)}.{_nearest(given)}")
    return given, given


def _check_regular(folder: Path, name: str) -> None:
    """Refuse pipes and devices among the files: reading one may never end."""
    with outside(f"load_model: the folder {shown(name)} cannot be read"):
        entries = list(os.scandir(folder))
    for entry in entries:
        with suppress(OSError):  # a link to nowhere is no file, and whoever needs it will say so
            mode = entry.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ValueError(
                    f"load_model: {shown(entry.name)} in {shown(name)} is a pipe or a device, and "
                    f"no file; take it out."
                )


def _folder(source: str, hub: Mapping[str, Any]) -> Path | None:
    """The folder that a model's files are in: its own, or of the hub's cache what is there yet.

    An adapter of a model on the hub is fetched, for the model is not complete without.
    """
    if Path(source).is_dir():
        return Path(source)
    with outside(f"load_model: the files of {shown(source)} cannot be looked up on the hub"):
        from transformers.utils import cached_file

        found = {
            file: cached_file(
                source,
                file,
                local_files_only=hub["local_files_only"],
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
            for file in ("config.json", CONFIG)
        }
        if found[CONFIG] is not None:
            for file in WEIGHTS:
                if cached_file(
                    source,
                    file,
                    local_files_only=hub["local_files_only"],
                    _raise_exceptions_for_missing_entries=False,
                    _raise_exceptions_for_connection_errors=False,
                ):
                    break
    return None if found["config.json"] is None else Path(found["config.json"]).parent


def _is_path(given: str) -> bool:
    return given[0] in "./~\\" or given.count("/") > 1


def _reachable(source: str) -> bool:
    """Whether asking the hub makes sense: without a network its client tries for half a minute."""
    if Path(source).is_dir():
        return False
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    address = urlparse(constants.ENDPOINT)
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        with closing(socket.create_connection((address.hostname or "", port), timeout=5)):
            return True
    except OSError:
        return False


def _read(source: str, name: str, part: str, loader: str, options: dict[str, Any]) -> Any:
    """Call a `from_pretrained` of transformers, and turn whatever it raises into one line."""
    if Path(source).is_dir() or part != "config":
        said, hint = f"load_model: the {part} of {shown(name)} cannot be read", ""
    elif options["local_files_only"]:
        said = (
            f"load_model: {shown(name)} is no bundled model, no folder and not in the local "
            f"Hugging Face cache, and the hub cannot be reached"
        )
        hint = _nearest(name)
    else:
        said = (
            f"load_model: {shown(name)} is no bundled model, no folder and could not be loaded "
            f"from the Hugging Face hub"
        )
        hint = _nearest(name)
    try:
        with outside(said, hint=hint):
            import transformers

            return getattr(transformers, loader).from_pretrained(source, **options)
    except SystemExit as error:  # of code that came with the model: no reason to leave
        raise ValueError(f"{said}: its own code called for an exit.") from error


def _check_tokenizer_files(source: str, name: str) -> None:
    """transformers makes an empty tokenizer for some architectures where the files are missing."""
    folder = Path(source)
    if folder.is_dir() and not any(
        next(folder.glob(pattern), None) for pattern in _TOKENIZER_FILES
    ):
        raise ValueError(
            f"load_model: the folder of {shown(name)} has no tokenizer (such as tokenizer.json); "
            f"save one there with tokenizer.save_pretrained."
        )


def _tokenizer_loader(source: str, name: str, trust_remote_code: bool) -> str:
    """AutoTokenizer builds some architectures' own tokenizer whatever tokenizer.json says.

    A folder that declares the plain tokenizer of tokenizer.json gets that one.
    """
    folder = Path(source)
    if not all((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json")):
        return "AutoTokenizer"
    settings = _read_object(folder / "tokenizer_config.json", name)
    declared = settings.get("tokenizer_class")
    if trust_remote_code and settings.get("auto_map"):
        return "AutoTokenizer"
    plain = declared in ("TokenizersBackend", "PreTrainedTokenizerFast")
    return "PreTrainedTokenizerFast" if plain else "AutoTokenizer"


def _tell_of_vocabulary(folder: Path | None, tokenizer: Any, hf_model: Any, name: str) -> None:
    """Say where the tokenizer's files or its ids are others than those that are used."""
    n_tokens, d_vocab = len(tokenizer), hf_model.get_input_embeddings().weight.shape[0]
    if n_tokens > d_vocab:
        logger.warning(
            "%s: its tokenizer has %d tokens, the model %d; a prompt with one beyond is refused.",
            name,
            n_tokens,
            d_vocab,
        )
    if folder is None:
        return
    used = tokenizer.get_vocab()
    for file in ("tokenizer.json", "vocab.json"):
        if not (folder / file).is_file():
            continue
        written = _read_object(folder / file, name)
        if file == "tokenizer.json":
            model = written.get("model")
            written = model.get("vocab") if isinstance(model, dict) else None
        if isinstance(written, dict):
            others = [token for token, number in written.items() if used.get(token) != number]
            if others:
                logger.warning(
                    "%s: %d tokens of its %s have other ids in the tokenizer that is used, the "
                    "first %s.",
                    name,
                    len(others),
                    file,
                    shown(others[0]),
                )


def _read_object(file: Path, name: str) -> dict[str, Any]:
    with outside(f"load_model: the {file.name} of {shown(name)} cannot be read"):
        read = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(read, dict):
        raise ValueError(
            f"load_model: the {file.name} of {shown(name)} must hold an object, got {shown(read)}."
        )
    return read


def _nearest(given: str) -> str:
    """A sentence with the names that come nearest, or nothing."""
    bundled = ", ".join(bundled_names())
    if len(given) <= LONGEST_NAME:
        path = Path(os.path.expanduser(given))
        names = {*bundled_names(), *_models_in(path.parent), *_official_names()}
        by_lower = {name.lower(): name for name in names}
        by_lower |= {Path(name).name.lower(): name for name in names}
        close = difflib.get_close_matches(given.lower(), by_lower, n=8, cutoff=0.6)
        close += difflib.get_close_matches(path.name.lower(), by_lower, n=8, cutoff=0.6)
        offered = list(dict.fromkeys(by_lower[key] for key in close))[:3]
        if offered:
            return f" Did you mean {' or '.join(map(shown, offered))}?"
    return f" Bundled models: {bundled}." if bundled else ""


def _models_in(folder: Path) -> list[str]:
    """Folders with a model in them; of a very full folder, among the first entries."""
    with suppress(OSError, ValueError):
        entries = [Path(entry.path) for entry in islice(os.scandir(folder), MOST_ENTRIES)]
        return [str(entry) for entry in entries if (entry / "config.json").is_file()]
    return []


def _official_names() -> Iterable[str]:
    with outside("load_model: TransformerLens's list of models cannot be read"):
        from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

    return OFFICIAL_MODEL_NAMES
