"""Steering vectors of other packages: repeng's GGUF files, and the layers of steering-vectors.

Both count blocks, from 0, and add a vector to a block's output at every token. The output of
block b is depth b + 1 here, so that depth 0, which enters block 0, has no place in them. Neither
says anything about the weights that a vector was made on, nor keeps a strength: what is written is
strength times vector, and what is read has strength 1.

- repeng (`ControlVector.export_gguf`): a GGUF file of the architecture `controlvector`, with
  `controlvector.model_hint` (the model's `model_type`), `controlvector.layer_count` (the number of
  vectors) and a float32 tensor `direction.N` for each. llama.cpp reads these too, and takes none
  for block 0.
- steering-vectors: `SteeringVector(layer_activations=..., layer_type="decoder_block")`. Its class
  writes no file of its own; what users pickle is not read here. Load it there, and hand over its
  `layer_activations`.

Sources: https://github.com/vgel/repeng (`repeng/extract.py`, `repeng/control.py`),
https://github.com/steering-vectors/steering-vectors (`steering_vectors/steering_vector.py`),
https://github.com/ggml-org/llama.cpp (`src/llama-adapter.cpp`).
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.gguf.header import NEEDS, read_any_header
from lensdepth.gguf.unpack import numbers
from lensdepth.model import DepthModel
from lensdepth.outside import outside, shown
from lensdepth.provenance import make_provenance
from lensdepth.site import depth_after
from lensdepth.steering.vector import SteeringVector, VectorPositions, places, vector_edit
from lensdepth.writing import whole_file

logger = logging.getLogger(__name__)

ARCHITECTURE = "controlvector"
_DIRECTION = re.compile(r"direction\.(0|[1-9]\d{0,5})")


def layer_activations(vector: SteeringVector, *, caller: str) -> dict[int, Tensor]:
    """Block -> strength times vector, for what adds to the outputs of blocks at every token.

    Raises:
        ValueError: it does something else, or on processed weights.
    """
    depths = [depth_after(vector.stream, depth) for depth in vector.depths]
    needed = {
        "edit 'add'": (vector.edit, vector.edit == "add"),
        "stream 'resid_pre' or 'resid_post'": (
            vector.stream,
            vector.stream in ("resid_pre", "resid_post"),
        ),
        "depths from 1 on, which blocks put out": (list(vector.depths), 0 not in depths),
        "positions 'all'": (vector.positions, vector.positions == "all"),
        "coordinates 'raw'": (vector.coordinates, vector.coordinates == "raw"),
        "raw weights": (
            vector.provenance.model.weights,
            vector.provenance.model.weights == "raw",
        ),
    }
    for need, (got, fits) in needed.items():
        if not fits:
            raise ValueError(
                f"{caller}: other packages add to the outputs of blocks at every token, which "
                f"needs {need}; this vector has {got!r}."
            )
    scaled = vector.strength * vector.vector
    return {depth - 1: row.clone() for depth, row in zip(depths, scaled, strict=True)}


@checked
def from_layer_activations(
    model: DepthModel,
    activations: Mapping[int, Float[Tensor, " d_model"]],
    *,
    layer_type: str = "decoder_block",
    strength: float | None = None,
    positions: VectorPositions = "all",
) -> SteeringVector:
    """A steering vector from the `layer_activations` of the package steering-vectors.

    Nothing in them tells the model: they are taken for this one's.

    Args:
        model: the one that they were made on.
        activations: block -> what is added to its output.
        layer_type: as there; only `"decoder_block"` is the output of a block.
        strength: factor of the vectors (`multiplier` there); None is 1.
        positions: `"all"`, or indices from the start of each text.
    Raises:
        ValueError: another layer type, a block that the model has not, another width, numbers that
            are not finite, or a model with processed weights.
    """
    caller = "from_layer_activations"
    if layer_type != "decoder_block":
        raise ValueError(
            f"{caller}: layer_type must be 'decoder_block', whose output is a residual state, got "
            f"{layer_type!r}."
        )
    settings = {"layer_type": layer_type}
    return _taken(model, activations, strength, positions, settings, caller=caller)


def write_repeng(vector: SteeringVector, path: str | Path, model_hint: str | None) -> None:
    """See `SteeringVector.to_repeng`."""
    caller = "SteeringVector.to_repeng"
    found = layer_activations(vector, caller=caller)
    architecture = vector.provenance.model.architecture
    hint = model_hint or next(iter(_model_types(architecture)), None)
    if hint is None:
        raise ValueError(
            f"{caller}: no model_type is known for {shown(architecture)}; name it by model_hint."
        )
    with outside(f"{caller}: writing GGUF files needs the package gguf", hint=f"{NEEDS}."):
        import gguf
    with whole_file(path) as partial, outside("gguf", kind=OSError):
        writer = gguf.GGUFWriter(partial, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", hint)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(found))
        for layer, row in sorted(found.items()):
            writer.add_tensor(f"direction.{layer}", row.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


@checked
def load_repeng_vector(
    path: str | Path,
    model: DepthModel,
    *,
    strength: float | None = None,
    positions: VectorPositions = "all",
    allow_other_model: bool = False,
) -> SteeringVector:
    """A control vector that repeng or llama.cpp wrote to a GGUF file.

    `direction.N` is added to the output of block N, depth N + 1. The file names the model's type
    and no fingerprint of its weights.

    Args:
        path: of the file.
        model: the one that it was made on.
        strength: factor of the vectors (`coeff` there); None is 1.
        positions: `"all"`, or indices from the start of each text.
        allow_other_model: take it for a model of another type than the file names.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no control vector or is damaged, is of another type of model, of
            another width or for more blocks, or gguf is not installed.
    """
    caller, path = "load_repeng_vector", Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {shown(str(path))}.")
    said = f"{caller}: {shown(str(path))}"
    header = read_any_header(path, path.name, caller)
    if header.architecture != ARCHITECTURE:
        raise ValueError(
            f"{said} holds {shown(header.architecture or 'no architecture')} and no control vector."
        )
    hint, types = header.of("model_hint", ""), _model_types(model.info.architecture)
    if hint and hint not in types and not allow_other_model:
        known = shown(types[0] if types else model.info.architecture)
        raise ValueError(
            f"{said} was made for a model of type {shown(hint)}, and {shown(model.info.name)} is "
            f"{known}; allow_other_model=True takes it all the same."
        )
    data = np.memmap(path, mode="r", dtype=np.uint8)
    found = {}
    for name, tensor in header.tensors.items():
        layer = _DIRECTION.fullmatch(name)
        if layer is None or len(tensor.shape) != 1:
            raise ValueError(
                f"{said} holds {shown(name)} of shape {list(tensor.shape)}; a control vector has "
                f"direction.0, direction.1 ... of one dimension."
            )
        with outside(f"{said}: {shown(name)} cannot be unpacked"):
            found[int(layer[1])] = numbers(data, tensor)
    settings = {"source": str(path), "model_hint": hint if isinstance(hint, str) else ""}
    vector = _taken(model, found, strength, positions, settings, caller=caller)
    logger.warning(
        "%s is taken for a vector of %s; nothing in it tells whether these have the same weights.",
        said,
        shown(model.info.name),
    )
    return vector


def _model_types(architecture: str) -> list[str]:
    """The `model_type`s of transformers whose causal model is of this class, its own first."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMES

    def others(kind: str) -> bool:
        return not architecture.lower().startswith(kind.replace("_", ""))

    return sorted((kind for kind, name in NAMES.items() if name == architecture), key=others)


def _taken(
    model: DepthModel,
    by_layer: Mapping[int, Tensor],
    strength: float | None,
    positions: VectorPositions,
    settings: dict[str, Any],
    *,
    caller: str,
) -> SteeringVector:
    """Vectors by block as one of this model, at depths b + 1."""
    info, layers = model.info, sorted(by_layer)
    if info.weights != "raw":
        raise ValueError(
            f"{caller}: vectors of other packages are of raw weights, and those of "
            f"{shown(info.name)} are {info.weights}; load it with raw weights."
        )
    if not layers or not 0 <= layers[0] <= layers[-1] < info.n_layers:
        raise ValueError(
            f"{caller}: vectors must be of blocks within 0...{info.n_layers - 1} of "
            f"{shown(info.name)}, one at least; got {layers}."
        )
    for layer in layers:
        row = by_layer[layer]
        if tuple(row.shape) != (info.d_model,) or not row.isfinite().all():
            raise ValueError(
                f"{caller}: the vector of block {layer} must be {info.d_model} finite numbers, the "
                f"d_model of {shown(info.name)}; got {list(row.shape)}."
            )
    depths = tuple(layer + 1 for layer in layers)
    hooks, relative = places("resid_pre", depths, info.n_layers)
    return SteeringVector(
        provenance=make_provenance(caller, info, task="none", prompts=(), settings=settings),
        edit="add",
        strength=vector_edit("add", strength, caller=caller)[0],
        vector=torch.stack([by_layer[layer].detach().cpu().float() for layer in layers]),
        stream="resid_pre",
        depths=depths,
        head=None,
        positions=positions,
        coordinates="raw",
        hooks=hooks,
        relative_depths=relative,
    )
