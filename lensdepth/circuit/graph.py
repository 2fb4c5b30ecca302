"""A circuit's graph: nodes and edges with their effects, as tables, as a figure, and pruned."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.circuit.nodes import ARROW, LOGIT, Node, parse_node
from lensdepth.outcome import Effects
from lensdepth.provenance import Provenance
from lensdepth.sweep.result import SweepResult
from lensdepth.sweep.roles import Mode

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

PathKind = Literal["total", "direct"]
"""How a downstream node's changed output goes on: `total` through the whole model, `direct` to the
last state alone."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitGraph(SweepResult):
    """Embeddings, heads and MLPs at single tokens, the logit difference, and edges between them.

    A node's effect is the change of the base run's logit(target) - logit(foil) when it gets the
    source run's output. An edge's is the change when the downstream node alone reads the source
    run's output of the upstream node, and what it then writes goes on as `paths` says. Effects of
    single edges need not add up to that of their node: nodes are not linear.
    """

    MADE_BY: ClassVar[str] = "circuit_graph(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    paths: PathKind
    """`total`: the downstream node's changed output goes on through the whole model. `direct`: it
    goes to the last state of the prediction position alone, and nothing else follows."""
    positions: tuple[str, ...]
    """Names of the tokens at which there are nodes, from left to right."""
    tokens: tuple[str, ...]
    """Each as text, where all pairs have the same; both where base and source differ."""
    indices: tuple[int, ...]
    """Where they stand in the first pair's clean prompt."""
    prompt_tokens: tuple[str, ...]
    """Of a single pair, all tokens of its clean prompt as text; empty of several."""
    answers: tuple[str, ...]
    """Of a single pair, target and foil as they read; empty of several."""
    nodes: tuple[str, ...]
    """Those that are kept, the logit aside: `EMBED@3`, `L5H3@4`, `MLP7@4`, in the order in which
    they act."""
    upstream: tuple[str, ...]
    """Of each edge between kept nodes, the largest estimate first; the measured ones stand in
    front."""
    downstream: tuple[str, ...]
    node_estimates: Float[Tensor, " node"]
    """By gradient, mean over pairs, in nats; they only chose what was tried. NaN where none was
    needed."""
    edge_estimates: Float[Tensor, " edge"]
    """By gradient, likewise; they only chose what is measured."""
    n_candidates: int
    """Nodes that were screened; 0 where they were named."""
    n_tried: int
    """Nodes that were measured to choose those that are kept, besides pinned ones."""
    attribution: Float[Tensor, "node pair"]
    """What a node adds directly to logit(target) - logit(foil) of the clean prompt, in nats; 0 at
    other tokens than the prediction's, which the logits are not read off."""
    others: Float[Tensor, " pair"]
    """The same of all nodes that are not kept, together."""
    biases: Float[Tensor, " pair"]
    """The same of all biases that belong to no node."""
    logit_diff: Float[Tensor, " pair"]
    """What all these add up to, by the model's own norm and unembedding."""
    probability: Float[Tensor, " pair"]
    """Of the target, as the model answers the clean prompt."""
    outcome: Effects
    """logit(target) - logit(foil) by `set` and pair: nodes, then measured edges as `up → down`."""
    self_patch_error: float
    """Largest change of any logit when the base run's own outputs are put back, in the first
    pairs; must be 0 up to rounding."""

    @property
    def n_measured(self) -> int:
        """Edges with a measured effect: the first so many."""
        return len(self.outcome.coords["set"]) - len(self.nodes)

    @property
    def node_effects(self) -> Float[Tensor, "node pair"]:
        """Change of the logit difference by each node, in nats."""
        return self.outcome.change()[: len(self.nodes)]

    @property
    def edge_effects(self) -> Float[Tensor, "measured pair"]:
        """Change of the logit difference by each measured edge, in nats."""
        return self.outcome.change()[len(self.nodes) :]

    @property
    def way(self) -> float:
        """How far source and base run are apart, mean over pairs, in nats."""
        return float((self.outcome.source[0] - self.outcome.base[0]).double().mean())

    @property
    def floor(self) -> float:
        """The size below which an effect is rounding, in nats."""
        return self.outcome.floor_of("logit_diff")

    @property
    def above_floor(self) -> Bool[Tensor, " set"]:
        """Of nodes, then measured edges: whether the mean effect is more than rounding."""
        return self.outcome.change().mean(1).abs() > self.floor

    @property
    def components(self) -> tuple[str, ...]:
        """The heads and MLPs among the nodes, as `patch_components` takes them."""
        return tuple(name for name in self.nodes if not name.startswith("EMBED"))

    @property
    def residual(self) -> Float[Tensor, " pair"]:
        """The logit difference less all direct attributions: rounding."""
        parts = self.attribution.double().sum(0) + self.others.double() + self.biases.double()
        return (self.logit_diff.double() - parts).float()

    def node(self, name: str) -> Node:
        """A node by its name."""
        return parse_node(name, self.n_layers, 10**9)

    def column_of(self, name: str) -> int:
        """Which of `positions` a node stands at; the logit at the last."""
        node = self.node(name)
        return len(self.positions) - 1 if node.kind == "logit" else self.positions.index(node.at)

    def prune(self, threshold: float | None = None, *, keep: int | None = None) -> "CircuitGraph":
        """A smaller graph: the nodes with the largest effects, and the edges between them.

        Nothing is measured anew. Whether what is left does what the whole does, says
        `graph_faithfulness`.

        Args:
            threshold: least size of a node's mean effect, as a share of the mean way from base to
                source run.
            keep: how many nodes at most. One of the two must be given.
        Raises:
            ValueError: neither or both are given, or no node is left.
        """
        if (threshold is None) == (keep is None):
            raise ValueError("CircuitGraph.prune: give either a threshold or how many to keep.")
        sizes = self.node_effects.mean(1).abs()
        if keep is not None:
            if isinstance(keep, bool) or keep < 1:
                raise ValueError(f"CircuitGraph.prune: keep must be 1 or more, got {keep!r}.")
            stays = set(sizes.argsort(descending=True, stable=True)[:keep].tolist())
        else:
            least = threshold * abs(self.way)  # type: ignore[operator]
            stays = {i for i, size in enumerate(sizes.tolist()) if size >= least}
        if not stays:
            raise ValueError(
                f"CircuitGraph.prune: no node's effect is {threshold:g} of the way or more; the "
                f"largest is {float(sizes.max()) / abs(self.way):.3g}."
            )
        at = sorted(stays)
        left = {self.nodes[i] for i in at} | {LOGIT}
        edges = [
            i
            for i, ends in enumerate(zip(self.upstream, self.downstream, strict=True))
            if left >= {*ends}
        ]
        runs = [*at, *(len(self.nodes) + i for i in edges if i < self.n_measured)]
        gone = [i for i in range(len(self.nodes)) if i not in stays]
        names = self.outcome.names("set")
        return replace(
            self,
            nodes=tuple(self.nodes[i] for i in at),
            upstream=tuple(self.upstream[i] for i in edges),
            downstream=tuple(self.downstream[i] for i in edges),
            node_estimates=self.node_estimates[at],
            edge_estimates=self.edge_estimates[edges],
            attribution=self.attribution[at],
            others=self.others + self.attribution[gone].sum(0),
            outcome=replace(
                self.outcome,
                coords={"set": tuple(names[i] for i in runs)},
                values=self.outcome.values[:, runs],
            ),
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row an edge, the measured ones first, by the size of their effect.

        `effect` is the mean over pairs in nats with its 95 % interval, `share` that of the mean way
        from base to source; NaN where an edge was only screened. `above_floor` says whether it is
        more than rounding.
        """
        import pandas as pd

        n, rest = self.n_measured, len(self.upstream) - self.n_measured
        mean, low, high = self._ends(self.edge_effects)
        above = self.above_floor[len(self.nodes) :].tolist()
        unknown = np.full(rest, np.nan)
        frame = pd.DataFrame(
            {
                "upstream": list(self.upstream),
                "downstream": list(self.downstream),
                "paths": self.paths,
                "measured": [True] * n + [False] * rest,
                "effect": np.concatenate([mean, unknown]),
                "low": np.concatenate([low, unknown]),
                "high": np.concatenate([high, unknown]),
                "share": np.concatenate([mean, unknown]) / self._way_or_nan,
                "above_floor": pd.array([*above, *[None] * rest], dtype="boolean"),
                "estimate": self.edge_estimates.numpy(),
            }
        )
        order = frame["effect"].abs().sort_values(ascending=False, kind="stable").index
        return frame.loc[order].reset_index(drop=True)

    def nodes_frame(self) -> "pd.DataFrame":
        """One row a node, in the order in which they act: direct attribution and effect, means
        over pairs in nats with 95 % intervals."""
        import pandas as pd

        known = [self.node(name) for name in self.nodes]
        effect, attribution = self._ends(self.node_effects), self._ends(self.attribution)
        columns = [self.column_of(name) for name in self.nodes]
        made: dict[str, object] = {
            "node": list(self.nodes),
            "kind": [node.kind for node in known],
            "layer": pd.array(
                [None if node.kind == "embed" else node.layer for node in known], dtype="Int64"
            ),
            "head": pd.array([node.head for node in known], dtype="Int64"),
            "position": [self.positions[j] for j in columns],
            "token": [self.tokens[j] for j in columns],
            "effect": effect[0],
            "low": effect[1],
            "high": effect[2],
            "share": effect[0] / self._way_or_nan,
            "above_floor": self.above_floor[: len(self.nodes)].tolist(),
            "attribution": attribution[0],
            "attribution_low": attribution[1],
            "attribution_high": attribution[2],
            "estimate": self.node_estimates.numpy(),
        }
        return pd.DataFrame(made)

    @property
    def _way_or_nan(self) -> float:
        """The mean way; NaN where it is rounding, so that nothing is a share of it."""
        return self.way if abs(self.way) > max(1e-6, self.floor) else float("nan")

    def _ends(self, values: Float[Tensor, "row pair"]) -> tuple[np.ndarray, ...]:
        """Mean over pairs, with the ends of its interval."""
        return tuple(
            np.asarray(part) for part in
            stats.mean_interval(values.T.numpy(), units=self.provenance.units)
        )  # fmt: skip

    def edge(self, upstream: str, downstream: str) -> Float[Tensor, " pair"]:
        """One measured edge's effect in each pair, in nats.

        Raises:
            ValueError: it was not measured.
        """
        name = f"{self.node(upstream)}{ARROW}{self.node(downstream)}"
        if name not in self.outcome.names("set"):
            raise ValueError(
                f"CircuitGraph: the edge {name} was not measured here; patch_edge measures it."
            )
        return self.of("effect", set=name)

    def plot(self, keep: int | None = None, pinned: tuple[str, ...] = ()) -> "Figure":
        """Tokens from left to right, blocks from below; nodes by attribution, edges by effect.

        Args:
            keep: the nodes with the largest effects alone; all by default.
            pinned: nodes that are ringed, as `parse_component` reads them.
        """
        from lensdepth.circuit.graph_figure import graph_figure

        drawn = self if keep is None or keep >= len(self.nodes) else self.prune(keep=keep)
        # A component that names no token stands at the prediction position.
        last = {f"{name}@{self.positions[-1]}" for name in pinned if "@" not in name}
        return graph_figure(drawn, [*pinned, *last])

    def to_neuronpedia(
        self, path: str | Path, *, slug: str = "lensdepth", scan: str | None = None
    ) -> None:
        """Write a JSON file that circuit-tracer's and Neuronpedia's graph viewers read.

        See `lensdepth.circuit.neuronpedia` for what they show of it.

        Args:
            path: of the file.
            slug: what the viewers call the graph.
            scan: what they call the model; its own name by default.
        Raises:
            ValueError: the graph is of several pairs, whose prompts are not one.
            OSError: the file cannot be written.
        """
        from lensdepth.circuit.neuronpedia import write_graph

        write_graph(self, path, slug=slug, scan=scan)
