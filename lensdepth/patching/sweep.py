"""Activation patching: put the source run's state into the base run and see what follows.

Patching at the input position asks whether the prediction still reads the input there; patching
at the prediction position asks whether the prediction is already formed. Where the two curves
cross, control passes from the input to the output (claim C2).
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.hooks import Stream
from lensdepth.model import DepthModel
from lensdepth.patching.attribution import DIFFERENTIABLE, rank_agreement
from lensdepth.patching.grid import BlockValues, Grid, pair_blocks, self_patch_error
from lensdepth.patching.profile import PatchProfile
from lensdepth.patching.readings import Metric, check_metrics
from lensdepth.patching.sites import check_heads, check_model, named_edit, states_at, stream_depths
from lensdepth.patching.spans import (
    PatchPositions,
    Span,
    named_positions,
    resolve_spans,
    span_labels,
)
from lensdepth.provenance import make_provenance
from lensdepth.replay import Engine
from lensdepth.roles import Mode, Roles, assign_roles, say_undefined
from lensdepth.tasks import Task

Control = Literal["shuffled_source", "random_site"]
Method = Literal["exact", "attribution"]
ALSO: tuple[str, ...] = ("success", "kl")
CONTROLS: tuple[Control, ...] = ("shuffled_source",)
SOURCE_BYTES = 2**28
"""Source states that are held at a time; pairs go through in blocks that fit."""


@checked
def patch_sweep(
    model: DepthModel,
    pairs: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    positions: PatchPositions | None = None,
    heads: Sequence[int] | Literal["all"] | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ALSO,
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    controls: Sequence[Control] = CONTROLS,
    method: Method = "exact",
    verify: int = 0,
    seed: int = 0,
    engine: Engine = "auto",
    max_memory: int | None = None,
) -> PatchProfile:
    """Edit one site at a time with the source run's state, for every depth, position and head.

    Args:
        model: any wrapped model.
        pairs: a task with pairs of prompts. Their token counts may differ: each run has its own
            positions.
        stream: what to patch: `"resid_pre"` means the residual stream at depths 0 ... L; the
            others are patched in blocks 0 ... L - 1.
        depths: those depths, or blocks; all by default.
        positions: `"all"`, names and indices, or spans; see `PatchPositions`. By default the
            input position, where the task has one, and the prediction position.
        heads: at `z`, patch these heads one by one, or `"all"` of them.
        metric: one of METRICS, or a function of the logits and the pairs that they belong to.
        also: further metrics that are read off the same runs. `()` with `logit_diff` reads two
            columns of the unembedding and not the whole vocabulary.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of polar.EDITS ("full", "direction", "norm", "self") or a function.
        controls: `"shuffled_source"` takes the state of another pair's source (another answer
            where possible; left out for a single pair), `"random_site"` patches another position
            of the same prompt.
        method: `"attribution"` estimates the metric to first order from two forward passes and
            one backward pass (gradient times difference), for a screen of large models. It reads
            the one metric and runs no controls.
        verify: with `"attribution"`, compute this many of the largest sites exactly as well, and
            report how well the ranks agree.
        seed: of the controls.
        engine: see `lensdepth.replay.replay`.
        max_memory: see `lensdepth.replay.replay`.
    Returns:
        PatchProfile; `.effects` is `[pair, depth, position(, head)]`.
    Raises:
        ValueError: before any forward pass: a task without pairs, an unknown option, a depth,
            head or position out of range, or prompts that do not line up.
        RuntimeError: putting the base run's own states back changes its logits.
    Source: Vig et al. 2020, arXiv 2004.12265; Meng et al. 2022, arXiv 2202.05262; Nanda 2023,
        "Attribution patching"; Heimersheim & Nanda 2024, arXiv 2404.15255.
    Example:
        >>> patch_sweep(model, load_task("months", model)).efficacy("input").mean(0)
    """
    caller = "patch_sweep"
    estimated = method == "attribution"
    asked = [metric] if estimated else [metric, *(m for m in also if m != metric)]
    names = check_metrics(asked, caller=caller)
    check_model(model, stream, caller=caller)
    places = stream_depths(model, stream, depths, caller=caller)
    one_by_one = check_heads(model, stream, heads, caller=caller)
    edit_name, function = named_edit(edit, caller=caller)
    check_options(controls, method, verify, metric, also)
    wanted = named_positions(pairs, positions)
    roles = assign_roles(pairs, mode, positions=wanted, caller=caller)
    spans = resolve_spans(roles, wanted if positions is None else positions, caller=caller)
    run_controls: tuple[str, ...] = tuple(dict.fromkeys(controls))
    if estimated:
        run_controls = ()
    elif len(pairs) < 2:
        run_controls = tuple(c for c in run_controls if c != "shuffled_source")
    grid = Grid(
        model=model,
        stream=stream,
        depths=places,
        heads=one_by_one,
        edit=function,
        metrics=asked,
        engine=engine,
        max_memory=max_memory,
    )
    blocks = pair_blocks(len(pairs), grid.n_numbers(spans), SOURCE_BYTES)
    error = self_patch_error(model, roles, grid.hooks, [span.base for span in spans], engine=engine)
    quiet = None if len(blocks) > 1 else True
    found = [
        grid.estimate(roles, spans, block)
        if estimated
        else grid.block(roles, spans, block, run_controls, seed)
        for block in tqdm(blocks, desc="blocks of pairs", disable=quiet, leave=False)
    ]
    values = _joined(found)
    say_undefined(values.base[0], values.source[0], metric=names[0], caller=caller)
    exact, agreement = None, None
    if verify:
        exact, agreement = _verified(grid, roles, spans, blocks, values, verify)
    return PatchProfile(
        provenance=make_provenance(
            caller,
            model.info,
            task=pairs.name,
            prompts=pairs.clean,
            corrupted=pairs.corrupted or (),
            settings={
                "stream": stream,
                "positions": [span.name for span in spans],
                "heads": list(one_by_one),
                "metric": names[0],
                "also": list(names[1:]),
                "mode": mode,
                "edit": edit_name,
                "controls": list(run_controls),
                "method": method,
                "verify": verify,
                "engine": engine,
            },
            seed=seed,
        ),
        mode=mode,
        stream=stream,
        edit=edit_name,
        method=method,
        metrics=names,
        depths=torch.tensor(places),
        positions=tuple(span.name for span in spans),
        labels=span_labels(model, roles, spans),
        heads=one_by_one,
        base_values=values.base,
        source_values=values.source,
        values=values.values,
        controls=run_controls,
        control_values=values.controls,
        self_patch_error=error,
        exact_values=exact,
        rank_correlation=agreement,
    )


def check_options(
    controls: Sequence[str],
    method: str,
    verify: int,
    metric: str | Metric,
    also: Sequence[str | Metric] = (),
) -> None:
    """Say which words an option of `patch_sweep` takes.

    Raises:
        ValueError: an unknown control or method, or options that contradict each other.
    """
    options = [(method, Method, "method"), *((c, Control, "control") for c in controls)]
    for value, kind, name in options:
        if value not in get_args(kind):
            raise ValueError(
                f"patch_sweep: {name} must be one of {', '.join(get_args(kind))}, got {value!r}."
            )
    if method == "attribution" and isinstance(metric, str) and metric not in DIFFERENTIABLE:
        raise ValueError(
            f"patch_sweep: attribution needs a metric with a slope at the base run, one of "
            f"{', '.join(DIFFERENTIABLE)} or a function; {metric!r} has none."
        )
    unused = {"also": (also, ALSO), "controls": (controls, CONTROLS)}
    for name, (given, default) in unused.items():
        if method == "attribution" and tuple(given) not in ((), default):
            raise ValueError(
                f"patch_sweep: method='attribution' reads the one metric and runs no controls; "
                f"leave out {name}={given!r}, or use method='exact'."
            )
    if verify < 0 or (verify and method != "attribution"):
        raise ValueError(
            f"patch_sweep: verify is a number of sites to compute exactly beside "
            f"method='attribution', got {verify} with method={method!r}."
        )


def _joined(found: Sequence[BlockValues]) -> BlockValues:
    """The blocks as one."""
    return BlockValues(
        base=torch.cat([part.base for part in found], dim=1),
        source=torch.cat([part.source for part in found], dim=1),
        values=torch.cat([part.values for part in found], dim=1),
        controls=torch.cat([part.controls for part in found], dim=2),
    )


def _verified(
    grid: Grid,
    roles: Roles,
    spans: Sequence[Span],
    blocks: Sequence[slice],
    estimated: BlockValues,
    n: int,
) -> tuple[Float[Tensor, "pair depth position head"], float | None]:
    """Exact values at the sites with the largest estimates, and how well the ranks agree."""
    base = estimated.base[0]
    means = (estimated.values[0] - base[:, None, None, None]).nanmean(0)
    largest = means.abs().nan_to_num(0.0).flatten().argsort(descending=True, stable=True)[:n]
    sites = torch.stack(torch.unravel_index(largest, means.shape), dim=1)
    chosen = {(d, s, h) for d, s, h in sites.tolist()}
    parts = []
    for block in blocks:
        mine, here = roles.of(block), [span.of(block) for span in spans]
        given = states_at(grid.model, mine.source, grid.hooks, [span.source for span in here])
        parts.append(grid.run(mine, here, given, chosen=chosen)[1][0])
    computed = torch.zeros(means.shape, dtype=torch.bool)
    computed.view(-1)[largest] = True
    exact = torch.where(computed, torch.cat(parts), torch.nan)
    exact_means = (exact - base[:, None, None, None]).nanmean(0).flatten()[largest]
    return exact, rank_agreement(means.flatten()[largest], exact_means)
