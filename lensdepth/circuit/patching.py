"""Is a set of components enough, and is it needed? Patch it, and everything but it.

Reach for this with a circuit at hand: heads and MLPs that `attribute_logits` or
`patch_sweep(stream="z", heads="all")` point at. All components of the set get what they wrote in
the source run, in one run, and what follows from them follows.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.circuit.components import Component, ComponentSet, named_components
from lensdepth.circuit.result import ALSO, SETS, CircuitResult
from lensdepth.model import DepthModel
from lensdepth.polar import Edit
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream, site_hook
from lensdepth.sweep.choices import check_stream
from lensdepth.sweep.loop import (
    Options,
    Planned,
    check_self_patch,
    run_sweep,
    say_undefined,
    sweep_provenance,
)
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import Mode, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.spans import (
    PatchPositions,
    Span,
    named_positions,
    resolve_spans,
    same_states,
)
from lensdepth.tasks.task import Task

STREAMS: tuple[Stream, ...] = ("z", "mlp_out")
"""Where heads and MLPs write."""


@renamed(pairs="task")
@checked
@bounded
def patch_components(
    model: DepthModel,
    task: Task,
    components: str | Sequence[str | Component],
    *,
    positions: PatchPositions | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ALSO,
    mode: Mode = "denoise",
    n_random: int = 10,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> CircuitResult:
    """Give a set of components the source run's outputs; likewise all others, and all of them.

    The four kinds of run: `circuit` patches the set, `complement` all other heads and MLPs,
    `everything` both, and `random` sets of as many heads and as many MLPs drawn from the whole
    model, the control. Embeddings are never patched: where the runs differ in a token itself,
    `everything` need not reach the source run. At the prediction position, of pairs that end
    alike, it does, exactly.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        components: `Component`s or their names, as a list or with commas: `"L5H3,MLP7"`. A head
            is patched at its z, an `ATTN` is all heads of its block.
        positions: where, all of them in one run; see `PatchPositions`. By default every token
            where the prompts of each pair line up, else the input and the prediction position.
        metric: one of `lensdepth.sweep.readings.METRICS`, or a function of the logits and the pairs
            that they belong to.
        also: further metrics that are read off the same runs.
        mode: "denoise" edits the corrupted run with clean outputs, "noise" the reverse.
        n_random: how many random sets; 0 leaves them out.
        seed: of the random sets.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        CircuitResult; its `transferred` is 0 at the base run, 1 at the source run.
    Raises:
        ValueError: before any forward pass: no such component or position, a task without pairs,
            an unknown option.
        RuntimeError: putting the base run's own outputs back changes its logits.
    Source: Wang et al. 2022, arXiv 2211.00593 (faithfulness); Heimersheim & Nanda 2024,
        arXiv 2404.15255.
    Example:
        >>> patch_components(model, task, "L5H3,MLP7").mean_frame()
    """
    caller = "patch_components"
    for stream in STREAMS:
        check_stream(model, stream, caller=caller)
    if isinstance(n_random, bool) or not isinstance(n_random, int) or n_random < 0:
        raise ValueError(f"{caller}: n_random is a number of sets, 0 or more, got {n_random!r}.")
    size = model.n_layers, model.info.n_heads
    named = named_components(components, *size, caller=caller)
    circuit = ComponentSet.of(named, *size)
    wanted = named_positions(task, positions)
    roles = assign_roles(task, mode, positions=wanted, caller=caller)
    if positions is None:
        lined_up = bool((roles.base.lengths == roles.source.lengths).all())
        positions = "all" if lined_up else wanted
    spans = resolve_spans(roles, positions, caller=caller)
    tokens = together(spans)
    drawn = [circuit.drawn_like(seed + i) for i in range(n_random)]
    sets = [circuit, circuit.complement, circuit.everything, *drawn]

    options = Options(
        caller=caller,
        metric=metric,
        also=also,
        mode=mode,
        seed=seed,
        engine=engine,
        batch_size=batch_size,
        max_memory=max_memory,
        own={
            "components": [str(component) for component in named],
            "positions": [span.name for span in spans],
            "n_random": n_random,
        },
    )
    layers = range(model.n_layers)
    hooks = {stream: [site_hook(stream, layer) for layer in layers] for stream in STREAMS}
    error = max(
        check_self_patch(model, roles, hooks[stream], [tokens.base], options) for stream in STREAMS
    )
    # Before the first token that differs, base and source wrote the same.
    moved = [span for span in spans if not same_states(roles, span)[0].all()]
    tokens = together(moved) if moved else tokens

    def runs(rows: slice) -> Iterator[Run]:
        mine, here = roles.of(rows), tokens.of(rows)
        z, mlp_out = (
            model.activations(mine.source, hooks[stream], here.source.clamp(min=0))
            for stream in STREAMS
        )
        for i, members in enumerate(sets):
            yield component_run(i, members, z, mlp_out, here)

    effects = run_sweep(
        model, roles, options, lambda rows: Planned(runs=runs(rows)),
        {"set": [*SETS, *(f"random {i}" for i in range(n_random))]},
        n_numbers=model.n_layers * tokens.base.shape[1] * 2 * model.d_model,
        description="patching components",
    ).effects  # fmt: skip
    say_undefined(effects, options)
    return CircuitResult(
        provenance=sweep_provenance(model, task, options),
        mode=mode,
        components=tuple(dict.fromkeys(str(component) for component in named)),
        n_heads=int(circuit.heads.sum()),
        n_mlps=int(circuit.mlps.sum()),
        n_components=len(circuit.everything),
        positions=tuple(span.name for span in spans),
        outcome=effects,
        random_components=tuple(members.names() for members in drawn),
        self_patch_error=error,
    )


def together(spans: Sequence[Span]) -> Span:
    """All tokens of several spans as one.

    A pair that has fewer tokens repeats one of its own, which changes nothing: what is swapped
    twice is swapped once. A pair that has none keeps -1.
    """
    base = torch.cat([span.base for span in spans], dim=1)
    source = torch.cat([span.source for span in spans], dim=1)
    first = (base >= 0).int().argmax(1, keepdim=True)
    return Span(
        name="+".join(span.name for span in spans),
        base=torch.where(base >= 0, base, base.gather(1, first)),
        source=torch.where(base >= 0, source, source.gather(1, first)),
    )


def swap_heads(chosen: Bool[Tensor, " head"]) -> Edit:
    """An edit at z, heads side by side: the chosen heads get the source's, the others stay."""

    def edit(
        base: Float[Tensor, "*batch d_hook"], source: Float[Tensor, "*batch d_hook"] | None
    ) -> Float[Tensor, "*batch d_hook"]:
        assert source is not None
        d_head = base.shape[-1] // len(chosen)
        return torch.where(chosen.to(base.device).repeat_interleave(d_head), source, base)

    return edit


def component_run(
    number: int,
    members: ComponentSet,
    z: Float[Tensor, "layer pair token d_hook"],
    mlp_out: Float[Tensor, "layer pair token d_model"],
    span: Span,
) -> Run:
    """One run: each component of the set gets what the source wrote.

    Args:
        number: of the set, in the result.
        members: the set.
        z: of the source run, heads side by side.
        mlp_out: likewise.
        span: the tokens that are edited.
    """
    hooks: list[str] = []
    states: list[Tensor] = []
    edits: list[Edit] = []
    parts: tuple[tuple[Stream, Tensor, Tensor], ...] = (
        ("z", z, members.heads),
        ("mlp_out", mlp_out, members.mlps[:, None]),
    )
    for stream, written, chosen in parts:
        for layer in chosen.any(1).nonzero()[:, 0].tolist():
            hooks.append(site_hook(stream, layer))
            states.append(written[layer])
            edits.append(swap_heads(chosen[layer]) if stream == "z" else polar.full_swap)
    return Run(
        cells=[(number,)],
        hooks=hooks,
        tokens=span.base,
        states=states,
        edit=edits,
        there=span.present,
    )
