"""Lenses that other packages fitted: files of tuned-lens and of Jacobian lenses.

Only tensors are unpickled. What the files say about the model that they were fitted on is held
against the one that they are loaded for: sizes and the layer that they lead to must be its own, a
fingerprint of the unembedding too, and another name is said aloud where there is no such
fingerprint. Both kinds were made for the raw weights of the Hugging Face model.

Sources: https://github.com/AlignmentResearch/tuned-lens (`tuned_lens/nn/lenses.py`),
https://github.com/anthropics/jacobian-lens (whose format TransformerLens 4 reads and writes).
"""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.lens.tuned import TunedLens
from lensdepth.model import DepthModel
from lensdepth.outside import cut, heading, outside, shown, visible
from lensdepth.provenance import make_provenance

logger = logging.getLogger(__name__)

LONGEST_CONFIG = 100_000
"""Characters that a lens's description may have; that of a real one has a few hundred."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@checked
def load_tuned_lens(folder: str | Path, model: DepthModel, *, strict: bool = True) -> TunedLens:
    """Read a folder of the tuned-lens package: `params.pt` and `config.json`.

    Its translator `i` is fitted to `hidden_states[i]` of Hugging Face, which enters block `i`: it
    belongs to depth i. What it gives is added to the state, as here.

    The package keeps a hash of the unembedding, `unembed_hash`. It is one of the matrix as NumPy
    prints it, its corners to one decimal: another hash means another unembedding, the same hash is
    no proof of the same one.

    Args:
        folder: with both files.
        model: that the lens was fitted on.
        strict: refuse the lens of another unembedding; False loads it with a warning.
    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: they are damaged, of another kind of lens, or made for another model.
    """
    folder = Path(folder)
    config_file, params = (_existing(folder / name) for name in ("config.json", "params.pt"))
    with outside(f"load_tuned_lens: {shown(config_file)} is not JSON"):
        with config_file.open(encoding="utf-8") as file:
            text = file.read(LONGEST_CONFIG + 1)
        if len(text) > LONGEST_CONFIG:
            raise ValueError(f"it has more than {LONGEST_CONFIG:,} characters")
        config = json.loads(text)
    if not isinstance(config, dict):
        raise ValueError(
            f"load_tuned_lens: {shown(config_file)} must hold an object, got {shown(config)}."
        )
    kind = config.get("lens_type", "linear_tuned_lens")
    if kind != "linear_tuned_lens":
        raise ValueError(
            f"load_tuned_lens: {shown(folder)} holds a {shown(kind)}; only 'linear_tuned_lens' is "
            f"read."
        )
    for name, needed in (("d_model", model.d_model), ("num_hidden_layers", model.n_layers)):
        if not _is(config.get(name), needed):
            raise ValueError(
                f"load_tuned_lens: {shown(config_file)} has {name} {shown(config.get(name))}, "
                f"where {shown(model.info.name)} has {needed}. Give the lens of this model."
            )
    if not isinstance(config.get("bias", True), bool):
        raise ValueError(
            f"load_tuned_lens: {shown(config_file)} has bias {shown(config['bias'])}; it must be "
            f"true or false."
        )
    layers = range(model.n_layers)
    names = [f"{i}.weight" for i in layers]
    if config.get("bias", True):
        names += [f"{i}.bias" for i in layers]
    state = _load(params, "load_tuned_lens")
    if set(state) != set(names):
        odd = sorted(set(state) ^ set(names), key=str)
        raise ValueError(
            f"load_tuned_lens: {shown(params)} must hold weights and biases of translators 0 ... "
            f"{model.n_layers - 1} and nothing else; {shown(odd[0])} is missing or too much."
        )
    no_bias = torch.zeros(model.d_model)
    biases = [state.get(f"{i}.bias", no_bias) for i in layers]
    caller, where = "load_tuned_lens", str(folder)
    if not _same_unembedding(config.get("unembed_hash"), where, model, strict=strict):
        _tell_of_name(
            caller,
            where,
            model,
            name=config.get("base_model_name_or_path"),
            revision=config.get("base_model_revision"),
        )
    return _lens(
        "tuned",
        model,
        torch.stack([_matrix(state[f"{i}.weight"], params, f"{i}.weight", model) for i in layers]),
        torch.stack([_vector(bias, params, f"{i}.bias", model) for i, bias in enumerate(biases)]),
        settings={"source": where, "config": config},
    )


@checked
def load_jacobian_lens(path: str | Path, model: DepthModel) -> TunedLens:
    """Read a Jacobian lens: a `.pt` file as `JacobianLens.save` of TransformerLens 4 writes it.

    Its matrix J of layer l is the mean derivative of the last block's output by that of block l:
    depth l + 1 is read as J h, so A = J - 1 and b = 0. It has none for depth 0, which is read as
    the logit lens does. Fitting takes TransformerLens 4 (`JacobianLens.fit` on a bridge with raw
    weights, `model.model`); reading a file does not.

    The files know the name of their model and no fingerprint of its weights.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no Jacobian lens, or one of another size or estimator, on processed
            weights, for another hook or for a layer other than the last.
    Source: Gurnee et al. 2026, https://transformer-circuits.pub/2026/workspace.
    """
    path = _existing(Path(path))
    caller, where = "load_jacobian_lens", str(path)
    state = _load(path, caller)
    jacobians, about = state.get("J"), state.get("metadata")
    about = {} if about is None else about
    if not isinstance(about, dict):
        raise ValueError(f"{caller}: {shown(where)} has metadata {shown(about)}, which is no dict.")
    layers = range(model.n_layers - 1)
    found = "no 'J'"
    by_layer: dict[str, Any] = {}
    if isinstance(jacobians, dict):
        by_layer = {str(i): matrix for i, matrix in jacobians.items()}
        found = cut(visible(str(sorted(jacobians, key=str))))
    if set(by_layer) != {str(i) for i in layers} or not isinstance(jacobians, dict):
        raise ValueError(
            f"{caller}: {shown(where)} must hold 'J' with layers 0 ... "
            f"{model.n_layers - 2} (all but the last of {shown(model.info.name)}), got {found}."
        )
    last = model.n_layers - 1
    target = about.get("target_layer", state.get("target_layer", last))
    if not _is(target, last):
        raise ValueError(
            f"{caller}: {shown(where)} leads to layer {shown(target)}, not to "
            f"the last one ({last}). Fit it anew with the last layer as target."
        )
    _check_said(about | {"d_model": state.get("d_model", model.d_model)}, where, model)
    _tell_of_name(
        caller,
        where,
        model,
        name=about.get("model_name", state.get("model_name")),
        revision=about.get("model_revision", state.get("model_revision")),
    )
    weights = torch.zeros(model.n_layers, model.d_model, model.d_model)
    for i in layers:
        jacobian = _matrix(by_layer[str(i)], path, f"J[{i}]", model)
        weights[i + 1] = jacobian - torch.eye(model.d_model)
    return _lens(
        "jacobian",
        model,
        weights,
        torch.zeros(model.n_layers, model.d_model),
        settings={"source": where, "n_prompts": state.get("n_prompts"), "metadata": about},
    )


# What the files say about their model


def unembedding_hashes(matrix: Float[Tensor, "d_vocab d_model"]) -> set[str]:
    """What tuned-lens would write as `unembed_hash`, the model being in 32 or in 16 bits.

    Source: `tensor_hash` in `tuned_lens/utils.py` of tuned-lens 0.2.
    """
    wide = matrix.detach().cpu().float()
    found = set()
    # NumPy prints by settings that anybody may have changed; these are the ones it starts with.
    plain = {"edgeitems": 3, "threshold": 1000, "linewidth": 75, "suppress": False, "sign": "-"}
    with np.printoptions(**plain, floatmode="maxprec", formatter=None):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            text = np.array_str(wide.to(dtype).float().numpy(), precision=1)
            found.add(hashlib.sha256(text.encode()).hexdigest())
    return found


def _same_unembedding(said: Any, where: str, model: DepthModel, *, strict: bool) -> bool:
    """Whether a tuned lens's hash is that of the model; False where nobody can tell.

    Raises:
        ValueError: it is another one, in numbers that would show it.
    """
    if said is None:
        return False
    info = model.info
    if isinstance(said, str) and said in unembedding_hashes(model.unembedding()[0]):
        return True
    begin = f"{shown(where)} was fitted on another unembedding than that of {shown(info.name)}"
    if info.weights == "raw" and info.dtype in ("float32", "float64"):
        found = f"{begin} (unembed_hash {shown(said, 20)})"
        if strict:
            raise ValueError(
                f"load_tuned_lens: {found}. Give the lens of this model; strict=False loads it all "
                f"the same."
            )
        logger.warning("load_tuned_lens: %s; it is loaded all the same.", found)
    else:
        logger.warning(
            "load_tuned_lens: %s, or %s hides that it is the same one: load the model in float32 "
            "with raw weights to know.",
            begin,
            info.dtype if info.weights == "raw" else "its processing",
        )
    return False


def _check_said(about: Mapping[Any, Any], where: str, model: DepthModel) -> None:
    """Refuse a Jacobian lens that says it was fitted on something else than residual states."""
    processing = about.get("processing")
    processing = processing if isinstance(processing, dict) else {}
    expected = {
        "d_model": (about.get("d_model"), model.d_model),
        "estimator": (about.get("estimator", "jacobian_lens"), "jacobian_lens"),
        "hook_convention": (
            about.get("hook_convention", "blocks.{layer}.hook_out"),
            "blocks.{layer}.hook_out",
        ),
        "processing.compatibility_mode": (processing.get("compatibility_mode", False), False),
        "processing.weight_basis": (
            processing.get("weight_basis", "raw_huggingface"),
            "raw_huggingface",
        ),
    }
    for key, (found, needed) in expected.items():
        if not _is(found, needed):
            raise ValueError(
                f"load_jacobian_lens: {shown(where)} says {key} {shown(found)}; only "
                f"{shown(needed)} can be read for {shown(model.info.name)}."
            )


def _tell_of_name(caller: str, where: str, model: DepthModel, *, name: Any, revision: Any) -> None:
    """Say where a lens names another model; names of one model may differ by folder or owner."""
    own = model.info.name
    others = []
    if name is not None and _last(str(name)) != _last(own):
        others.append(f"the model {shown(name)}")
    if revision not in (None, "main", ""):
        others.append(f"the revision {shown(revision)}")
    if others:
        logger.warning(
            "%s: %s was fitted on %s and is loaded for %s; nothing in it tells whether these have "
            "the same weights.",
            caller,
            shown(where),
            " in ".join(reversed(others)),
            shown(own),
        )


def _last(name: str) -> str:
    """The last part of a name or path, in small letters."""
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2].lower()


# Files


def _existing(path: Path) -> Path:
    if not os.path.isfile(path):  # which says no to names too long, and to pipes
        raise FileNotFoundError(f"there is no file {shown(path)}.")
    return path


def _load(path: Path, caller: str) -> dict[Any, Any]:
    _check_sums(path, caller)
    with outside(f"{caller}: {shown(path)} is no file of tensors alone"):
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"{caller}: {shown(path)} holds a {type(state).__name__}, not a dict.")
    return state


def _check_sums(path: Path, caller: str) -> None:
    """Refuse a file in which a bit is another: torch writes checksums, and reads without them.

    Raises:
        ValueError: it is not what was saved.
    """
    damaged = outside(f"{caller}: {shown(path)} is damaged")
    with damaged:
        if not zipfile.is_zipfile(path):  # from before torch 1.6, and without checksums
            return
    with damaged, zipfile.ZipFile(path) as file:
        summed = any(part.CRC for part in file.infolist())  # torch can leave them out: all are 0
        wrong = file.testzip() if summed else None
    if wrong is not None:
        raise ValueError(
            f"{caller}: {shown(path)} is damaged: {shown(wrong)} in it is not what was saved. "
            f"Take another copy."
        )


def _is(found: Any, needed: object) -> bool:
    """Whether this is the very value; what a file holds may be a tensor, or True for 1."""
    return type(found) is type(needed) and found == needed


def _matrix(
    value: Any, path: Path, name: str, model: DepthModel
) -> Float[Tensor, "d_model d_model"]:
    return _shaped(value, path, name, (model.d_model, model.d_model))


def _vector(value: Any, path: Path, name: str, model: DepthModel) -> Float[Tensor, " d_model"]:
    return _shaped(value, path, name, (model.d_model,))


def _shaped(value: Any, path: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
    if got != list(shape):
        raise ValueError(f"{shown(path)}: {name} must have shape {list(shape)}, got {got}.")
    plain = value.layout == torch.strided and value.device.type == "cpu"
    if value.dtype not in _FLOATS or not plain:
        kind = str(value.dtype).removeprefix("torch.") if plain else f"a {value.layout} tensor"
        kind = kind if value.device.type == "cpu" else f"a tensor on {value.device}"
        raise ValueError(f"{shown(path)}: {name} must be floating-point numbers, got {kind}.")
    found = value.detach().float()
    if not found.isfinite().all():
        raise ValueError(
            f"{shown(path)}: {name} holds numbers that are not finite in float32; the file is "
            f"damaged, or the fit was."
        )
    return found


def _lens(
    kind: Literal["tuned", "jacobian"],
    model: DepthModel,
    weights: Float[Tensor, "depth d_model d_model"],
    bias: Float[Tensor, "depth d_model"],
    *,
    settings: dict[str, Any],
) -> TunedLens:
    with outside(f"load_{kind}_lens: what {shown(settings['source'])} says of itself is no JSON"):
        text = json.dumps(settings, default=str)
        if len(text) > LONGEST_CONFIG:
            raise ValueError(f"it has more than {LONGEST_CONFIG:,} characters")
        kept = json.loads(text)
    if model.info.weights == "processed":
        logger.warning(
            "%s: lenses of other packages are fitted on raw weights; those of %s are processed.",
            f"load_{kind}_lens",
            heading(model.info.name),
        )
    return TunedLens(
        provenance=make_provenance(
            f"load_{kind}_lens", model.info, task="none", prompts=(), settings=kept
        ),
        kind=kind,
        weights=weights,
        bias=bias,
        kl_before=None,
        kl_after=None,
    )
