"""Adapters beside a model's weights: found, and merged into them by peft.

A folder with base weights and an adapter means the adapted model. Whatever of it cannot be merged
is refused, since the base alone would carry the adapted model's name.
"""

import json
import logging
from pathlib import Path
from typing import Any

from lensdepth.fingerprints import fingerprint
from lensdepth.outside import heading, outside, shown
from lensdepth.weight_files import is_adapter

logger = logging.getLogger(__name__)

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")


def find_adapter(folder: Path, name: str) -> Path | None:
    """The one adapter at the top of a folder; None where there is none.

    Adapters in folders below are not read, and that is said.

    Raises:
        ValueError: several of them, one in a form that peft does not read, or one half of it.
    """
    files = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and is_adapter(path.name) and path.is_file()
    )
    below = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    if below:
        logger.warning(
            "%s: the folder %s in it holds an adapter%s, which is not read: the model is measured "
            "without it.",
            heading(name),
            shown(below[0]),
            f", as do {len(below) - 1} more" * (len(below) > 1),
        )
    there = (folder / CONFIG).is_file()
    if not files and not there:
        return None
    begin = f"load_model: {shown(name)} holds"
    out = "or take it out of the folder to measure the base model."
    if len(files) > 1:
        raise ValueError(
            f"{begin} several adapters ({', '.join(map(shown, files[:3]))}); leave the one that is "
            f"meant, {out}"
        )
    if not there:
        raise ValueError(
            f"{begin} the adapter {shown(files[0])} without {CONFIG}, which says how it changes "
            f"the weights; put that file beside it, {out}"
        )
    if not files:
        raise ValueError(
            f"{begin} {CONFIG} without the adapter's weights (such as {WEIGHTS[0]}); put them "
            f"beside it, {out}"
        )
    if files[0] not in WEIGHTS:
        raise ValueError(
            f"{begin} the adapter {shown(files[0])} in a form that peft does not read; merge it "
            f"with the tool that made it, {out}"
        )
    _read_config(folder, name)
    return folder


def how_to_merge(folder: Path, name: str) -> str:
    """A sentence for a folder that holds an adapter and no model; nothing for any other."""
    if not (folder / CONFIG).is_file():
        return ""
    base = _read_config(folder, name).get("base_model_name_or_path")
    base = base if isinstance(base, str) else "the base model"
    return (
        f" It holds an adapter of {shown(base)} alone. Merge the two and save them together: "
        f"m = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({shown(base)}), "
        f"{shown(folder)}); m.merge_and_unload().save_pretrained('merged'), with the tokenizer "
        f"beside."
    )


def check_peft(name: str) -> None:
    """Refuse an adapter where nothing can merge it; before weights are read.

    Raises:
        ValueError: peft cannot be imported.
    """
    with outside(
        f"load_model: {shown(name)} holds an adapter beside its weights, and merging it needs peft",
        hint="pip install 'lensdepth[peft]'; or merge it elsewhere; or take the adapter's files "
        "out of the folder to measure the base model.",
    ):
        import peft  # noqa: F401  # pyright: ignore[reportMissingImports]


def merge(hf_model: Any, folder: Path, name: str) -> Any:
    """The model with its adapter merged into the weights.

    Raises:
        ValueError: peft cannot merge it, or it does not fit this model whole.
    """
    import peft  # pyright: ignore[reportMissingImports]

    keys, before = list(hf_model.state_dict()), fingerprint(hf_model.state_dict())
    with outside(
        f"load_model: the adapter of {shown(name)} cannot be merged into its weights",
        hint="Take the adapter's files out of the folder to measure the base model.",
    ):
        held = set(peft.load_peft_weights(str(folder), device="cpu"))
        adapted = peft.PeftModel.from_pretrained(hf_model, str(folder))
        # peft reports what it did not find as a warning alone, and leaves it random.
        asked = set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
        used = asked | set(adapted.state_dict())
        merged = adapted.merge_and_unload(safe_merge=True)
    for keys_left, what in ((asked - held, "lacks"), (held - used, "holds what fits nowhere:")):
        if keys_left:
            raise ValueError(
                f"load_model: the adapter of {shown(name)} {what} {shown(min(keys_left))}"
                f"{f' and {len(keys_left) - 1} more' * (len(keys_left) > 1)}; it belongs to "
                f"another model, or its {CONFIG} does."
            )
    if list(merged.state_dict()) != keys:
        raise ValueError(
            f"load_model: the adapter of {shown(name)} cannot be merged: it leaves weights of its "
            f"own. Take the adapter's files out of the folder to measure the base model."
        )
    nothing = fingerprint(merged.state_dict()) == before
    logger.warning(
        "%s: an adapter stands beside its weights and is merged into them%s.",
        heading(name),
        ", which changes none of them" * nothing,
    )
    return merged


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    with outside(f"load_model: {CONFIG} of {shown(name)} cannot be read"):
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError(
            f"load_model: {CONFIG} of {shown(name)} must be an object, got {shown(config)}."
        )
    return config
