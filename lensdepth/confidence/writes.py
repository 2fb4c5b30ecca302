"""What MLPs write into the null space of the unembedding, and what entropy owes to it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import metrics
from lensdepth.circuit.frozen import Frozen, Wide, as_function, final_norm, freeze
from lensdepth.confidence.null_space import NullSpace, null_space
from lensdepth.model import DepthModel
from lensdepth.site import depth_hook, site_hook
from lensdepth.sweep.states import states_at
from lensdepth.tokens import TokenBatch

AT_A_TIME = 32
"""Prompts whose logits over the whole vocabulary are held at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NullWrites:
    """The null space of a model's unembedding, and what MLPs write there at the last token."""

    dim: int
    """Directions that were taken."""
    gain: float
    """How much they are read, as a share of how much all are; see `NullSpace`."""
    expected: float
    """Share of a random vector's squared length that lies in them, on average."""
    share: Float[Tensor, "pair layer"]
    """Share of the squared length of each MLP's write that lies in them."""
    neurons: Float[Tensor, "layer neuron"] | None
    """The same of each neuron's output weights; None where a block's MLP is no plain one."""
    entropy: Float[Tensor, "pair layer"]
    """Change of entropy, in nats, where in the last state the mean over pairs stands for what the
    MLP wrote there: what entropy owes to it by the final norm, without the blocks between."""
    direct: Float[Tensor, "pair layer"]
    """The same with the final norm's scale held at what it was: what is left is no work of the
    norm's."""


def null_writes(model: DepthModel, prompts: TokenBatch, *, n_dims: int | None) -> NullWrites | None:
    """Read the MLPs' writes at the last tokens; None where there is no null space to speak of."""
    space = null_space(model, n_dims)
    if space is None:
        return None
    hooks = [site_hook("mlp_out", layer) for layer in range(model.n_layers)]
    hooks.append(depth_hook(model.n_layers, model.n_layers))
    states = states_at(model, prompts, hooks, [prompts.last[:, None]]).states[:, :, 0]
    writes, last = states[:-1], states[-1].double()
    inside = space.part(writes)
    moves = inside.mean(1, keepdim=True) - inside
    norm = final_norm(model, last)
    changes = []
    for read in (_entropy, _entropy_held):
        unmoved = read(model, last, norm)
        changes.append(torch.stack([read(model, last + x, norm) - unmoved for x in moves], dim=1))
    return NullWrites(
        dim=space.dim,
        gain=space.gain,
        expected=space.expected,
        share=space.share(writes).T.contiguous(),
        neurons=_neurons(model, space),
        entropy=changes[0],
        direct=changes[1],
    )


def _entropy(model: DepthModel, states: Wide, norm: Frozen) -> Float[Tensor, " pair"]:
    """Of the states as the model reads them."""
    parts = states.float().split(AT_A_TIME)
    return torch.cat([metrics.entropy(model.readout(part)).cpu() for part in parts])


def _entropy_held(model: DepthModel, states: Wide, norm: Frozen) -> Float[Tensor, " pair"]:
    """Of the states behind a norm that divides by what it divided by."""
    matrix, bias = model.unembedding()
    found = []
    with torch.no_grad(), model.passes.at_work():
        for part in norm(states).to(matrix).split(AT_A_TIME):
            logits = (part @ matrix.T).float()
            logits = logits if bias is None else logits + bias
            found.append(metrics.entropy(model.passes.after_unembedding(logits)).cpu())
    return torch.cat(found)


def _neurons(model: DepthModel, space: NullSpace) -> Float[Tensor, "layer neuron"] | None:
    """Of each neuron, the share of its output weights that lies in the null space."""
    found = []
    for block in model.model.blocks:
        matrix = getattr(block.mlp, "W_out", None)
        if not isinstance(matrix, Tensor) or matrix.ndim != 2 or "Olmo" in model.info.architecture:
            return None  # a mixture of experts, or a norm behind that goes by another name
        rows = matrix.detach().cpu().double()
        if (behind := getattr(block, "ln2_post", None)) is not None:
            probe = torch.eye(model.d_model, dtype=torch.float64)[:1]
            norm = freeze(as_function(model, behind), probe)
            rows = rows - rows.mean(-1, keepdim=True) if norm.centred else rows
            rows = rows * norm.weight
        found.append(space.share(rows))
    return torch.stack(found)
