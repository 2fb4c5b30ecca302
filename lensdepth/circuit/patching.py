"""Is a set of components enough, and is it needed? Patch it, and everything but it.

Reach for this with a circuit at hand: heads and MLPs that `attribute_logits` or
`patch_sweep(stream="z", heads="all")` point at. All components of the set get what they wrote in
the source run, in one run, and what follows from them follows: that asks whether they are enough.
In the source run they get back what they wrote in the base run: that asks whether they are needed.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.circuit.components import Component, named_components
from lensdepth.circuit.paths import put_given
from lensdepth.circuit.places import (
    Group,
    Members,
    Tokens,
    grouped,
    names_in,
    random_groups,
    tokens_of,
    written,
)
from lensdepth.circuit.result import ALSO, SETS, CircuitResult
from lensdepth.model import DepthModel
from lensdepth.outcome import Effects
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream, site_hook
from lensdepth.sweep.choices import check_stream
from lensdepth.sweep.loop import (
    Planned,
    check_self_patch,
    run_sweep,
    say_undefined,
    sweep_provenance,
)
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import Mode, Roles, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.spans import PatchPositions, Span, same_states
from lensdepth.tasks.task import Task

STREAMS: tuple[Stream, ...] = ("z", "mlp_out")
"""Where heads and MLPs write."""
PREDICTION = ("prediction",)


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
    n_random: int = 20,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> CircuitResult:
    """Give a set of components the source run's outputs, and take them away again.

    In the base run get the source run's outputs: `circuit` the set, `complement` all other heads
    and MLPs at the same tokens, `everything` both, and `random` sets of as many heads and as many
    MLPs drawn from the whole model, the control. In the source run get the base run's outputs:
    the set and the random ones (`CircuitResult.removed`). The first says whether the set is enough,
    the second whether it is needed (`CircuitResult.enough`, `.needed`); the complement says whether
    others bring the answer too, by themselves or by making the set follow.

    At the prediction position, of pairs that end alike, `everything` is the source run exactly.
    Where a token is patched that differs between base and source, a component's output tells which
    token stands there, and exchanging it may be no more than exchanging the input: so the set is
    also patched at the tokens alone that both prompts share (`shared`). Embeddings are never
    patched.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        components: `Component`s or their names, as a list or with commas: `"L5H3,MLP7"`. A head
            is patched at its z, an `ATTN` is all heads of its block. Behind an @ a name may say
            where it is patched: `"MLP0@input,L5H3@prediction"`.
        positions: where those are patched that do not say, all of them in one run; see
            `PatchPositions`. By default at the prediction position.
        metric: one of `lensdepth.sweep.readings.METRICS`, or a function of the logits and the pairs
            that they belong to.
        also: further metrics that are read off the same runs.
        mode: "denoise" edits the corrupted run with clean outputs, "noise" the reverse.
        n_random: how many random sets at most; they differ from the set and from one another, and
            there may be fewer. Below 19 none can stand out at the 5 % level. 0 leaves them out.
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
        arXiv 2404.15255 (denoising asks what is enough, noising what is needed).
    Example:
        >>> patch_components(model, task, "L5H3,MLP7").enough.verdict
    """
    caller = "patch_components"
    for stream in STREAMS:
        check_stream(model, stream, caller=caller)
    if isinstance(n_random, bool) or not isinstance(n_random, int) or n_random < 0:
        raise ValueError(f"{caller}: n_random is a number of sets, 0 or more, got {n_random!r}.")
    size = model.n_layers, model.info.n_heads
    named = named_components(components, *size, caller=caller)
    where = PREDICTION if positions is None else positions
    roles = assign_roles(task, mode, positions=names_in(task, named, where), caller=caller)
    groups, spans = grouped(roles, named, where, size, caller=caller)
    every = tokens_of(roles, spans)
    there = torch.stack([every.has(group) for group in groups]).all(0)
    drawn = random_groups(groups, n_random, seed)

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
        check_self_patch(model, roles, hooks[stream], [every.span.base], options)
        for stream in STREAMS
    )
    # Before the first token that differs, base and source wrote the same.
    moved = [span for span in spans if not same_states(roles, span)[0].all()]
    tokens = tokens_of(roles, moved) if moved else every
    shares = ("shared",) if bool((tokens.differ & there[:, None]).any()) else ()

    def swept(of: Roles, span: Span, names: Sequence[str], back: bool) -> Effects:
        """One way of the exchange: into the base run, or back into the source run."""

        def runs(rows: slice) -> Iterator[Run]:
            mine, at, exist = of.of(rows), span.of(rows), there[rows]
            states = {
                stream: model.activations(mine.source, hooks[stream], at.source.clamp(min=0))
                for stream in STREAMS
            }
            for i, members in enumerate(_sets(tokens.of(rows), groups, drawn, shares, back)):
                yield component_run(i, members, states["z"], states["mlp_out"], at, exist)

        return run_sweep(
            model, of, options, lambda rows: Planned(runs=runs(rows)), {"set": names},
            n_numbers=model.n_layers * span.base.shape[1] * 2 * model.d_model,
            description="setting components back" if back else "patching components",
        ).effects  # fmt: skip

    names = [*shares, *(f"random {i}" for i in range(len(drawn)))]
    effects = swept(roles, tokens.span, [*SETS, *names], back=False)
    other = Span(name=tokens.span.name, base=tokens.span.source, source=tokens.span.base)
    removed = swept(_turned(roles), other, [SETS[0], *names], back=True)
    say_undefined(effects, options)
    n_heads, n_mlps = (
        sum(int(part.sum()) for part in parts)
        for parts in zip(*((g.members.heads, g.members.mlps) for g in groups), strict=True)
    )
    return CircuitResult(
        provenance=sweep_provenance(model, task, options),
        mode=mode,
        components=tuple(dict.fromkeys(str(component) for component in named)),
        n_heads=n_heads,
        n_mlps=n_mlps,
        n_components=len(groups[0].members.everything),
        positions=tuple(span.name for span in spans),
        outcome=effects,
        removed=removed,
        random_components=tuple(written(one) for one in drawn),
        all_drawn=len(drawn) < n_random,
        self_patch_error=error,
    )


def _turned(roles: Roles) -> Roles:
    """The source run is edited with the base run's states; the answer asked for stays the same."""
    return Roles(
        mode=roles.mode,
        base=roles.source,
        source=roles.base,
        base_positions=roles.source_positions,
        source_positions=roles.base_positions,
        target=roles.target,
        foil=roles.foil,
    )


def _sets(
    tokens: Tokens,
    groups: Sequence[Group],
    drawn: Sequence[Sequence[Group]],
    shares: Sequence[str],
    back: bool,
) -> Iterator[Members]:
    """What each run exchanges, in the order of the names."""
    mine = tokens.members(groups)
    yield mine
    if not back:
        others = ~mine
        yield others
        yield Members(heads=mine.heads | others.heads, mlps=mine.mlps | others.mlps)
    for _ in shares:
        yield mine.only(~tokens.differ)
    for one in drawn:
        yield tokens.members(one)


def component_run(
    number: int,
    members: Members,
    z: Float[Tensor, "layer pair token d_hook"],
    mlp_out: Float[Tensor, "layer pair token d_model"],
    span: Span,
    there: Bool[Tensor, " pair"],
) -> Run:
    """One run: each component of the set gets what the source wrote, at its tokens.

    Args:
        number: of the set, in the result.
        members: the set.
        z: of the source run, heads side by side.
        mlp_out: likewise.
        span: the tokens at which anything is edited.
        there: the pairs that have every token that the set names.
    """
    d_head = z.shape[-1] // members.heads.shape[-1]
    hooks: list[str] = []
    states: list[Tensor] = []
    for layer in range(len(z)):
        # Heads side by side, as they are in z; an MLP as a whole.
        parts: tuple[tuple[Stream, Tensor, Tensor], ...] = (
            ("z", z, members.heads[:, :, layer].repeat_interleave(d_head, dim=-1)),
            ("mlp_out", mlp_out, members.mlps[:, :, layer, None]),
        )
        for stream, written_there, chosen in parts:
            if chosen.any():
                hooks.append(site_hook(stream, layer))
                states.append(written_there[layer].where(chosen, torch.nan))
    return Run(
        cells=[(number,)],
        hooks=hooks,
        tokens=span.base,
        states=states,
        edit=put_given,
        there=there,
        moves=span.present if hooks else torch.zeros_like(there),
    )
