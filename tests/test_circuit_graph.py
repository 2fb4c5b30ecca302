"""Paths from node to node: against plain Hugging Face hooks, identities, and a planted circuit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from conftest import Load
from torch import Tensor
from transformers import AutoModelForCausalLM

from lensdepth import (
    CircuitGraph,
    DepthModel,
    Task,
    attribute_logits,
    circuit_graph,
    graph_faithfulness,
    load_model,
    load_task,
    pair_task,
    patch_components,
    patch_edge,
)
from lensdepth.circuit import graph_told
from lensdepth.circuit.graph_work import LOGIT, Work, edge_estimates, make_work, measured
from lensdepth.circuit.neuronpedia import graph_json
from lensdepth.circuit.nodes import Node
from lensdepth.model import DepthModel as Wrapped
from lensdepth.provenance import Backend
from lensdepth.teaching import planted

TARGET, FOIL = 10, 5


def _pair(model: DepthModel) -> Task:
    return pair_task("Two months from January is", "Two months from Monday is", model,
                     target_id=TARGET, foil_id=FOIL)  # fmt: skip


def _work(model: DepthModel, task: Task) -> Work:
    return make_work(
        model, task, None, "denoise", "test", {}, engine="auto", batch_size=None, max_memory=None
    )


@pytest.fixture(scope="module")
def graph(trained: DepthModel) -> CircuitGraph:
    """Of six pairs of one wording."""
    task = load_task("months", trained, n=6, seed=1, keep="correct")
    return circuit_graph(trained, task, top=6, edges=9)


# One edge, by plain hooks.


class Plain:
    """A Hugging Face model run with hooks of torch's own, and paths patched by hand."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        gpt2 = kind == "gpt2"
        inner = self.model.transformer if gpt2 else self.model.model
        self.blocks = inner.h if gpt2 else inner.layers
        self.norm = inner.ln_f if gpt2 else inner.norm
        self.joins = [b.attn.c_proj if gpt2 else b.self_attn.o_proj for b in self.blocks]
        self.mids = [b.ln_2 if gpt2 else b.post_attention_layernorm for b in self.blocks]
        self.weights = [j.weight if gpt2 else j.weight.T for j in self.joins]
        self.n_heads = self.model.config.num_attention_heads

    def run(
        self, ids: list[int], changes: dict[Any, Callable[[Tensor], Tensor]]
    ) -> tuple[Tensor, dict[Any, Tensor]]:
        """Logits at the end, and what entered each part; what leaves an MLP is under its block."""
        seen: dict[Any, Tensor] = {}

        def enter(module: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            state = given[0]
            if module in changes:
                state = changes[module](state.clone())
            seen[module] = state[0]
            return (state, *given[1:])

        def leave(module: Any, given: Any, made: Tensor) -> Tensor:
            if module in changes:
                made = changes[module](made.clone())
            seen[module] = made[0]
            return made

        parts = [*self.blocks, *self.joins, *self.mids, self.norm]
        handles = [part.register_forward_pre_hook(enter) for part in parts]
        handles += [block.mlp.register_forward_hook(leave) for block in self.blocks]
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0, -1]
        for handle in handles:
            handle.remove()
        return logits, seen

    def head(self, state: Tensor, head: int | None) -> slice:
        assert head is not None
        width = state.shape[-1] // self.n_heads
        return slice(head * width, (head + 1) * width)

    def edge(self, base: list[int], source: list[int], up: Node, down: Node, paths: str) -> float:
        """Effect of an edge on logit(target) - logit(foil)."""
        (plain, there), (_, given) = self.run(base, {}), self.run(source, {})
        t, s = int(down.at), int(up.at)
        if up.kind == "embed":
            write = (given[self.blocks[0]] - there[self.blocks[0]])[s]
        elif up.kind == "mlp":
            mlp = self.blocks[up.layer].mlp
            write = (given[mlp] - there[mlp])[s]
        else:
            join = self.joins[up.layer]
            mine = self.head(there[join], up.head)
            write = (given[join] - there[join])[s, mine] @ self.weights[up.layer][mine]

        def added(state: Tensor, at: int, what: Tensor) -> Tensor:
            state[0, at] += what
            return state

        def put(state: Tensor, mine: slice, what: Tensor) -> Tensor:
            state[0, t, mine] = what
            return state

        last = len(base) - 1
        if down.kind == "logit":
            edited, _ = self.run(base, {self.norm: lambda x: added(x, last, write)})
        else:
            reader = (self.blocks if down.kind == "head" else self.mids)[down.layer]
            _, seen = self.run(base, {reader: lambda x: added(x, s, write)})
            part = self.joins[down.layer] if down.kind == "head" else self.blocks[down.layer].mlp
            whole = slice(None)
            mine = self.head(seen[part], down.head) if down.kind == "head" else whole
            new = seen[part][t, mine]
            if paths == "total":
                edited, _ = self.run(base, {part: lambda x: put(x, mine, new)})
            else:
                more = new - there[part][t, mine]
                if down.kind == "head":
                    more = more @ self.weights[down.layer][mine]
                more = more * (t == last)
                edited, _ = self.run(base, {self.norm: lambda x: added(x, last, more)})
        moved = edited - plain
        return float(moved[TARGET] - moved[FOIL])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_an_edge_is_what_plain_hooks_make_of_it(
    load_tiny: Load, model_folder: Callable[[str], Path], kind: str, backend: Backend
) -> None:
    model, plain = load_tiny(kind, backend), Plain(model_folder(kind), kind)
    task = _pair(model)
    assert task.corrupted_tokens is not None
    base, source = task.corrupted_tokens.row(0), task.clean_tokens.row(0)
    first = next(i for i, (a, b) in enumerate(zip(base, source, strict=True)) if a != b)
    last = len(base) - 1
    assert first < last
    for up, down in (
        (f"EMBED@{first}", f"MLP0@{first}"),
        (f"L0H2@{last}", f"MLP0@{last}"),
        (f"L0H1@{first}", f"L2H3@{last}"),
        (f"MLP0@{first}", f"L1H0@{last}"),
        (f"L2H0@{last}", "LOGIT"),
        (f"MLP0@{first}", f"L1H1@{first}"),
    ):
        for paths in ("total", "direct") if up.startswith(("L0H1", "L0H2", "MLP0")) else ("total",):
            found = patch_edge(model, task, up, down, paths=paths)
            nodes = [found.node(name) for name in (up, down)]
            nodes = [replace(n, at=str(last)) if n == LOGIT else n for n in nodes]
            expected = plain.edge(base, source, *nodes, paths)
            assert float(found.edge(up, down)) == pytest.approx(expected, abs=2e-5), (up, down)
            # At another token than the last nothing goes to the logits directly.
            nothing = paths == "direct" and down.endswith(f"@{first}")
            assert (abs(expected) > 1e-6) != nothing


# Identities.


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "gemma2", "olmo2"])
def test_all_edges_of_a_node_together_are_the_node(load_tiny: Load, kind: str) -> None:
    """Read by all that come after it, and by the logits, a write is the node patched."""
    model = load_tiny(kind, "bridge")
    task = _pair(model)
    assert task.corrupted_tokens is not None
    work = _work(model, task)
    ways = work.ways(slice(0, 1))
    at = [span.name for span in work.spans][-2]
    for up in (Node("embed", at=at), Node("head", 0, 1, at), Node("mlp", 1, at=at)):
        write = ways.write_of(up, ways.output("source", up))
        edits: list[Any] = []
        for layer in range(model.n_layers):
            for node in (Node("head", layer, 0, at), Node("mlp", layer, at=at)):
                if not up.order(parallel=ways.parallel) < node.order(parallel=ways.parallel):
                    continue
                read = ways.read_by(node, up, write, edits)
                # Neither an edit of a whole block's heads nor one of its MLP is a single head's.
                edits += [
                    ways.edit(Node("mlp" if node.kind == "mlp" else "head", layer, None, name), new)
                    for name, new in zip(ways.columns, read.unbind(1), strict=False)
                ]
        # The logits read the last token alone, which this write does not reach directly.
        assert ways.column(up) != ways.column(LOGIT)
        through = next(model.run_edits(task.corrupted_tokens, [edits]))[0, -1]
        whole = [ways.edit(up, ways.output("source", up))]
        patched = next(model.run_edits(task.corrupted_tokens, [whole]))[0, -1]
        torch.testing.assert_close(through, patched, rtol=1e-4, atol=2e-5)
        plain = model.logits(task.corrupted_tokens)[0, -1]
        assert (patched - plain).abs().max() > 1e-4


def test_what_the_source_does_not_change_has_no_effect_at_all(tiny_llama: DepthModel) -> None:
    work = _work(tiny_llama, _pair(tiny_llama))
    own = work.roles
    same = replace(own, source=own.base, source_positions=own.base_positions)
    still = replace(work, roles=same, spans=[replace(s, source=s.base) for s in work.spans])
    last = work.spans[-1].name
    nodes = [Node("embed", at=last), Node("head", 0, 1, last), Node("mlp", 1, at=last)]
    edges = [(nodes[0], nodes[1]), (nodes[1], nodes[2]), (nodes[1], LOGIT), (nodes[2], LOGIT)]
    for paths in ("total", "direct"):
        screened = edge_estimates(still, edges, direct=paths == "direct")
        nothing = torch.zeros(len(nodes))
        found = measured(still, nodes, edges, screened, 4, paths, nothing, 0, 0)
        assert torch.equal(found.node_effects, torch.zeros(3, 1))
        assert torch.equal(found.edge_effects, torch.zeros(4, 1))
        assert torch.equal(screened, torch.zeros(4))


def test_direct_attributions_add_up_whatever_is_kept(
    graph: CircuitGraph, trained: DepthModel
) -> None:
    for one in (graph, graph.prune(keep=2), graph.prune(0.05)):
        assert one.residual.abs().max() < 1e-4 * one.logit_diff.abs().max()
    frame = graph.nodes_frame()
    here = frame[frame["position"] == graph.positions[-1]]
    elsewhere = frame[frame["position"] != graph.positions[-1]]
    assert (here["attribution"] != 0).all()
    assert len(here)
    assert (elsewhere["attribution"] == 0).all()
    task = load_task("months", trained, n=6, seed=1, keep="correct")
    parts = attribute_logits(trained, task)
    for row in here.to_dict("records"):
        if row["kind"] in ("head", "mlp"):
            name = row["node"].partition("@")[0]
            assert row["attribution"] == pytest.approx(float(parts.of(name).mean()), rel=1e-5)


def test_estimates_are_slopes_where_the_model_is_all_but_linear(tiny_gpt2: DepthModel) -> None:
    """Edges to the logit, whose one bend is the final norm: half a nat apart at most, and alike."""
    found = circuit_graph(tiny_gpt2, _pair(tiny_gpt2), top=8)
    frame = found.to_frame()
    ends = frame[(frame["downstream"] == "LOGIT") & frame["measured"]]
    assert len(ends) > 2
    assert ends["estimate"].corr(ends["effect"]) > 0.9


# A circuit that is known.


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "gemma2"])
def test_a_planted_relay_is_found_as_it_is(
    architecture: planted.Architecture, tmp_path: Path
) -> None:
    """Block 1 moves the input to the filler, block 4 from there to the end, and nothing else."""
    folder = planted.planted_way(
        tmp_path / "m", "relay", n_layers=6, first=1, second=4, architecture=architecture
    )
    model = load_model(folder)
    pairs = [(a, (a + 5) % 12) for a in range(12)]
    file = planted.prompt_file(tmp_path / "p.csv", pairs, list(range(12)), planted.FRAMED)
    task = load_task(file, model)
    found = circuit_graph(model, task, top=5)
    # Either head of a block moves half of what it moves.
    embed, *_ = found.nodes
    assert embed.startswith("EMBED@")
    first, second = ([f"L{layer}H{h}" for h in (0, 1)] for layer in (1, 4))
    assert [name.partition("@")[0] for name in found.nodes[1:]] == [*first, *second]
    filler, end = ([n for n in found.nodes if n.partition("@")[0] in part] for part in
                   (first, second))  # fmt: skip
    chain = {(embed, head) for head in filler} | {(head, "LOGIT") for head in end}
    chain |= {(up, down) for up in filler for down in end}
    shares = {
        (row["upstream"], row["downstream"]): row["share"]
        for row in found.to_frame().to_dict("records")
    }
    assert chain <= set(shares)
    for edge, share in shares.items():
        assert share > 0.1 if edge in chain else abs(share) < 1e-5, (edge, share)
    nodes = found.nodes_frame().set_index("node")
    assert nodes.loc[embed, "share"] == pytest.approx(1.0, abs=1e-4)
    done = graph_faithfulness(model, task, found, n_random=0)
    assert done.transferred[0].tolist() == pytest.approx([1.0] * len(task), abs=1e-4)
    # All that is there runs by the filler: neither block's heads alone reach the end otherwise.
    direct = circuit_graph(model, task, top=5, paths="direct").to_frame().set_index("downstream")
    assert direct.loc[filler, "effect"].abs().max() == 0.0


# What is refused.


@pytest.mark.parametrize(
    ("up", "down", "said"),
    [
        ("L1H0@3", "L1H0@3", "from one node to another"),
        ("MLP2@3", "L1H0@3", "acts after L1H0@3, which cannot read it; turn them round"),
        ("L1H0@3", "L1H1@3", "acts beside"),
        ("L0H0@3", "L1H0@2", "a later token"),
        ("L0H0@2", "MLP1@3", "reads its own token alone"),
        ("L0H0@2", "LOGIT", "at the prediction position alone"),
        ("L0H0@2", "EMBED@2", "an embedding reads no other node"),
        ("LOGIT", "L1H0@3", "nothing reads it"),
        ("L9H0@3", "LOGIT", "the blocks are 0...2"),
        ("ATTN1@3", "LOGIT", "several nodes at once"),
        ("nothing", "LOGIT", "names no node; write L5H3@4"),
        ("L0H0@99", "LOGIT", "position 99 lies outside every prompt"),
    ],
)
def test_an_edge_that_is_none_is_refused_with_its_reason(
    load_tiny: Load, up: str, down: str, said: str
) -> None:
    model = load_tiny("llama", "bridge")
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        patch_edge(model, _pair(model), up, down)


def test_a_graph_of_several_wordings_has_the_named_positions(trained: DepthModel) -> None:
    task = load_task("months", trained, n=8, template="all", seed=1, keep="correct")
    found = circuit_graph(trained, task, top=3, edges=2)
    assert found.positions == ("input", "prediction")
    assert found.n_measured == 2
    with pytest.raises(ValueError, match="names a token at which there are no nodes"):
        circuit_graph(trained, task, pinned=["L0H0@2"])


# The result.


def test_a_graph_says_what_was_measured_and_what_was_not(
    graph: CircuitGraph, tmp_path: Path
) -> None:
    frame = graph.to_frame()
    assert (graph.n_measured, len(frame)) == (9, len(graph.upstream))
    assert frame["measured"].sum() == 9
    assert frame.loc[~frame["measured"], "effect"].isna().all()
    assert frame["estimate"].notna().all()
    real = frame[frame["measured"]]
    torch.testing.assert_close(
        torch.tensor(real["effect"].to_numpy()).float(),
        torch.stack(
            [graph.edge(u, d).mean() for u, d in zip(real["upstream"], real["downstream"])]  # noqa: B905
        ),
    )
    with pytest.raises(ValueError, match="was not measured here; patch_edge measures it"):
        row = frame[~frame["measured"]].iloc[0]
        graph.edge(row["upstream"], row["downstream"])
    said = " ".join(graph_told.sentences(graph))
    assert f"Of the other {len(frame) - 9} there are estimates alone." in said
    graph.save(tmp_path / "g.safetensors")
    again = CircuitGraph.load(tmp_path / "g.safetensors")
    assert again.to_frame().equals(frame)
    assert graph_told.summary(again) == graph_told.summary(graph)


def test_pinned_nodes_stay_and_pruning_keeps_the_largest(trained: DepthModel) -> None:
    task = load_task("months", trained, n=4, seed=1, keep="correct")
    found = circuit_graph(trained, task, top=4, edges=3, pinned=["l0h0@0"])
    assert len(found.nodes) == 4
    assert "L0H0@0" in found.nodes  # before anything differs: it does nothing
    assert float(found.node_effects[found.nodes.index("L0H0@0")].abs().max()) <= found.floor
    small = found.prune(keep=2)
    sizes = found.node_effects.mean(1).abs()
    assert {*small.nodes} == {found.nodes[i] for i in sizes.topk(2).indices.tolist()}
    assert {*small.upstream, *small.downstream} <= {*small.nodes, "LOGIT"}
    for name in small.nodes:
        assert torch.equal(small.of("effect", set=name), found.of("effect", set=name))
    wrongs: list[Any] = [{}, {"threshold": 0.1, "keep": 2}, {"keep": 0}, {"threshold": 99.0}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"CircuitGraph\.prune: "):
            found.prune(**wrong)


def test_faithfulness_is_that_of_the_kept_set(graph: CircuitGraph, trained: DepthModel) -> None:
    task = load_task("months", trained, n=6, seed=1, keep="correct")
    small = graph.prune(keep=4)
    found = graph_faithfulness(trained, task, graph, n_nodes=4, n_random=2)
    again = patch_components(trained, task, small.components, n_random=2)
    assert found.components == small.components
    assert torch.equal(found.outcome.values, again.outcome.values)
    assert torch.equal(found.removed.values, again.removed.values)


# The viewers' file.

SCHEMA = {
    "type": "object",
    "required": ["metadata", "qParams", "nodes", "links"],
    "properties": {
        "metadata": {
            "required": ["slug", "scan", "prompt_tokens", "prompt", "transcoder_list"],
            "properties": {
                "slug": {"type": "string"},
                "scan": {"type": "string"},
                "prompt": {"type": "string"},
                "prompt_tokens": {"type": "array", "items": {"type": "string"}},
                "generation_settings": {
                    "properties": {
                        name: {"type": kind}
                        for name, kind in {
                            "max_n_logits": "integer",
                            "desired_logit_prob": "number",
                            "batch_size": "integer",
                            "max_feature_nodes": "integer",
                        }.items()
                    }
                },
            },
        },
        "qParams": {
            "properties": {
                "pinnedIds": {"type": "array", "items": {"type": "string"}},
                "supernodes": {"type": "array"},
                "linkType": {"type": "string"},
                "clickedId": {"type": "string"},
                "sg_pos": {"type": "string"},
            }
        },
        "nodes": {
            "type": "array",
            "items": {
                "required": [
                    "node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp",
                ],
                "properties": {
                    "node_id": {"type": "string"},
                    "feature": {"type": ["integer", "null"]},
                    "layer": {"type": ["string", "integer"]},
                    "ctx_idx": {"type": "integer"},
                    "feature_type": {"type": "string"},
                    "jsNodeId": {"type": "string"},
                    "clerp": {"type": "string"},
                    "influence": {"type": ["number", "null"]},
                    "activation": {"type": ["number", "null"]},
                },
            },
        },
        "links": {
            "type": "array",
            "items": {
                "required": ["source", "target", "weight"],
                "properties": {
                    "source": {"type": "string"},
                    "target": {"type": "string"},
                    "weight": {"type": "number"},
                },
            },
        },
    },
}  # fmt: skip
"""What Neuronpedia's `graph-schema.json` asks of each field that is written, as read in 2026."""


def test_the_viewers_file_has_their_fields_and_our_numbers(
    tiny_llama: Wrapped, graph: CircuitGraph, tmp_path: Path
) -> None:
    found = circuit_graph(tiny_llama, _pair(tiny_llama), top=6, edges=5)
    found.to_neuronpedia(tmp_path / "g.json", slug="mine")
    whole = json.loads((tmp_path / "g.json").read_text())
    jsonschema.validate(whole, SCHEMA)
    nodes = {node["node_id"]: node for node in whole["nodes"]}
    assert len(nodes) == len(found.nodes) + 1
    assert len({(n["layer"], n["feature"], n["ctx_idx"]) for n in nodes.values()}) == len(nodes)
    for link, up, down in zip(whole["links"], found.upstream, found.downstream, strict=False):
        assert link["weight"] == pytest.approx(float(found.edge(up, down)))
        assert {link["source"], link["target"]} <= set(nodes)
    assert len(whole["links"]) == 5
    (logit,) = [node for node in nodes.values() if node["feature_type"] == "logit"]
    # Both viewers take the number between "(p=" and ")", and fail where there is none.
    assert float(logit["clerp"].split("(p=")[1].split(")")[0]) == round(logit["token_prob"], 3)
    log_probs = tiny_llama.log_probs("Two months from January is")[0, -1]
    assert logit["token_prob"] == pytest.approx(float(log_probs[10].exp()), rel=1e-4)
    assert logit["ctx_idx"] == len(whole["metadata"]["prompt_tokens"]) - 1
    with pytest.raises(ValueError, match="the viewers show one prompt"):
        graph_json(graph)
