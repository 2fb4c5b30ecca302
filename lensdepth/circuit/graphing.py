"""A circuit as a graph: which heads, MLPs and embeddings matter at which token, and who reads whom.

Reach for this when a set of components is known to matter and the question is how they are
connected. Nodes and edges are chosen by gradients (`screening`); what is said of them is measured,
each by a run of its own, in which one node's output reaches one other node alone (`paths`).
"""

from collections.abc import Sequence

import torch

from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.circuit.graph import CircuitGraph, PathKind
from lensdepth.circuit.graph_work import (
    LOGIT,
    Positions,
    edge_estimates,
    largest,
    make_work,
    measured,
)
from lensdepth.circuit.nodes import parse_node
from lensdepth.circuit.patching import patch_components
from lensdepth.circuit.result import CircuitResult
from lensdepth.circuit.screening import screen_nodes
from lensdepth.model import DepthModel
from lensdepth.replay.plan import Engine
from lensdepth.sweep.roles import Mode
from lensdepth.tasks.task import Task

TOP, EDGES = 10, 60
"""Nodes that are kept and edges that are measured, unless others are asked for."""
TRIED = 4
"""Nodes that are measured for each that is kept: an estimate may be far off, and be of the wrong
sign."""


@renamed(pairs="task")
@checked
@bounded
def circuit_graph(
    model: DepthModel,
    task: Task,
    *,
    top: int = TOP,
    edges: int = EDGES,
    paths: PathKind = "total",
    pinned: Sequence[str] = (),
    positions: Positions | None = None,
    mode: Mode = "denoise",
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> CircuitGraph:
    """Nodes that matter for the answer, and what goes from one to another, each by path patching.

    A node is an embedding, a head or an MLP at one token. All of them are screened by attribution
    patching, and the largest measured, four for each that is kept: a node gets the source run's
    output in the base run. The `top` largest effects are kept, pinned nodes first, with the logit
    difference. All edges between kept nodes are screened by edge attribution patching, and the
    `edges` largest measured: what the upstream node writes in the source run is put into what the
    downstream node reads, and into nothing else.

    What the downstream node then writes goes on in one of two ways. `total`: through the whole
    model, as in a run of its own; all that reads it follows. `direct`: straight to the last state
    of the prediction position, nothing else following; so it is 0 of a downstream node at another
    token. At the logit both are the same. A head reads through query, key and value at once.

    Beside the effects stands each node's direct attribution, as `attribute_logits` has it for the
    clean prompts: those of kept nodes, of all others and of biases add up to the logit difference.

    Args:
        model: any wrapped model.
        task: pairs of prompts; `pair_task` makes one of two.
        top: nodes to keep, pinned ones counted.
        edges: edges to measure; 0 measures none.
        paths: how a changed output goes on from the downstream node.
        pinned: nodes that are kept whatever their estimate: `"L5H3@4"`, `"MLP7@prediction"`,
            `"EMBED@input"`.
        positions: the tokens at which there are nodes, one token each. By default all of them
            where every pair is of one wording and length, else the input and the prediction.
        mode: "denoise" edits the corrupted run with clean outputs, "noise" the reverse.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        CircuitGraph; an effect is a change of the base run's logit difference, in nats.
    Raises:
        ValueError: before any forward pass: no such node or position, a task without pairs, an
            unknown option.
        RuntimeError: putting the base run's own outputs back changes its logits.
    Source: Wang et al. 2022, arXiv 2211.00593 (path patching); Syed et al. 2023, arXiv 2310.10348
        (edges by gradients).
    Example:
        >>> circuit_graph(model, task, top=10).to_frame()
    """
    caller = "circuit_graph"
    for name, value, least in (("top", top, 1), ("edges", edges, 0)):
        if isinstance(value, bool) or value < least:
            raise ValueError(f"{caller}: {name} must be {least} or more, got {value!r}.")
    work = make_work(
        model, task, positions, mode, caller,
        {"top": top, "edges": edges, "paths": paths, "pinned": list(pinned)},
        engine=engine, batch_size=batch_size, max_memory=max_memory,
    )  # fmt: skip
    fixed = [work.node(name) for name in pinned]
    screen = screen_nodes(model, work.roles, work.spans, work.n_numbers, work.options)
    ranked = screen.ranked([span.name for span in work.spans])
    estimates = dict(ranked)
    # What is 0 by construction (before the first token that differs) is no node worth keeping.
    found = [node for node, estimate in ranked if estimate and node not in fixed]
    n_more = max(0, top - len(fixed))
    tried = found[: TRIED * n_more]
    kept = work.in_order([*fixed, *largest(work, tried, n_more)])
    between = [
        (up, down) for up in kept for down in (*kept, LOGIT) if work.why_not(up, down) is None
    ]
    screened = edge_estimates(work, between, direct=paths == "direct")
    order = screened.abs().argsort(descending=True, stable=True).tolist()
    return measured(
        work, kept, [between[i] for i in order], screened[order], edges, paths,
        torch.tensor([estimates[node] for node in kept], dtype=torch.float32), len(ranked),
        len(tried),
    )  # fmt: skip


@renamed(pairs="task")
@checked
@bounded
def patch_edge(
    model: DepthModel,
    task: Task,
    upstream: str,
    downstream: str,
    *,
    paths: PathKind = "total",
    mode: Mode = "denoise",
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> CircuitGraph:
    """One edge: what a node writes in the source run, put into one later node alone.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        upstream: `"EMBED@input"`, `"L1H0@4"` or `"MLP2@prediction"`.
        downstream: a later head or MLP, or `"LOGIT"`.
        paths: see `circuit_graph`, like all that follows.
    Returns:
        CircuitGraph of these nodes and this edge.
    Raises:
        ValueError: before any forward pass: there is no such node, or no edge between the two, with
            the reason.
        RuntimeError: putting the base run's own outputs back changes its logits.
    Example:
        >>> patch_edge(model, pair, "L1H0@4", "MLP2@4").to_frame()
    """
    caller = "patch_edge"
    size = model.n_layers, model.info.n_heads
    named = [parse_node(name, *size) for name in (upstream, downstream)]
    if named[0] == named[1]:
        raise ValueError(f"{caller}: an edge leads from one node to another, got {named[0]} twice.")
    places = [node.position for node in named]
    work = make_work(
        model, task, tuple(dict.fromkeys(places)), mode, caller,
        {"upstream": upstream, "downstream": downstream, "paths": paths},
        engine=engine, batch_size=batch_size, max_memory=max_memory,
    )  # fmt: skip
    up, down = work.node(upstream), work.node(downstream)
    if reason := work.why_not(up, down):
        raise ValueError(f"{caller}: there is no edge from {up} to {down}: {reason}.")
    screened = edge_estimates(work, [(up, down)], direct=paths == "direct")
    kept = work.in_order([node for node in (up, down) if node != LOGIT])
    nothing = torch.full((len(kept),), torch.nan, dtype=torch.float32)
    return measured(work, kept, [(up, down)], screened, 1, paths, nothing, 0, 0)


@checked
def graph_faithfulness(
    model: DepthModel,
    task: Task,
    graph: CircuitGraph,
    *,
    n_nodes: int | None = None,
    threshold: float | None = None,
    n_random: int = 20,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> CircuitResult:
    """Are the graph's heads and MLPs, patched together, enough and needed? By `patch_components`.

    Embeddings are never patched there. At tokens that differ between the prompts, a set of early
    nodes may do no more than exchange the input; the result says so.

    Args:
        model: the one that the graph is of.
        task: pairs of prompts, those of the graph or others.
        graph: of `circuit_graph`.
        n_nodes: how many nodes, those of the largest effects; see `CircuitGraph.prune`.
        threshold: or which effects a node must have, likewise; without either, the whole graph.
        n_random: see `patch_components`, like all that follows.
    Raises:
        ValueError: no head and no MLP is left in the graph.
    """
    asked = graph if n_nodes is threshold is None else graph.prune(threshold, keep=n_nodes)
    if not asked.components:
        raise ValueError(
            "graph_faithfulness: the graph holds no head and no MLP to patch; keep more nodes."
        )
    return patch_components(
        model, task, asked.components, mode=graph.mode, n_random=n_random, seed=seed,
        engine=engine, batch_size=batch_size, max_memory=max_memory,
    )  # fmt: skip
