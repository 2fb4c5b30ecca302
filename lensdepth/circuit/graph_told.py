"""What a circuit's graph says: summary and sentences."""

from typing import TYPE_CHECKING, Any

from lensdepth.telling.names import at_position
from lensdepth.telling.numbers import Interval, below, counted, number
from lensdepth.telling.plain import Json, to_json
from lensdepth.units import FEWEST_UNITS, count

if TYPE_CHECKING:
    from lensdepth.circuit.graph import CircuitGraph

MOST_NAMED = 3
"""Edges that a sentence names."""
WAYS = {
    "total": "and what that node then writes goes on through the whole model (total effect)",
    "direct": "and what that node then writes goes straight to the logits (direct effect)",
}


def summary(graph: "CircuitGraph") -> Json:
    """Nodes and edges with their effects, and how far the two runs are apart."""
    return to_json(
        {
            "nodes": graph.nodes_frame().to_dict("records"),
            "edges": graph.to_frame().to_dict("records"),
            "n_edges": len(graph.upstream),
            "n_measured": graph.n_measured,
            "n_candidates": graph.n_candidates,
            "n_tried": graph.n_tried,
            "paths": graph.paths,
            "mode": graph.mode,
            "positions": list(graph.positions),
            "tokens": list(graph.tokens),
            "way": graph.way,
            "attribution": {
                "nodes": float(graph.attribution.sum(0).mean()),
                "others": float(graph.others.mean()),
                "biases": float(graph.biases.mean()),
                "logit_diff": float(graph.logit_diff.mean()),
            },
            "self_patch_error": graph.self_patch_error,
        }
    )


def sentences(graph: "CircuitGraph") -> list[str]:
    """What was screened and measured, the largest effects, and what they do not say."""
    if not graph.n_candidates and graph.n_measured == len(graph.upstream) == 1:
        return [_one(graph), *_few(graph)]
    return [_chosen(graph), *_nodes(graph), *_edges(graph), _added(graph), *_few(graph)]


def _one(graph: "CircuitGraph") -> str:
    """What one edge does that was asked for by itself."""
    row: dict[Any, Any] = graph.to_frame().iloc[0].to_dict()
    return (
        f"The output of {row['upstream']} from the source run is put into the input of "
        f"{row['downstream']} alone{_onward(graph)}. That changes the logit difference by "
        f"{_value(row, graph.floor)}."
    )


def _onward(graph: "CircuitGraph") -> str:
    """How it goes on from the downstream node; nothing comes behind the logits."""
    return "" if graph.downstream == ("LOGIT",) else f", {WAYS[graph.paths]}"


def _chosen(graph: "CircuitGraph") -> str:
    kept = counted(len(graph.nodes), "node")
    if not graph.n_candidates:
        return f"{kept.capitalize()} named, none screened."
    return (
        f"Of {counted(graph.n_candidates, 'node')}, estimated by gradients, {graph.n_tried} were "
        f"measured and {kept} kept; a node that its estimate misses is not here."
    )


def _value(row: dict[Any, Any], floor: float) -> str:
    """An effect with its interval, and its share of the way."""
    if abs(row["effect"]) <= floor:
        return f"{below(floor)} nats, which is rounding"
    shown = Interval(value=row["effect"], low=row["low"], high=row["high"])
    share = "" if row["share"] != row["share"] else f", {number(row['share'])} of the way"
    return f"{shown} nats{share}"


def _nodes(graph: "CircuitGraph") -> list[str]:
    frame = graph.nodes_frame()
    if not len(frame):
        return []
    way = number(graph.way)
    top = frame.loc[frame["effect"].abs().sort_values(ascending=False, kind="stable").index]
    row = top.iloc[0].to_dict()
    where = at_position(str(row["position"]))
    return [
        f"From base to source run the logit difference changes by {way} nats. By itself the "
        f"largest node, {row['node']} {where}, changes it by {_value(row, graph.floor)}; what is "
        f"behind a node is in its effect, so these do not add up."
    ]


def _edges(graph: "CircuitGraph") -> list[str]:
    n, whole = graph.n_measured, len(graph.upstream)
    if not whole:
        return ["There is no edge between these nodes."]
    rest = whole - n
    said = (
        f"{n} of {counted(whole, 'edge')} between them were measured: the upstream node's output "
        f"from the source run is put into the downstream node's input alone, {WAYS[graph.paths]}."
    )
    if rest:
        said += f" Of the other {rest} there are estimates alone."
    found = [said]
    frame = graph.to_frame().iloc[:n]
    real = frame[frame["above_floor"].astype(bool)]
    if len(real):
        named = [
            f"{row['upstream']} to {row['downstream']} ({_value(row, graph.floor)})"
            for row in real.head(MOST_NAMED).to_dict("records")
        ]
        which = "The largest is" if len(named) == 1 else "The largest are"
        found.append(f"{which} {'; '.join(named)}.")
    if len(real) < n:
        found.append(
            f"{n - len(real)} of the measured ones are below {number_of_floor(graph)}, rounding in "
            f"this model."
        )
    return found


def number_of_floor(graph: "CircuitGraph") -> str:
    """The floor, as a size."""
    return below(graph.floor).removeprefix("< ") + " nats"


def _added(graph: "CircuitGraph") -> str:
    nodes, others, biases, whole = (
        number(float(values.mean()))
        for values in (graph.attribution.sum(0), graph.others, graph.biases, graph.logit_diff)
    )
    return (
        f"Directly, without later nodes, those shown add {nodes} nats to the clean prompts' logit "
        f"difference of {whole}, all others {others}, biases {biases}."
    )


def _few(graph: "CircuitGraph") -> list[str]:
    n = graph.outcome.n_pairs
    if count(graph.provenance.units, n) >= FEWEST_UNITS:
        return []
    return [f"{counted(n, 'pair')} cannot speak for others."]
