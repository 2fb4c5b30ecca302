"""What is read of two runs: states, writes, and blocks that are given another run's states."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.reading import captured
from lensdepth.site import depth_hook, site_hook
from lensdepth.tokens import TokenBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """States and writes of some prompts at some of their tokens, float32, on the CPU."""

    states: Float[Tensor, "depth batch pos d_model"]
    attention: Float[Tensor, "layer batch pos d_model"]
    mlp: Float[Tensor, "layer batch pos d_model"]

    def adds_up(self, tolerance: float) -> bool:
        """Whether a block's two writes are all that it adds, up to rounding."""
        left = self.states[1:] - self.states[:-1] - self.attention - self.mlp
        summed = (self.states[1:], self.states[:-1], self.attention, self.mlp)
        whole = torch.stack([polar.norm(one) for one in summed]).amax(0)
        return bool((polar.norm(left) <= tolerance * whole).all())


def read_run(model: DepthModel, batch: TokenBatch, places: Int[Tensor, "batch pos"]) -> Run:
    """States of every depth and both writes of every block, in plain runs."""
    blocks = range(model.n_layers)
    depths = [depth_hook(depth, model.n_layers) for depth in range(model.n_layers + 1)]
    attention = [site_hook("attn_out", layer) for layer in blocks]
    mlp = [site_hook("mlp_out", layer) for layer in blocks]
    found = model.read(batch, [*depths, *attention, *mlp], places)
    parts = ([found[hook] for hook in hooks] for hooks in (depths, attention, mlp))
    states, from_attention, from_mlp = map(torch.stack, parts)
    return Run(states=states, attention=from_attention, mlp=from_mlp)


def swaps(
    hook: str, states: Float[Tensor, "batch pos d_model"], places: Int[Tensor, "batch pos"]
) -> list[SiteEdit]:
    """Edits that put states at some tokens of each prompt."""
    return [
        SiteEdit(hook=hook, positions=places[:, i], edit=polar.full_swap, source=states[:, i])
        for i in range(places.shape[1])
    ]


def given(
    model: DepthModel,
    batch: TokenBatch,
    every: Int[Tensor, "batch token"],
    run: Run,
    *,
    attention: bool,
) -> Run:
    """Each block of a model on another run's states: all blocks in one pass.

    Every block's input is put in whole, so that no block sees what the one before made of it; its
    first state is the model's own embedding.

    Args:
        model: whose blocks are asked.
        batch: the prompts.
        every: all tokens of each prompt, the last one again where it is shorter.
        run: gives the states, at `every`.
        attention: put in that run's attention outputs as well, so that each MLP has its very input.
    """
    blocks = range(model.n_layers)
    edits = [
        edit
        for layer in blocks
        for edit in swaps(site_hook("resid_pre", layer), run.states[layer], every)
    ]
    if attention:
        edits += [
            edit
            for layer in blocks
            for edit in swaps(site_hook("attn_out", layer), run.attention[layer], every)
        ]
    names = {
        name: [site_hook(name, layer) for layer in blocks]
        for name in ("attn_out", "mlp_out", "resid_post")
    }
    hooks = [hook for one in names.values() for hook in one]
    made = {hook: torch.empty_like(run.states[0]) for hook in hooks}
    for rows in model.passes.batches(batch, None):
        mine = [edit.of(rows) for edit in edits]
        found = captured(model, batch[rows], hooks, every[rows], edits=mine)
        for hook, states in found.items():
            made[hook][rows] = states.float().cpu()
    parts = {name: torch.stack([made[hook] for hook in one]) for name, one in names.items()}
    return Run(
        states=torch.cat([run.states[:1], parts["resid_post"]]),
        attention=parts["attn_out"],
        mlp=parts["mlp_out"],
    )


def written(
    base: Float[Tensor, "depth batch pos d_model"], other: Float[Tensor, "depth batch pos d_model"]
) -> Float[Tensor, "depth batch pos d_model"]:
    """The base's states with what the other run wrote last: at depth d, the base's state of depth
    d - 1 and the write of the other's block d - 1; at depth 0 the other's embedding."""
    return torch.cat([other[:1], base[:-1] + (other[1:] - other[:-1])])


def swap_sets(
    n_layers: int,
    sources: Sequence[Float[Tensor, "depth batch pos d_model"]],
    places: Int[Tensor, "batch pos"],
) -> list[list[SiteEdit]]:
    """One run for each depth of each source: its state put in at that depth."""
    return [
        swaps(depth_hook(depth, n_layers), states[depth], places)
        for states in sources
        for depth in range(n_layers + 1)
    ]
