"""Nodes of a circuit's graph: who writes at which token, who reads whom.

A node is an embedding, a head or an MLP at one token, or the logit difference itself.

>>> str(parse_node("l5h3@4", n_layers=12, n_heads=12))
'L5H3@4'
"""

from dataclasses import dataclass
from typing import Literal

from lensdepth.circuit.components import INDEX, Component, parse_component
from lensdepth.outside import shown

NodeKind = Literal["embed", "head", "mlp", "logit"]
PREDICTION = "prediction"
EMBED, LOGIT = "EMBED", "LOGIT"
EXAMPLES = (
    "write L5H3@4 for head 3 of block 5 at token 4, MLP7@prediction, EMBED@input for what enters "
    "block 0 at the input position, or LOGIT"
)
ARROW = " → "


@dataclass(frozen=True)
class Node:
    """One that writes to the residual stream at one token, or reads the answer off it."""

    kind: NodeKind
    layer: int = -1
    """The block; -1 of an embedding and of the logit."""
    head: int | None = None
    at: str = PREDICTION
    """Name of its token: `input`, `prediction`, or an index."""

    def __str__(self) -> str:
        """`EMBED@3`, `L5H3@4`, `MLP7@prediction` or `LOGIT`, which `parse_node` reads."""
        if self.kind == "logit":
            return LOGIT
        if self.kind == "embed":
            return f"{EMBED}@{self.at}"
        name = f"L{self.layer}H{self.head}" if self.kind == "head" else f"MLP{self.layer}"
        return f"{name}@{self.at}"

    @property
    def position(self) -> int | str:
        """Its token, as an analysis is asked for it: by its number where that is its name."""
        return int(self.at) if INDEX.fullmatch(self.at) else self.at

    def order(self, *, parallel: bool) -> float:
        """When it acts: a node may read those of a lower number.

        Args:
            parallel: attention and MLP of a block read the same state; else the MLP reads what the
                attention wrote.
        """
        if self.kind == "logit":
            return float("inf")
        return self.layer + (0.5 if self.kind == "mlp" and not parallel else 0.0)


def parse_node(text: str, n_layers: int, n_heads: int) -> Node:
    """The node of a name.

    A head or MLP that names no token stands at the prediction position.

    Raises:
        ValueError: it is no such name, or the model has no such block or head.
    """
    name, placed, where = (part.strip() for part in text.partition("@"))
    if name.upper() == LOGIT and not placed:
        return Node("logit")
    if name.upper() == EMBED and bool(placed) == bool(where):
        return Node("embed", at=where or PREDICTION)
    try:
        component = parse_component(text, n_layers, n_heads)
    except ValueError as error:
        if "names no component" not in str(error):
            raise
        raise ValueError(f"parse_node: {shown(text.strip())} names no node; {EXAMPLES}.") from None
    return node_of(component)


def node_of(component: Component) -> Node:
    """A head or MLP as a node; a whole attention is none.

    Raises:
        ValueError: it is all heads of a block, or stands at all tokens.
    """
    if component.kind == "attn" or component.at == "all":
        raise ValueError(
            f"parse_node: '{component}' is several nodes at once; name one head at one token, "
            f"such as L{component.layer}H0@{PREDICTION}."
        )
    at = PREDICTION if component.at is None else str(component.at)
    return Node(component.kind, component.layer, component.head, at)


def why_no_edge(
    upstream: Node, downstream: Node, *, earlier: bool, same: bool, parallel: bool
) -> str | None:
    """Why nothing goes from one node to the other; None where something may.

    Args:
        upstream: the node whose output is put in.
        downstream: the node that reads it.
        earlier: whether the upstream node's token stands before the downstream node's.
        same: whether they stand at the same token.
        parallel: see `Node.order`.
    """
    if upstream == downstream:
        return "an edge leads from one node to another, and this is one node"
    if upstream.kind == "logit":
        return "the logit is read off at the end, and nothing reads it"
    if downstream.kind == "embed":
        return "an embedding reads no other node"
    if not upstream.order(parallel=parallel) < downstream.order(parallel=parallel):
        together = upstream.order(parallel=parallel) == downstream.order(parallel=parallel)
        return (
            f"{upstream} acts {'beside' if together else 'after'} {downstream}, which cannot read "
            f"it" + ("" if together else "; turn them round")
        )
    if not earlier and not same:
        return f"{upstream} stands at a later token than {downstream}, which cannot see it"
    if not same and downstream.kind != "head":
        return (
            "the logits are read off at the prediction position alone"
            if downstream.kind == "logit"
            else "an MLP reads its own token alone"
        )
    return None
