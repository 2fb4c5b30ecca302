"""Is a set of components enough, and is it needed? Patch it, and everything but it.

Reach for this with a circuit at hand: heads and MLPs that `attribute_logits` or
`patch_sweep(stream="z", heads="all")` point at. All components of the set get what they wrote in
the source run, in one run, and what follows from them follows.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.circuit.components import Component, ComponentSet, named_components
from lensdepth.circuit.result import SETS, CircuitResult
from lensdepth.hooks import SiteEdit, Stream, site_hook
from lensdepth.model import DepthModel
from lensdepth.patching.grid import pair_blocks, self_patch_error
from lensdepth.patching.readings import measure_sets, measure_source
from lensdepth.patching.sites import EditSets, check_model
from lensdepth.patching.spans import (
    PatchPositions,
    Span,
    named_positions,
    resolve_spans,
    same_states,
)
from lensdepth.patching.sweep import SOURCE_BYTES
from lensdepth.polar import Edit
from lensdepth.provenance import make_provenance
from lensdepth.replay import Engine
from lensdepth.roles import Mode, Roles, assign_roles, say_undefined
from lensdepth.tasks import Task

METRICS = ("logit_diff", "success")


@checked
def patch_components(
    model: DepthModel,
    pairs: Task,
    components: str | Sequence[str | Component],
    *,
    positions: PatchPositions | None = None,
    mode: Mode = "denoise",
    n_random: int = 10,
    seed: int = 0,
    engine: Engine = "auto",
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
        pairs: a task with pairs of prompts.
        components: `Component`s or their names, as a list or with commas: `"L5H3,MLP7"`. A head
            is patched at its z, an `ATTN` is all heads of its block.
        positions: where, all of them in one run; see `PatchPositions`. By default every token
            where the prompts of each pair line up, else the input and the prediction position.
        mode: "denoise" edits the corrupted run with clean outputs, "noise" the reverse.
        n_random: how many random sets; 0 leaves them out.
        seed: of the random sets.
        engine: see `lensdepth.replay.replay`.
        max_memory: see `lensdepth.replay.replay`.
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
    for stream in ("z", "mlp_out"):
        check_model(model, stream, caller=caller)
    if isinstance(n_random, bool) or not isinstance(n_random, int) or n_random < 0:
        raise ValueError(f"{caller}: n_random is a number of sets, 0 or more, got {n_random!r}.")
    size = model.n_layers, model.info.n_heads
    named = named_components(components, *size, caller=caller)
    circuit = ComponentSet.of(named, *size)
    wanted = named_positions(pairs, positions)
    roles = assign_roles(pairs, mode, positions=wanted, caller=caller)
    if positions is None:
        lined_up = bool((roles.base.lengths == roles.source.lengths).all())
        positions = "all" if lined_up else wanted
    spans = resolve_spans(roles, positions, caller=caller)
    tokens = together(spans)
    drawn = [circuit.drawn_like(seed + i) for i in range(n_random)]
    sets = [circuit, circuit.complement, circuit.everything, *drawn]

    error = max(
        self_patch_error(
            model,
            roles,
            [site_hook(stream, layer) for layer in range(model.n_layers)],
            [tokens.base],
            engine=engine,
        )
        for stream in ("z", "mlp_out")
    )
    # Before the first token that differs, base and source wrote the same.
    moved = [span for span in spans if not same_states(roles, span)[0].all()]
    tokens = together(moved) if moved else tokens
    numbers = model.n_layers * tokens.base.shape[1] * 2 * model.d_model
    found = [
        _block(model, roles.of(rows), tokens.of(rows), sets, engine, max_memory)
        for rows in pair_blocks(len(pairs), numbers, SOURCE_BYTES)
    ]
    base, source, edited = (torch.cat([part[i] for part in found], dim=-1) for i in range(3))
    say_undefined(base[0], source[0], metric="logit_diff", caller=caller)
    n = len(SETS)
    return CircuitResult(
        provenance=make_provenance(
            caller,
            model.info,
            task=pairs.name,
            prompts=pairs.clean,
            corrupted=pairs.corrupted or (),
            settings={
                "components": [str(component) for component in named],
                "positions": [span.name for span in spans],
                "mode": mode,
                "n_random": n_random,
                "engine": engine,
            },
            seed=seed,
        ),
        mode=mode,
        components=tuple(dict.fromkeys(str(component) for component in named)),
        n_heads=int(circuit.heads.sum()),
        n_mlps=int(circuit.mlps.sum()),
        n_components=len(circuit.everything),
        positions=tuple(span.name for span in spans),
        base_values=base[0],
        base_success=base[1],
        source_values=source[0],
        source_success=source[1],
        values=edited[0, :n],
        success=edited[1, :n],
        random_components=tuple(members.names() for members in drawn),
        random_values=edited[0, n:],
        random_success=edited[1, n:],
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


def component_edits(
    members: ComponentSet,
    z: Float[Tensor, "layer pair token d_hook"],
    mlp_out: Float[Tensor, "layer pair token d_model"],
    positions: Int[Tensor, "pair token"],
) -> list[SiteEdit]:
    """One run's edits: each component of the set gets what the source wrote.

    Args:
        members: the set.
        z: of the source run, heads side by side.
        mlp_out: likewise.
        positions: the tokens that are edited.
    """
    parts: tuple[tuple[Stream, Tensor, Tensor], ...] = (
        ("z", z, members.heads),
        ("mlp_out", mlp_out, members.mlps[:, None]),
    )
    edits = []
    for stream, states, chosen in parts:
        for layer in range(len(states)):
            if chosen[layer].any():
                edit = swap_heads(chosen[layer]) if stream == "z" else polar.full_swap
                edits += [
                    SiteEdit(
                        hook=site_hook(stream, layer),
                        positions=positions[:, j].clamp(min=0),
                        edit=edit,
                        source=states[layer, :, j],
                    )
                    for j in range(positions.shape[1])
                ]
    return edits


def _block(
    model: DepthModel,
    roles: Roles,
    tokens: Span,
    sets: Sequence[ComponentSet],
    engine: Engine,
    max_memory: int | None,
) -> tuple[
    Float[Tensor, "metric pair"], Float[Tensor, "metric pair"], Float[Tensor, "metric set pair"]
]:
    """Base, source and edited runs of some of the pairs."""
    z, mlp_out = (
        model.activations(
            roles.source,
            [site_hook(stream, layer) for layer in range(model.n_layers)],
            tokens.source.clamp(min=0),
        )
        for stream in ("z", "mlp_out")
    )
    there = tokens.present
    runs = EditSets(len(roles.base))
    for i, members in enumerate(sets):
        runs.sites.append(i)
        runs.masks.append(there)
        runs.sets.append(component_edits(members, z, mlp_out, tokens.base))
    base, edited = measure_sets(
        model,
        roles,
        runs,
        METRICS,
        len(sets),
        engine=engine,
        max_memory=max_memory,
        description="patching components",
    )
    source = measure_source(model, roles, METRICS)
    return base, source, torch.where(there, edited, torch.nan)
