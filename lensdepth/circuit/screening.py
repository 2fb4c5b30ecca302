"""Which nodes and edges are worth a run: estimates from gradients of the base run, cheap and rough.

A node's estimate is that of attribution patching. An edge's is that of edge attribution patching:
the upstream node's write, times the slope of the logit difference along what the downstream node
alone reads. Estimates choose what is measured, and stand beside it; no effect rests on them.

TransformerLens has edge attribution of its own (3.9 and 4): for bridges alone, without grouped
heads or norms behind the attention, and of all edges at once. Hence this one.

Source: Nanda 2023, "Attribution patching"; Syed et al. 2023, arXiv 2310.10348.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from lensdepth import polar
from lensdepth.circuit.nodes import Node
from lensdepth.circuit.paths import Ways, add, input_hook, output_hook
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.patching.attribution import estimate_effects, gradients
from lensdepth.reading import captured
from lensdepth.site import depth_hook, site_hook
from lensdepth.sweep.blocks import pair_blocks
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import PairBlock
from lensdepth.sweep.roles import Roles
from lensdepth.sweep.spans import Span

Slopes = Mapping[Node, Float[Tensor, "pair d_hook"]]
"""Of the logit difference along each node's output; of the logit, along the last state."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NodeScreen:
    """Estimated effects of single nodes, means over pairs, in nats."""

    embeds: Float[Tensor, " token"]
    heads: Float[Tensor, "layer token head"]
    mlps: Float[Tensor, "layer token"]

    def ranked(self, names: Sequence[str]) -> list[tuple[Node, float]]:
        """All nodes, the largest estimate first; names are those of the tokens."""
        found = [(Node("embed", at=at), float(x)) for at, x in zip(names, self.embeds, strict=True)]
        for layer, (heads, mlps) in enumerate(zip(self.heads, self.mlps, strict=True)):
            for at, by_head, mlp in zip(names, heads, mlps, strict=True):
                found += [(Node("head", layer, h, at), float(x)) for h, x in enumerate(by_head)]
                found.append((Node("mlp", layer, at=at), float(mlp)))
        return sorted(found, key=lambda one: -abs(one[1]))


def screen_nodes(
    model: DepthModel, roles: Roles, spans: Sequence[Span], n_numbers: int, options: Options
) -> NodeScreen:
    """Estimate every node's effect, by three gradients a block of pairs.

    Args:
        model: any wrapped model.
        roles: of all pairs.
        spans: the tokens, one each.
        n_numbers: see `run_sweep`.
        options: of the analysis.
    """
    layers, heads = range(model.n_layers), range(model.info.n_heads)
    kinds: tuple[tuple[list[str], Sequence[int]], ...] = (
        ([depth_hook(0, model.n_layers)], ()),
        ([site_hook("z", layer) for layer in layers], heads),
        ([site_hook("mlp_out", layer) for layer in layers], ()),
    )
    sums: list[Tensor] = []
    for hooks, of_heads in kinds:
        total = torch.zeros((), dtype=torch.float32)
        for rows in pair_blocks(len(roles.base), n_numbers):
            base, estimated = estimate_effects(
                model, roles, spans, hooks, of_heads, polar.full_swap, rows, options
            )
            total = total + (estimated - base[:, None, None, None]).sum(0)
        sums.append(total / len(roles.base))
    return NodeScreen(embeds=sums[0][0, :, 0], heads=sums[1], mlps=sums[2][..., 0])


def screen_edges(
    ways: Ways,
    writes: Mapping[Node, Float[Tensor, "pair d_model"]],
    edges: Sequence[tuple[Node, Node]],
    slopes: Slopes,
) -> Float[Tensor, " edge"]:
    """Estimates of edges, summed over the pairs of `ways`.

    Args:
        ways: some pairs.
        writes: of each upstream node.
        edges: upstream and downstream nodes.
        slopes: of each downstream node.
    """
    readers = list(dict.fromkeys(down for _, down in edges))
    along = {node: slopes[node][:, None] for node in readers if node.kind == "logit"}
    blocks: dict[tuple[str, str], list[Node]] = {}
    for node in readers:
        if node.kind != "logit":
            hooks = input_hook(node, parallel=ways.parallel), output_hook(node, ways.model.n_layers)
            blocks.setdefault(hooks, []).append(node)
    for (given, made), nodes in blocks.items():
        wanted = [(ways.column(node), slopes[node]) for node in nodes]
        along |= dict(zip(nodes, pulled(ways, given, made, wanted), strict=True))
    found = []
    for up, down in edges:
        at = 0 if down.kind == "logit" else ways.column(up)
        found.append((writes[up] * along[down][:, at]).sum())
    return torch.stack(found) if found else torch.zeros(0, dtype=torch.float32)


def slopes_of(
    ways: Ways, nodes: Sequence[Node], options: Options, *, start: int, direct: bool
) -> Slopes:
    """Slope of the logit difference along the outputs of some nodes, in the base run.

    Args:
        ways: some pairs.
        nodes: heads, MLPs and the logit.
        options: of the analysis.
        start: number of the first of these pairs.
        direct: along what reaches the logits directly alone.
    """
    model, n_heads = ways.model, ways.model.passes.n_heads
    block = PairBlock(model=model, roles=ways.roles, start=start)
    span = [Span(name="nodes", base=ways.base_at, source=ways.source_at)]
    found: dict[Node, Tensor] = {}

    def mine(node: Node, slope: Float[Tensor, "pair token d_hook"]) -> Tensor:
        """A node's own part; 0 for the other heads of its block."""
        at = slope[:, ways.column(node)]
        if node.kind != "head":
            return at
        heads = rearrange(at, "p (h d) -> p h d", h=n_heads)
        own = torch.arange(n_heads)[:, None] == node.head
        return rearrange(heads.where(own, 0.0), "p h d -> p (h d)")

    kinds = ("logit",) if direct else ("logit", "mlp", "head")
    for asked in (kinds[:2], kinds[2:]):  # hooks of one width at a time
        wanted = [node for node in nodes if node.kind in asked]
        hooks = list(dict.fromkeys(output_hook(node, model.n_layers) for node in wanted))
        if not hooks:
            continue
        _, slopes = gradients(block, span, hooks, options)
        for node in wanted:
            found[node] = mine(node, slopes[hooks.index(output_hook(node, model.n_layers))])
    if not direct:
        return found
    last = Node("logit")
    if last not in found:
        hook = output_hook(last, model.n_layers)
        found[last] = mine(last, gradients(block, span, [hook], options)[1][0])
    for node in nodes:
        if node.kind == "logit":
            continue
        width = model.passes.d_hook(output_hook(node, model.n_layers))
        if ways.column(node) != ways.column(last):
            found[node] = torch.zeros(len(ways.base_at), width, dtype=torch.float32)
        elif node.kind == "mlp":
            found[node] = found[last]
        else:
            hooks = site_hook("z", node.layer), site_hook("attn_out", node.layer)
            slope = pulled(ways, *hooks, [(ways.column(last), found[last])])[0]
            found[node] = mine(node, slope)
    return found


def pulled(
    ways: Ways,
    given: str,
    made: str,
    wanted: Sequence[tuple[int, Float[Tensor, "pair d_made"]]],
) -> list[Float[Tensor, "pair token d_given"]]:
    """Slopes along what enters a part of the model, from slopes along what leaves it.

    Args:
        ways: some pairs; their base run.
        given: hook of what enters, at every token.
        made: hook of what leaves, further on in the same block.
        wanted: a token's column and the slope along what leaves there, for each answer.
    """
    model, n_tokens = ways.model, ways.base_at.shape[1]
    width = model.passes.d_hook(given)
    parts: list[list[Tensor]] = [[] for _ in wanted]
    order = []
    with model.passes.differentiating("circuit_graph"):
        for rows in model.passes.batches(ways.roles.base, None):
            at = ways.base_at[rows].clone()
            shape = (len(rows), n_tokens, width)
            probes = torch.zeros(shape, requires_grad=True, dtype=torch.float32)
            edits = [
                SiteEdit(hook=given, positions=at[:, j], edit=add, source=probes[:, j])
                for j in range(n_tokens)
            ]
            kept = captured(model, ways.roles.base[rows], [made], at, edits=edits, grad=True)
            out = kept[made].flatten(2).float().cpu()
            for answer, (column, slope) in zip(parts, wanted, strict=True):
                whole = (out[:, column] * slope[rows].clone()).sum()
                answer.append(torch.autograd.grad(whole, probes, retain_graph=True)[0])
            order.append(rows)
    back = torch.cat(order).argsort()
    return [torch.cat(part)[back] for part in parts]
