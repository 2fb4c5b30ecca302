"""How a graph of a circuit is measured: its tokens found, its edges estimated, its runs made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.circuit.attribution import attribute_logits
from lensdepth.circuit.attribution_profile import AttributionProfile
from lensdepth.circuit.graph import CircuitGraph, PathKind
from lensdepth.circuit.nodes import ARROW, PREDICTION, Node, parse_node, why_no_edge
from lensdepth.circuit.paths import Ways, is_parallel, output_hook, put_given
from lensdepth.circuit.screening import screen_edges, slopes_of
from lensdepth.model import DepthModel
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream, site_hook
from lensdepth.sweep.alignment import one_wording
from lensdepth.sweep.blocks import pair_blocks
from lensdepth.sweep.choices import check_stream
from lensdepth.sweep.loop import (
    Planned,
    check_self_patch,
    run_sweep,
    say_undefined,
    sweep_provenance,
)
from lensdepth.sweep.options import Options
from lensdepth.sweep.roles import Mode, Roles, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.spans import Span, named_positions, resolve_spans, span_labels
from lensdepth.tasks.task import Task

STREAMS: tuple[Stream, ...] = ("z", "attn_out", "mlp_out")
"""What must be there to say what a node writes."""
LOGIT = Node("logit")
Positions = Sequence[str | int]
"""Names (`input`, `prediction`) and indices of single tokens."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """A model and pairs, with the tokens at which there are nodes, from left to right."""

    model: DepthModel
    task: Task
    roles: Roles
    spans: list[Span]
    options: Options

    @property
    def n_numbers(self) -> int:
        """Numbers that one pair's states take."""
        return self.model.n_layers * len(self.spans) * 6 * self.model.d_model

    @property
    def columns(self) -> dict[str, int]:
        """Name of a token -> its column; the prediction position by that name besides."""
        found = {span.name: j for j, span in enumerate(self.spans)}
        last = self.roles.base_positions[PREDICTION]
        at = next(j for j, s in enumerate(self.spans) if torch.equal(s.base[:, 0], last))
        return found | {PREDICTION: at}

    def node(self, name: str) -> Node:
        """The node of a name, at a token by the name that it has here."""
        node = parse_node(name, self.model.n_layers, self.model.info.n_heads)
        if node == LOGIT:
            return node
        names = [span.name for span in self.spans]
        if node.at in names:
            return node
        try:
            asked = [node.position]
            span = resolve_spans(self.roles, asked, caller=self.options.caller)[0]
            same = [one.name for one in self.spans if torch.equal(one.base, span.base)]
        except (KeyError, ValueError):
            same = []
        if not same:
            raise ValueError(
                f"{self.options.caller}: {node} names a token at which there are no nodes; there "
                f"are {', '.join(names)}."
            )
        return replace(node, at=same[0])

    def why_not(self, up: Node, down: Node) -> str | None:
        """Why there is no edge; see `why_no_edge`."""
        first, second = self.columns[up.at], self.columns[down.at]
        return why_no_edge(
            up, down, earlier=first < second, same=first == second,
            parallel=is_parallel(self.model),
        )  # fmt: skip

    def in_order(self, nodes: Sequence[Node]) -> list[Node]:
        """From the first block and token to the last, each once."""
        parallel, columns = is_parallel(self.model), self.columns
        return sorted(
            dict.fromkeys(nodes),
            key=lambda n: (n.order(parallel=parallel), n.kind, columns[n.at], n.head or 0),
        )

    def ways(self, rows: slice) -> Ways:
        """Some of the pairs."""
        base, source = (
            torch.cat([getattr(span.of(rows), run) for span in self.spans], dim=1)
            for run in ("base", "source")
        )
        return Ways(
            model=self.model, roles=self.roles.of(rows), base_at=base, source_at=source,
            columns=self.columns,
        )  # fmt: skip


def make_work(
    model: DepthModel,
    task: Task,
    positions: Positions | None,
    mode: Mode,
    caller: str,
    own: dict[str, object],
    *,
    engine: Engine,
    batch_size: int | None,
    max_memory: int | None,
) -> Work:
    """Everything checked, and the tokens found."""
    for stream in STREAMS:
        check_stream(model, stream, caller=caller)
    if isinstance(positions, str):
        raise ValueError(f"{caller}: positions is a list of names and indices, got {positions!r}.")
    asked = named_positions(task, positions if positions is not None else "all")
    roles = assign_roles(
        task, mode, positions=tuple(dict.fromkeys((*asked, PREDICTION))), caller=caller
    )
    spans = resolve_spans(
        roles,
        positions if positions is not None else "all" if one_wording(roles) else asked,
        caller=caller,
    )
    spans = _from_left_to_right(roles, spans, caller)
    options = Options(
        caller=caller, mode=mode, engine=engine, batch_size=batch_size, max_memory=max_memory,
        own={**own, "positions": [span.name for span in spans]},
    )  # fmt: skip
    return Work(model=model, task=task, roles=roles, spans=spans, options=options)


def _from_left_to_right(roles: Roles, spans: Sequence[Span], caller: str) -> list[Span]:
    """Each token once, the prediction position among them, in the order in which they stand.

    Raises:
        ValueError: a pair lacks one of them, or has them in another order than the first pair.
    """
    last = Span(
        name=PREDICTION,
        base=roles.base_positions[PREDICTION][:, None],
        source=roles.source_positions[PREDICTION][:, None],
    )
    once: list[Span] = []
    for span in (*spans, last):
        if not any(torch.equal(span.base, one.base) for one in once):
            once.append(span)
    once.sort(key=lambda span: int(span.base[0, 0]))
    at = torch.cat([span.base for span in once], dim=1)
    if (at < 0).any():
        lacking = next(span.name for span in once if (span.base < 0).any())
        raise ValueError(
            f"{caller}: a graph needs every token in every pair, and some pairs have no token "
            f"{lacking!r}; leave it out of positions, or those pairs out of the task."
        )
    if (at[:, 1:] <= at[:, :-1]).any():
        raise ValueError(
            f"{caller}: the tokens {', '.join(span.name for span in once)} stand in another order "
            f"in some pairs, so that edges would mean different things; name fewer positions."
        )
    return once


def edge_estimates(
    work: Work, edges: Sequence[tuple[Node, Node]], *, direct: bool
) -> Float[Tensor, " edge"]:
    """Means over pairs, in nats."""
    total = torch.zeros(len(edges), dtype=torch.float32)
    for rows in pair_blocks(len(work.roles.base), work.n_numbers) if edges else ():
        ways = work.ways(rows)
        ups = dict.fromkeys(up for up, _ in edges)
        writes = {up: ways.write_of(up, ways.output("source", up)) for up in ups}
        slopes = slopes_of(
            ways, list(dict.fromkeys(down for _, down in edges)), work.options,
            start=rows.start, direct=direct,
        )  # fmt: skip
        total += screen_edges(ways, writes, edges, slopes)
    return total / len(work.roles.base)


def largest(work: Work, nodes: Sequence[Node], n: int) -> list[Node]:
    """Those of some nodes whose mean effects are largest, each measured."""
    if len(nodes) <= n:
        return list(nodes)

    def runs(rows: slice) -> Iterator[Run]:
        ways = work.ways(rows)
        for i, node in enumerate(nodes):
            yield _run(ways, i, node, ways.output("source", node))

    effects = run_sweep(
        work.model, work.roles, work.options, lambda rows: Planned(runs=runs(rows)),
        {"set": list(map(str, nodes))}, n_numbers=work.n_numbers, description="trying nodes",
    ).effects  # fmt: skip
    order = effects.change().mean(1).abs().argsort(descending=True, stable=True)
    return [nodes[i] for i in order[:n].tolist()]


def measured(
    work: Work,
    kept: Sequence[Node],
    edges: Sequence[tuple[Node, Node]],
    screened: Float[Tensor, " edge"],
    n_measured: int,
    paths: PathKind,
    estimates: Float[Tensor, " node"],
    n_candidates: int,
    n_tried: int,
) -> CircuitGraph:
    """Measure nodes and the first edges, and put all of it together."""
    model, roles, options = work.model, work.roles, work.options
    chosen = edges[:n_measured]
    hooks = [
        site_hook(stream, layer) for stream in ("z", "mlp_out") for layer in range(model.n_layers)
    ]
    at = [span.base for span in work.spans]
    n = model.n_layers
    error = max(
        check_self_patch(model, roles, part, at, options) for part in (hooks[:n], hooks[n:])
    )

    def runs(rows: slice) -> Iterator[Run]:
        ways = work.ways(rows)
        last = ways.output("base", LOGIT)
        for i, node in enumerate(kept):
            yield _run(ways, i, node, ways.output("source", node))
        writes: dict[Node, Tensor] = {}
        read: dict[tuple[Node, str], Tensor] = {}
        for i, (up, down) in enumerate(chosen, start=len(kept)):
            if up not in writes:
                writes[up] = ways.write_of(up, ways.output("source", up))
            if down == LOGIT:
                yield _run(ways, i, LOGIT, last + writes[up])
                continue
            key = up, output_hook(down, n)
            if key not in read:
                read[key] = ways.read_by(down, up, writes[up])
            put = ways.alone(down, read[key][:, ways.column(down)])
            if paths == "total":
                yield _run(ways, i, down, put)
            elif ways.column(down) != ways.column(LOGIT):
                yield _run(ways, i, LOGIT, last)
            else:
                yield _run(ways, i, LOGIT, last + ways.write_of(down, put))

    names = [*map(str, kept), *(f"{up}{ARROW}{down}" for up, down in chosen)]
    effects = run_sweep(
        model, roles, options, lambda rows: Planned(runs=runs(rows)), {"set": names},
        n_numbers=work.n_numbers, description="patching paths",
    ).effects  # fmt: skip
    say_undefined(effects, options)
    profile = attribute_logits(model, work.task)
    denoise = roles.mode == "denoise"
    attribution, others, biases = _shared_out(work, kept, profile)
    return CircuitGraph(
        provenance=sweep_provenance(model, work.task, options),
        mode=roles.mode,
        paths=paths,
        positions=tuple(span.name for span in work.spans),
        tokens=span_labels(model, roles, work.spans),
        prompt_tokens=_tokens_of_the_prompt(work),
        indices=tuple(int((s.source if denoise else s.base)[0, 0]) for s in work.spans),
        answers=(
            (model.token_text(int(roles.target[0])), model.token_text(int(roles.foil[0])))
            if len(work.task) == 1
            else ()
        ),
        nodes=tuple(map(str, kept)),
        upstream=tuple(str(up) for up, _ in edges),
        downstream=tuple(str(down) for _, down in edges),
        node_estimates=estimates,
        edge_estimates=screened,
        n_candidates=n_candidates,
        n_tried=n_tried,
        attribution=attribution,
        others=others,
        biases=biases,
        logit_diff=profile.logit_diff,
        probability=_probability(work),
        outcome=effects,
        self_patch_error=error,
    )


def _run(ways: Ways, number: int, node: Node, put: Float[Tensor, "pair d_hook"]) -> Run:
    """One run in which a node has another output; the base run where that is no other."""
    own = ways.output("base", node)
    j = ways.column(node)
    return Run(
        cells=[(number,)],
        hooks=[output_hook(node, ways.model.n_layers)],
        tokens=ways.base_at[:, j : j + 1],
        states=[put[:, None]],
        edit=put_given,
        there=torch.ones(len(put), dtype=torch.bool),
        moves=((put != own) & ~put.isnan()).any(1),
    )


def _tokens_of_the_prompt(work: Work) -> tuple[str, ...]:
    """Of a single pair, all tokens of the clean prompt as text."""
    if len(work.task) > 1:
        return ()
    return tuple(work.model.token_text(token) for token in work.task.clean_tokens.row(0))


def _probability(work: Work) -> Float[Tensor, " pair"]:
    """Of the target, at the end of the clean prompt."""
    task = work.task
    log_probs = work.model.log_probs(task.clean_tokens, task.prediction_positions[:, None])[:, 0]
    return log_probs.gather(-1, work.roles.target[:, None])[:, 0].exp()


def _shared_out(
    work: Work, kept: Sequence[Node], profile: AttributionProfile
) -> tuple[Float[Tensor, "node pair"], Float[Tensor, " pair"], Float[Tensor, " pair"]]:
    """Direct attribution of kept nodes, of all other nodes together, and of the biases.

    A node at another token than the prediction's has none: the logits are not read there.
    """
    last = work.columns[PREDICTION]
    embed = profile.embed if profile.pos_embed is None else profile.embed + profile.pos_embed
    here: list[Tensor] = []
    heads, mlps, others = profile.heads.clone(), profile.mlps.clone(), embed.clone()
    for node in kept:
        part = torch.zeros_like(embed)
        if work.columns[node.at] == last:
            part = {
                "embed": lambda: embed,
                "head": lambda n=node: profile.heads[n.layer, n.head],
                "mlp": lambda n=node: profile.mlps[n.layer],
            }[node.kind]()
            if node.kind == "embed":
                others = torch.zeros_like(embed)
            elif node.kind == "head":
                heads[node.layer, node.head] = 0.0
            else:
                mlps[node.layer] = 0.0
        here.append(part)
    biases = profile.attn_bias.sum(0) + profile.norm_bias + profile.unembed_bias
    return torch.stack(here), others + heads.sum((0, 1)) + mlps.sum(0), biases
