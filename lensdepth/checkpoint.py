"""From a name or a folder to a Hugging Face model with checked weights and its tokenizer.

Reach for `load_model`; this is its first half. Whatever goes wrong here is one
`ValueError` of one line, raised before weights are read where that is possible.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lensdepth.adapters import CONFIG, WEIGHTS, check_peft, find_adapter, how_to_merge, merge
from lensdepth.beside import (
    check_plain,
    check_plain_weights,
    check_tokenizer,
    check_weight_files,
    named_architectures,
    read_object,
    tell_of_architecture,
    tell_of_code,
    tell_of_unused,
    tell_of_vocabulary,
)
from lensdepth.devices import Spread
from lensdepth.fingerprints import configuration_fingerprint, fingerprint
from lensdepth.finite import check_weights
from lensdepth.outside import outside, shown
from lensdepth.packed import Quantize, packing, packing_told
from lensdepth.signals import Ended
from lensdepth.sources import Source, nearest, out_of_reach, reachable, resolve
from lensdepth.weight_files import check_blocks, check_sizes, find_weights, read_stored

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "*.tiktoken",
)


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
    configuration: str
    """Fingerprint of the configuration; the other is of the weights."""
    quantization: str = ""
    """How the weights were packed before they were made plain; "" where they always were."""
    origin: str = ""
    """Where its files come from, as far as that is known."""


def load_checkpoint(
    name_or_path: str | Path,
    *,
    device: torch.device | Spread,
    dtype: torch.dtype,
    quantize: Quantize | None = None,
    trust_remote_code: bool = False,
    file: str | None = None,
    revision: str | None = None,
    subfolder: str = "",
) -> Checkpoint:
    """Read a bundled model, a local folder, a GGUF file or a Hugging Face name; see `resolve`.

    An adapter beside the weights is merged into them. Whatever else stands there and says another
    thing than what is read is logged as a warning.

    Raises:
        ValueError: there is no such model, it is not a causal decoder, its files are missing,
            damaged or quantised, do not fit its configuration, or hold weights that are not
            finite.
    """
    found = resolve(name_or_path, file=file, revision=revision, subfolder=subfolder)
    name, source = found.name, found.place
    hub = _options(found, trust_remote_code)
    folder = _folder(source, name, hub)
    config = _read_config(source, name, hub)
    check_plain(config, name)
    own_code = trust_remote_code and bool(getattr(config, "auto_map", None))
    if not trust_remote_code:
        tell_of_code(folder, config, name)
    _check_tokenizer_files(source, name)
    adapter = None
    if folder is not None:
        partial = folder != Path(source)
        check_weight_files(folder, config, name, partial=partial, own_code=own_code)
        adapter = find_adapter(folder, name)
    if adapter is not None:
        check_peft(name)
        if quantize is not None:
            raise ValueError(
                f"load_model: the adapter beside {shown(name)} is merged into plain weights, which "
                f"packed ones are not; leave quantize out.{how_to_merge(adapter, name)}"
            )
    loader = _tokenizer_loader(source, name, trust_remote_code)
    tokenizer = _read(source, name, "tokenizer", loader, hub)
    check_tokenizer(tokenizer, name)
    packs: dict[str, Any] = {}
    if isinstance(device, Spread):
        packs = {"device_map": device.device_map}
    elif quantize is not None:
        packs = packing(quantize, device, dtype)
    hf_model = _read_weights(source, name, dtype, hub | packs)
    if adapter is not None:
        hf_model = merge(hf_model, adapter, name)
    tell_of_vocabulary(folder, tokenizer, hf_model, name)
    weights = hf_model.state_dict()
    check_weights(weights, name)
    with outside(f"load_model: {shown(name)} cannot be put on {shown(str(device))}"):
        hf_model = hf_model.eval() if packs else hf_model.to(device).eval()
    return Checkpoint(
        hf_model=hf_model,
        tokenizer=tokenizer,
        source=source,
        name=name,
        architecture=type(hf_model).__name__,
        fingerprint=fingerprint(weights),
        configuration=configuration_fingerprint(hf_model.config),
        quantization=_packed_how(found, quantize),
        origin=_origin(found, folder),
    )


def _options(found: Source, trust_remote_code: bool) -> dict[str, Any]:
    """What every call that reads a part of the model is given."""
    offline = not reachable(found.place)
    return {"trust_remote_code": trust_remote_code, "local_files_only": offline, **found.at}


def _packed_how(found: Source, quantize: Quantize | None) -> str:
    said = [found.about.quantization] if found.about and found.about.quantization else []
    return ", then ".join([*said, *([packing_told(quantize)] if quantize else [])])


def _origin(found: Source, folder: Path | None) -> str:
    if found.about is not None:
        return f"{found.about.source}, SHA-256 {found.about.sha256}"
    if folder is None or folder == Path(found.place):
        return ""
    commit = next((part for part in folder.parts if re.fullmatch("[0-9a-f]{40}", part)), "")
    return f"Hugging Face hub, commit {commit}" if commit else ""


def read_n_layers(
    name_or_path: str | Path,
    *,
    trust_remote_code: bool = False,
    file: str | None = None,
    revision: str | None = None,
    subfolder: str = "",
) -> int | None:
    """Number of blocks by the configuration alone; None where it does not say.

    Raises:
        ValueError: as `load_checkpoint`, for the name, the configuration and its sizes.
    """
    found = resolve(name_or_path, file=file, revision=revision, subfolder=subfolder)
    name, source = found.name, found.place
    hub = _options(found, trust_remote_code)
    folder = _folder(source, name, hub)
    config = _read_config(source, name, hub)
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
        "adapter_kwargs": {"subfolder": "no-adapter", "local_files_only": True},
    }
    hf_model, report = _read(source, name, "weights", "AutoModelForCausalLM", options)
    absent = sorted(report.get("missing_keys", ())) + sorted(map(str, report["mismatched_keys"]))
    if absent:
        raise ValueError(
            f"load_model: the weights of {shown(name)} lack {shown(absent[0])}"
            f"{f' and {len(absent) - 1} more' * (len(absent) > 1)}, which would be left random."
        )
    if "quantization_config" not in hub:
        check_plain_weights(hf_model, name)
    tell_of_architecture(hf_model, name)
    tell_of_unused(hf_model, sorted(report.get("unexpected_keys", ())), name)
    return hf_model


def check_causal(config: Any, name: str) -> None:
    """Refuse an architecture that is not a decoder reading from left to right.

    Raises:
        ValueError: encoder-decoder, masked or not a language model.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = shown([*named_architectures(config), config.model_type][0])
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


def _folder(source: str, name: str, hub: Mapping[str, Any]) -> Path | None:
    """The folder that a model's files are in: its own, or of the hub's cache what is there yet.

    An adapter of a model on the hub is fetched, for the model is not complete without.
    """
    if os.path.isdir(source):
        return Path(source)
    found: dict[str, Path] = {}
    with _asking(source, name, "config", hub):
        from transformers.utils.hub import cached_file

        for file in ("config.json", CONFIG, *WEIGHTS):
            if file not in WEIGHTS or (CONFIG in found and not {*WEIGHTS} & {*found}):
                path = cached_file(
                    source,
                    file,
                    local_files_only=hub["local_files_only"],
                    revision=hub.get("revision"),
                    subfolder=hub.get("subfolder", ""),
                    _raise_exceptions_for_missing_entries=False,
                    _raise_exceptions_for_connection_errors=False,
                )
                found |= {} if path is None else {file: Path(path)}
    if not found and hub["local_files_only"]:
        raise ValueError(out_of_reach(name))
    if CONFIG in found and "config.json" not in found:
        raise ValueError(
            f"load_model: {shown(name)} has no config.json."
            f"{how_to_merge(found[CONFIG].parent, name)}"
        )
    return found["config.json"].parent if found else None


def _read(source: str, name: str, part: str, loader: str, options: dict[str, Any]) -> Any:
    """Call a `from_pretrained` of transformers, and turn whatever it raises into one line."""
    asking = _asking(source, name, part, options)
    try:
        with asking:
            import transformers

            return getattr(transformers, loader).from_pretrained(source, **options)
    except Ended:
        raise
    except SystemExit as error:  # of code that came with the model: no reason to leave
        raise ValueError(f"{asking.said}: code that comes with it called for an exit.") from error


def _asking(source: str, name: str, part: str, options: Mapping[str, Any]) -> outside:
    """The boundary round whatever reads a part of a model, with the words for its failing."""
    if os.path.isdir(source) or part != "config":
        return outside(f"load_model: the {part} of {shown(name)} cannot be read")
    where = (
        "cannot be read from the local Hugging Face cache, and the hub cannot be reached"
        if options["local_files_only"]
        else "could not be loaded from the Hugging Face hub"
    )
    said = f"load_model: {shown(name)} is no bundled model, no folder and {where}"
    return outside(said, hint=nearest(name).strip())


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
    settings = read_object(folder / "tokenizer_config.json", name)
    declared = settings.get("tokenizer_class")
    if trust_remote_code and settings.get("auto_map"):
        return "AutoTokenizer"
    plain = declared in ("TokenizersBackend", "PreTrainedTokenizerFast")
    return "PreTrainedTokenizerFast" if plain else "AutoTokenizer"
