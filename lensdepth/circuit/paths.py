"""Path patching: one node's output, put into the input of one other node.

What a node adds to the residual stream differs between source and base run by its *write*. Added
to what one later node reads, and to nothing else, the write makes that node's output what it would
be had it alone read the source's. Every pass here is a plain one, with hooks; what comes out goes
into runs that the engine makes like any other.

Source: Wang et al. 2022, arXiv 2211.00593, section 3.1; Goldowsky-Dill et al. 2023,
arXiv 2304.05969.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.circuit.nodes import Node
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.reading import activations, captured
from lensdepth.site import Stream, depth_hook, site_hook
from lensdepth.sweep.roles import Roles
from lensdepth.tokens import TokenBatch

Write = Float[Tensor, "pair d_model"]
"""What a node adds to the residual stream in the source run, less what it adds in the base run."""


def is_parallel(model: DepthModel) -> bool:
    """Whether attention and MLP of a block read the same state."""
    return site_hook("resid_mid", 0) not in model.hook_points


def output_hook(node: Node, n_layers: int) -> str:
    """Where a node's output stands; of the logit, the state that it is read off."""
    if node.kind == "logit":
        return depth_hook(n_layers, n_layers)
    if node.kind == "embed":
        return depth_hook(0, n_layers)
    return site_hook("z" if node.kind == "head" else "mlp_out", node.layer)


def input_hook(node: Node, *, parallel: bool) -> str:
    """Where a head or an MLP reads the residual stream."""
    mid = node.kind == "mlp" and not parallel
    return site_hook("resid_mid" if mid else "resid_pre", node.layer)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ways:
    """Some pairs, with what their nodes write in both runs: read once each, in one pass a run."""

    model: DepthModel
    roles: Roles
    base_at: Int[Tensor, "pair token"]
    """The tokens of all nodes, in the base prompts."""
    source_at: Int[Tensor, "pair token"]
    columns: Mapping[str, int]
    """Which of them is whose: name of a token -> its column."""
    held: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    @property
    def parallel(self) -> bool:
        return is_parallel(self.model)

    def column(self, node: Node) -> int:
        return self.columns[node.at]

    def read(self, run: str, hook: str) -> Float[Tensor, "pair token d_hook"]:
        """What stands at a hook in the base or in the source run, heads side by side."""
        if (run, hook) not in self.held:
            n, base = self.model.n_layers, run == "base"
            streams: tuple[Stream, ...] = ("z", "attn_out", "mlp_out")
            hooks = [site_hook(stream, layer) for stream in streams for layer in range(n)]
            found = activations(
                self.model,
                self.roles.base if base else self.roles.source,
                [depth_hook(0, n), *hooks, depth_hook(n, n)],
                self.base_at if base else self.source_at,
                None,
            )
            self.held.update({(run, name): states for name, states in found.items()})
        return self.held[run, hook]

    def output(self, run: str, node: Node) -> Float[Tensor, "pair d_hook"]:
        """A node's output at its token; of a head, the heads of its block with all others NaN."""
        states = self.read(run, output_hook(node, self.model.n_layers))[:, self.column(node)]
        return self.alone(node, states)

    def alone(
        self, node: Node, states: Float[Tensor, "pair d_hook"]
    ) -> Float[Tensor, "pair d_hook"]:
        """Of a head, its own part of its block's states; what is not its own is NaN."""
        if node.kind != "head":
            return states
        heads = rearrange(states, "p (h d) -> p h d", h=self.model.passes.n_heads)
        mine = torch.arange(heads.shape[1])[:, None] == node.head
        return rearrange(heads.where(mine, torch.nan), "p h d -> p (h d)")

    def edit(self, node: Node, put: Float[Tensor, "pair d_hook"]) -> SiteEdit:
        """Another output for a node."""
        return SiteEdit(
            hook=output_hook(node, self.model.n_layers),
            positions=self.base_at[:, self.column(node)],
            edit=put_given,
            source=put,
        )

    def write_of(self, node: Node, put: Float[Tensor, "pair d_hook"]) -> Write:
        """What the residual stream gets more if a node's output is another than the base run's.

        Of a head it is read off an edited run, for a norm or a factor may stand behind the heads.
        """
        if node.kind != "head":
            return put - self.output("base", node)
        j = self.column(node)
        hook = site_hook("attn_out", node.layer)
        tokens = self.base_at[:, j : j + 1]
        written = edited_states(self.model, self.roles.base, hook, tokens, [self.edit(node, put)])
        return written[:, 0] - self.read("base", hook)[:, j]

    def read_by(
        self, node: Node, upstream: Node, write: Write, edits: Sequence[SiteEdit] = ()
    ) -> Float[Tensor, "pair token d_hook"]:
        """What the block of a head or MLP gives at every token if it alone reads a write.

        Heads of one block do not read one another, nor do its MLPs, so that one pass has the new
        outputs of all of them, each as if it were the only one to read it.

        Args:
            node: of the block that reads; what it is of heads or MLPs counts, its token does not.
            upstream: who writes, where.
            write: what is added.
            edits: of the run in which that happens; none for the base run.
        """
        added = SiteEdit(
            hook=input_hook(node, parallel=self.parallel),
            positions=self.base_at[:, self.column(upstream)],
            edit=add,
            source=write,
        )
        hook = output_hook(node, self.model.n_layers)
        return edited_states(self.model, self.roles.base, hook, self.base_at, [*edits, added])


def put_given(
    base: Float[Tensor, "*batch d_hook"], source: Float[Tensor, "*batch d_hook"] | None
) -> Float[Tensor, "*batch d_hook"]:
    """An edit: what is given goes in, and where nothing is given (NaN) the state stays."""
    assert source is not None
    return torch.where(source.isnan(), base, source)


def add(
    base: Float[Tensor, "*batch d_hook"], source: Float[Tensor, "*batch d_hook"] | None
) -> Float[Tensor, "*batch d_hook"]:
    """An edit: what is given is added."""
    assert source is not None
    return base + source


def edited_states(
    model: DepthModel,
    batch: TokenBatch,
    hook: str,
    positions: Int[Tensor, "pair token"],
    edits: Sequence[SiteEdit] = (),
) -> Float[Tensor, "pair token d_hook"]:
    """What stands at a hook in an edited run: float32 on the CPU, heads side by side."""
    parts, order = [], []
    for rows in model.passes.batches(batch, None):
        mine = [edit.of(rows) for edit in edits]
        kept = captured(model, batch[rows], [hook], positions[rows], edits=mine)[hook]
        parts.append(kept.flatten(2).float().cpu())
        order.append(rows)
    return torch.cat(parts)[torch.cat(order).argsort()]
