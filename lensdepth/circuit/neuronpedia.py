"""A circuit's graph as the JSON that circuit-tracer's and Neuronpedia's graph viewers read.

The form is that of circuit-tracer's `create_graph_files` (`frontend/graph_models.py`) and of
Neuronpedia's `graph-schema.json`, which takes any `feature_type`. It was made for features of
transcoders; heads and MLPs have none, so that

- nodes and links, their places (token by block), labels and weights are shown as they are: a link's
  weight is the measured effect of an edge in nats, and edges that were not measured are left out;
- there is nothing to show of a feature: no activations, no examples, no dashboard behind a node;
- the slider that prunes by `influence` does nothing, since none is given: theirs is a share of
  paths in a linear graph, which this is not. For the same reason their replacement and completeness
  scores mean nothing here. `CircuitGraph.prune` prunes before a graph is written;
- the logit node is a difference of two logits, which its label says; `p` is the target's
  probability after the clean prompt;
- blocks are counted from 0, as in circuit-tracer; Neuronpedia draws block 0 in the embeddings' row,
  and refuses a graph without any node above it.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensdepth.provenance import installed_versions
from lensdepth.telling.numbers import change
from lensdepth.telling.plain import Json
from lensdepth.writing import write_text

if TYPE_CHECKING:
    from lensdepth.circuit.graph import CircuitGraph

TYPES = {"embed": "embedding", "head": "attention head", "mlp": "mlp", "logit": "logit"}
"""What a kind of node is called there; heads and MLPs have no name of theirs."""


def graph_json(graph: "CircuitGraph", *, slug: str = "lensdepth", scan: str | None = None) -> Json:
    """The file's content.

    Args:
        graph: of one pair.
        slug: what the viewers call the graph.
        scan: what they call the model; its own name by default.
    Raises:
        ValueError: the graph is of several pairs.
    """
    if not graph.prompt_tokens:
        raise ValueError(
            f"to_neuronpedia: the viewers show one prompt, and this graph is of "
            f"{graph.outcome.n_pairs} pairs; make one of a pair, by pair_task."
        )
    info, made = graph.provenance.model, installed_versions()["lensdepth"]
    ids = {name: _id(graph, name) for name in (*graph.nodes, "LOGIT")}
    effects = graph.edge_effects.mean(1).tolist()
    links = [
        {"source": ids[up], "target": ids[down], "weight": effect}
        for up, down, effect in zip(graph.upstream, graph.downstream, effects, strict=False)
    ]
    return {
        "metadata": {
            "slug": slug,
            "scan": scan or info.name,
            "transcoder_list": [],
            "prompt_tokens": list(graph.prompt_tokens),
            "prompt": graph.provenance.prompts[0],
            "info": {
                "description": (
                    f"Heads and MLPs, not features. A link's weight is the change of logit(target) "
                    f"- logit(foil) in nats when one node's output from the source run reaches the "
                    f"other node alone ({graph.paths} effect, {graph.mode})."
                ),
                "generator": {"name": "lensdepth", "version": made},
            },
            # Their schema has settings of these names that are numbers, or not there.
            "generation_settings": {
                name: value for name, value in graph.provenance.settings.items()
                if value is not None
            },
        },
        "qParams": {
            "pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": "",
        },
        "nodes": [_node(graph, name, ids[name]) for name in ids],
        "links": links,
    }  # fmt: skip


def write_graph(
    graph: "CircuitGraph", path: str | Path, *, slug: str = "lensdepth", scan: str | None = None
) -> None:
    """Write it; see `graph_json`."""
    write_text(path, json.dumps(graph_json(graph, slug=slug, scan=scan), indent=1) + "\n")


def _place(graph: "CircuitGraph", name: str) -> tuple[str, int, int]:
    """Layer, number in it, and token of a node, as the viewers have them."""
    node = graph.node(name)
    at = graph.indices[graph.column_of(name)]
    if node.kind == "embed":
        return "E", at, at
    if node.kind == "logit":
        return str(graph.n_layers + 1), 0, at
    # Heads have their own numbers, the MLP the one behind the last.
    number = graph.provenance.model.n_heads if node.head is None else node.head
    return str(node.layer), number, at


def _id(graph: "CircuitGraph", name: str) -> str:
    return "_".join(map(str, _place(graph, name)))


def _node(graph: "CircuitGraph", name: str, own: str) -> dict[str, Any]:
    layer, number, at = _place(graph, name)
    node = graph.node(name)
    logit = node.kind == "logit"
    p = float(graph.probability[0])
    if logit:
        target, foil = graph.answers
        # Both viewers read the number behind "(p=".
        label = f'Output "{target}" - "{foil}" (p={p:.3f})'
    else:
        effect = float(graph.node_effects[graph.nodes.index(name)].mean())
        label = f"{name} ({change(effect)} nats)"
    return {
        "node_id": own,
        "feature": number,
        "layer": layer,
        "ctx_idx": at,
        "feature_type": TYPES[node.kind],
        "token_prob": p if logit else 0.0,
        "is_target_logit": logit,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": f"{layer}_{number}-{at}",
        "clerp": label,
        "influence": None,
        "activation": None,
    }
