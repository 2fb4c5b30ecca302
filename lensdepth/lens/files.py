"""Lenses that other packages fitted: files of tuned-lens and of Jacobian lenses.

Only tensors are unpickled. Neither format says which weights it was fitted on, so that sizes are
all that can be checked: a lens belongs to the model that it is loaded for. Both were made for the
raw weights of the Hugging Face model.

Sources: https://github.com/AlignmentResearch/tuned-lens (`tuned_lens/nn/lenses.py`),
https://github.com/anthropics/jacobian-lens (whose format TransformerLens 4 reads and writes).
"""

import json
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.lens.tuned import TunedLens
from lensdepth.model import DepthModel
from lensdepth.provenance import make_provenance


@checked
def load_tuned_lens(folder: str | Path, model: DepthModel) -> TunedLens:
    """Read a folder of the tuned-lens package: `params.pt` and `config.json`.

    Its translator `i` is fitted to `hidden_states[i]` of Hugging Face, which enters block `i`: it
    belongs to depth i. What it gives is added to the state, as here.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: they are damaged, of another kind of lens, or made for another size of model.
    """
    folder = Path(folder)
    config_file, params = (_existing(folder / name) for name in ("config.json", "params.pt"))
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"load_tuned_lens: {str(config_file)!r} is not JSON ({error}).") from error
    kind = config.get("lens_type", "linear_tuned_lens")
    if kind != "linear_tuned_lens":
        raise ValueError(
            f"load_tuned_lens: {str(folder)!r} holds a {kind!r}; only 'linear_tuned_lens' is read."
        )
    for name, needed in (("d_model", model.d_model), ("num_hidden_layers", model.n_layers)):
        if config.get(name) != needed:
            raise ValueError(
                f"load_tuned_lens: {str(config_file)!r} has {name} {config.get(name)}, where "
                f"{model.info.name!r} has {needed}. Give the lens of this model."
            )
    layers = range(model.n_layers)
    names = [f"{i}.weight" for i in layers]
    if config.get("bias", True):
        names += [f"{i}.bias" for i in layers]
    state = _load(params, "load_tuned_lens")
    if set(state) != set(names):
        odd = sorted(set(state) ^ set(names), key=str)
        raise ValueError(
            f"load_tuned_lens: {str(params)!r} must hold weights and biases of translators 0 ... "
            f"{model.n_layers - 1} and nothing else; {odd[0]!r} is missing or too much."
        )
    return _lens(
        "tuned",
        model,
        torch.stack([_matrix(state[f"{i}.weight"], params, f"{i}.weight", model) for i in layers]),
        torch.stack([_vector(state.get(f"{i}.bias"), params, f"{i}.bias", model) for i in layers]),
        settings={"source": str(folder), "config": config},
    )


@checked
def load_jacobian_lens(path: str | Path, model: DepthModel) -> TunedLens:
    """Read a Jacobian lens: a `.pt` file as `JacobianLens.save` of TransformerLens 4 writes it.

    Its matrix J of layer l is the mean derivative of the last block's output by that of block l:
    depth l + 1 is read as J h, so A = J - 1 and b = 0. It has none for depth 0, which is read as
    the logit lens does. Fitting takes TransformerLens 4 (`JacobianLens.fit` on a bridge with raw
    weights, `model.model`); reading a file does not.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no Jacobian lens, or one of another size or for a layer other than
            the last.
    Source: Gurnee et al. 2026, https://transformer-circuits.pub/2026/workspace.
    """
    path = _existing(Path(path))
    state = _load(path, "load_jacobian_lens")
    jacobians, about = state.get("J"), state.get("metadata") or {}
    layers = range(model.n_layers - 1)
    if not isinstance(jacobians, dict) or {int(i) for i in jacobians} != set(layers):
        found = sorted(jacobians) if isinstance(jacobians, dict) else "no 'J'"
        raise ValueError(
            f"load_jacobian_lens: {str(path)!r} must hold 'J' with layers 0 ... "
            f"{model.n_layers - 2} (all but the last of {model.info.name!r}), got {found}."
        )
    if about.get("target_layer", model.n_layers - 1) != model.n_layers - 1:
        raise ValueError(
            f"load_jacobian_lens: {str(path)!r} leads to layer {about['target_layer']}, not to "
            f"the last one ({model.n_layers - 1}). Fit it anew with the last layer as target."
        )
    by_layer = {int(i): matrix for i, matrix in jacobians.items()}
    weights = torch.zeros(model.n_layers, model.d_model, model.d_model)
    for i in layers:
        jacobian = _matrix(by_layer[i], path, f"J[{i}]", model)
        weights[i + 1] = jacobian - torch.eye(model.d_model)
    return _lens(
        "jacobian",
        model,
        weights,
        torch.zeros(model.n_layers, model.d_model),
        settings={"source": str(path), "n_prompts": state.get("n_prompts"), "metadata": about},
    )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}.")
    return path


def _load(path: Path, caller: str) -> dict[Any, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{caller}: {str(path)!r} is no file of tensors alone ({reason})."
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{caller}: {str(path)!r} holds a {type(state).__name__}, not a dict.")
    return state


def _matrix(
    value: Any, path: Path, name: str, model: DepthModel
) -> Float[Tensor, "d_model d_model"]:
    return _shaped(value, path, name, (model.d_model, model.d_model))


def _vector(value: Any, path: Path, name: str, model: DepthModel) -> Float[Tensor, " d_model"]:
    if value is None:  # a lens without biases
        return torch.zeros(model.d_model)
    return _shaped(value, path, name, (model.d_model,))


def _shaped(value: Any, path: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
    if got != list(shape):
        raise ValueError(f"{str(path)!r}: {name} must have shape {list(shape)}, got {got}.")
    return value.float()


def _lens(
    kind: Literal["tuned", "jacobian"],
    model: DepthModel,
    weights: Float[Tensor, "depth d_model d_model"],
    bias: Float[Tensor, "depth d_model"],
    *,
    settings: dict[str, Any],
) -> TunedLens:
    return TunedLens(
        provenance=make_provenance(
            f"load_{kind}_lens", model.info, task="none", prompts=(), settings=settings
        ),
        kind=kind,
        weights=weights,
        bias=bias,
        kl_before=None,
        kl_after=None,
    )
