"""Activation patching: put the source run's state into the base run and see what follows.

Patching at the input position asks whether the prediction still reads the input there; patching
at the prediction position asks whether the prediction is already formed. Where the two curves
cross, control passes from the input to the output (claim C2).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from lensdepth import polar
from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.edits import named_edit
from lensdepth.model import DepthModel
from lensdepth.outcome import ANSWERS
from lensdepth.outside import shown
from lensdepth.packed import is_packed
from lensdepth.patching.grid import Grid, completed, piloted
from lensdepth.patching.profile import PatchProfile
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream
from lensdepth.sweep.adaptive import Depths, finds_depths
from lensdepth.sweep.choices import check_heads, check_stream, stream_sites
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs, controlled
from lensdepth.sweep.loop import check_self_patch, say_undefined, sweep_provenance
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import METRICS, Metric, check_metrics
from lensdepth.sweep.roles import Mode, assign_roles
from lensdepth.sweep.spans import (
    PatchPositions,
    by_name,
    comparable_spans,
    named_positions,
    span_labels,
)
from lensdepth.tasks.task import Task

Control = Literal["shuffled_source", "random_site"]
Method = Literal["exact", "attribution"]
ALSO: tuple[str, ...] = ("success", "kl", *ANSWERS)
CONTROLS: tuple[Control, ...] = ("shuffled_source",)


@renamed(pairs="task")
@checked
@bounded
def patch_sweep(
    model: DepthModel,
    task: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Depths = None,
    positions: PatchPositions | None = None,
    heads: Sequence[int] | Literal["all"] | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ALSO,
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    controls: Sequence[Control] = CONTROLS,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    method: Method = "exact",
    verify: int = 0,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> PatchProfile:
    """Edit one site at a time with the source run's state, for every depth, position and head.

    Args:
        model: any wrapped model.
        task: pairs of prompts. Their token counts may differ: each run has its own positions.
        stream: what to patch: `"resid_pre"` means the residual stream at depths 0 ... L; the
            others are patched in blocks 0 ... L - 1.
        depths: those depths, or blocks; "all"; or "auto", those of the residual stream where a
            curve moves, as `lensdepth.sweep.adaptive` finds them. None: "auto" where the model has
            more than 16 blocks and whole states are patched exactly, else "all".
        positions: `"all"`, names and indices, or spans; see `PatchPositions`. By default the
            input position, where the task has one, and the prediction position. Under `"all"`,
            prompts of one wording are patched index by index; those of several are lined up by
            the tokens that all share, the input and the prediction position, and effects of the
            other tokens are averaged by where they lie (before or after the input). Each wording
            by itself: `task.select(task.labels.template == "...")`.
        heads: at `z`, patch these heads one by one, or `"all"` of them.
        metric: one of METRICS, or a function of the logits and the pairs that they belong to.
        also: further metrics that are read off the same runs. `()` with `logit_diff` reads two
            columns of the unembedding and not the whole vocabulary.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of `lensdepth.edits.SWEPT` ("full", "direction", "norm" ...)
            or a function.
        controls: `"shuffled_source"` takes the state of another pair's source (another answer
            where possible; left out for a single pair), `"random_site"` patches another position
            of the same prompt.
        control_pairs: pairs that controls are run on, drawn at random; `"all"` of them.
        method: `"attribution"` estimates the metric to first order from two forward passes and
            one backward pass (gradient times difference), for a screen of large models. It reads
            the one metric and runs no controls.
        verify: with `"attribution"`, compute this many of the largest sites exactly as well, and
            report how well the ranks agree.
        seed: of the controls.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
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
    # First of all, so that what is said of other options can rely on it.
    check_metrics([metric], caller=caller)
    check_stream(model, stream, caller=caller)
    whole = stream == "resid_pre" and not estimated
    found = finds_depths(depths, model.n_layers, whole=whole, caller=caller)
    sites = stream_sites(model, stream, None if found else depths, caller=caller)
    one_by_one = check_heads(model, stream, heads, caller=caller)
    edit_name, function = named_edit(edit, caller=caller)
    check_options(controls, method, verify, metric, also)
    if estimated and is_packed(model.model):
        raise ValueError(
            f"{caller}: method='attribution' needs gradients, and the weights of "
            f"{shown(model.passes.name)} are kept packed, through which none can be had; use "
            f"method='exact'."
        )
    wanted = named_positions(task, positions)
    roles = assign_roles(task, mode, positions=wanted, caller=caller)
    spans = comparable_spans(roles, wanted if positions is None else positions, caller=caller)
    run_controls: tuple[str, ...] = tuple(dict.fromkeys(controls))
    if estimated:
        run_controls = ()
    elif len(task) < 2:
        run_controls = tuple(c for c in run_controls if c != "shuffled_source")
    options = Options(
        caller=caller,
        metric=metric,
        also=() if estimated else also,
        mode=mode,
        seed=seed,
        engine=engine,
        batch_size=batch_size,
        max_memory=max_memory,
        own={
            "stream": stream,
            "depths": [site.place for site in sites],
            "depths_found": found,
            "positions": [*by_name(spans)],
            "heads": list(one_by_one),
            "edit": edit_name,
            "controls": list(run_controls),
            "control_pairs": control_pairs,
            "method": method,
            "verify": verify,
        },
    )
    drawn = controlled(len(task), control_pairs, seed)
    grid = Grid(model, roles, spans, sites, one_by_one, function, run_controls, drawn, options)
    tried = piloted(grid) if found else None
    if tried is not None:
        grid = grid.at(tried.depths)
    error = check_self_patch(model, roles, grid.hooks, [span.base for span in spans], options)
    if tried is not None:
        effects = completed(grid, tried.effects)
        options = replace(options, own={**options.own, "depths": list(effects.coords["depth"])})
    else:
        effects = grid.estimated() if estimated else grid.measured()
    say_undefined(effects, options)
    exact, agreement = grid.verified(effects, verify) if verify else (None, None)
    return PatchProfile(
        provenance=sweep_provenance(model, task, options),
        mode=mode,
        stream=stream,
        edit=edit_name,
        method=method,
        labels=span_labels(model, roles, spans),
        outcome=effects,
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
    if method == "attribution" and isinstance(metric, str) and not METRICS[metric].has_slope:
        sloped = ", ".join(name for name, one in METRICS.items() if one.has_slope)
        raise ValueError(
            f"patch_sweep: attribution needs a metric with a slope at the base run, one of "
            f"{sloped} or a function; {metric!r} has none."
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
