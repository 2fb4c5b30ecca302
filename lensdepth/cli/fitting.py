"""`lensdepth lens --fit`: a tuned lens from the command line."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lensdepth.cli import session
from lensdepth.cli.console import note, quiet, working
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions
from lensdepth.cli.task_options import PAIRS, TaskOptions, check_task
from lensdepth.outside import shown
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.cli.tables import Parts
    from lensdepth.lens import TunedLens
    from lensdepth.model import DepthModel
    from lensdepth.tasks import Task
    from lensdepth.tokens import Prompts

FITTING = "Fitting a lens"
HELD_OUT, HELD_OUT_TOKENS = 0.2, 8192
"""Share of the prompts that are not fitted, and most tokens of them: KL is read at all of these."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a lens is fitted on, and for how long."""

    fit: Annotated[
        bool,
        typer.Option(
            "--fit",
            help="Fit a tuned lens and write it to --out FILE.safetensors: on --text, --prompts or "
            "--task, or without one of these on the prompts of all built-in tasks.",
            rich_help_panel=FITTING,
        ),
    ] = False
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Plain text in UTF-8; so much of it is read as the steps take.",
            rich_help_panel=FITTING,
        ),
    ] = None
    steps: Annotated[
        int, typer.Option(metavar="N", help="Steps of Adam.", min=1, rich_help_panel=FITTING)
    ] = 250
    step_tokens: Annotated[
        int,
        typer.Option(metavar="N", help="Tokens in a step, about.", min=1, rich_help_panel=FITTING),
    ] = 1024

    def check_unused(self) -> None:
        """Refuse what goes with --fit alone.

        Raises:
            ValueError: one of them was given without it.
        """
        for field in fields(FitOptions):
            if getattr(self, field.name) != field.default:
                raise ValueError(f"--{field.name.replace('_', '-')} goes with --fit.")


def fit_lens(
    options: FitOptions, task: TaskOptions, model: ModelOptions, output: OutputOptions
) -> None:
    """Fit, say beforehand how long it takes, write the lens, and show what it is worth."""
    if output.out is None or output.out.suffix.lower() != ".safetensors":
        raise ValueError("--fit writes the lens: add --out FILE.safetensors.")
    asked = task.task is not None or task.prompts is not None
    if options.text is not None:
        if asked:
            raise ValueError("give --text, --task or --prompts: one of them.")
        if not options.text.is_file():
            raise FileNotFoundError(f"--text {shown(str(options.text))}: there is no such file.")
    with quiet(debug=output.debug):
        check_task(task)
        depth_model = session.open_model(model, debug=output.debug)
        from lensdepth.lens.fit import estimate_seconds, fit_tuned_lens
        from lensdepth.prompts import gather_prompts
        from lensdepth.telling.numbers import duration

        source, read = _source(options, task, depth_model, asked=asked)
        _, prompts, tokens = gather_prompts(depth_model, read)
        n_tokens = int(tokens.lengths.sum())
        settings = {
            "n_steps": options.steps,
            "batch_tokens": options.step_tokens,
            "held_out": min(HELD_OUT, HELD_OUT_TOKENS / n_tokens),
            "seed": task.seed,
        }
        with working("timing a few steps"):
            seconds = estimate_seconds(depth_model, read, **settings)
        note(
            f"fitting on {len(prompts):,} prompts of {source} ({n_tokens:,} tokens), "
            f"{options.steps:,} steps of about {options.step_tokens:,} tokens: about "
            f"{duration(seconds)}"
        )
        lens = fit_tuned_lens(depth_model, read, **settings, **model.bounds)
        summary = {
            "n_prompts": len(prompts),
            "n_tokens": n_tokens,
            "source": source,
            "estimated_seconds": seconds,
            **told(lens),
        }
    session.deliver(lens, summary, output, lambda: _show(lens, depth_model, source))


def _source(
    options: FitOptions, task: TaskOptions, model: "DepthModel", *, asked: bool
) -> "tuple[str, Task | Prompts]":
    """What is fitted on, in words and as it is."""
    from lensdepth.lens import text_prompts

    if options.text is not None:
        needed = options.steps * options.step_tokens + HELD_OUT_TOKENS
        return options.text.name, text_prompts(options.text, model, n_tokens=needed)
    if asked:
        pairs = session.open_task(task, model, keep="all", edited=False)
        return pairs.name, pairs
    from lensdepth.tasks import list_tasks, load_task

    prompts: list[str] = []
    named = 0
    for name in list_tasks():
        with working(f"reading {name}"):
            try:
                drawn = load_task(
                    name,
                    model,
                    n=task.n or PAIRS,
                    seed=task.seed,
                    template="all",
                    on_multi_token="drop",
                )
            except ValueError:  # not for this model's tokenizer
                continue
        prompts += drawn.clean
        named += 1
    return f"{named} built-in tasks", prompts


def told(lens: "TunedLens") -> Json:
    """Held-out KL by depth, before and after, as JSON."""
    from lensdepth.telling.curves import mean_curve

    assert lens.kl_before is not None
    assert lens.kl_after is not None
    return {
        "kl_before": mean_curve(lens.kl_before),
        "kl_after": mean_curve(lens.kl_after),
        "n_held_out": len(lens.kl_after),
    }


def _show(lens: "TunedLens", model: "DepthModel", source: str) -> None:
    from lensdepth.cli import tables

    title = session.title("Tuned lens", model, f"fitted on {source}")
    tables.show(title, *_table(lens), "", *sentences(lens))


def _table(lens: "TunedLens") -> "Parts":
    from lensdepth.cli.tables import curve_tables
    from lensdepth.telling.curves import Curve

    assert lens.kl_before is not None
    assert lens.kl_after is not None
    found = {"logit lens": lens.kl_before, "tuned lens": lens.kl_after}
    unit = "KL(final ‖ lens), held out, nats"
    curves = [Curve.of(name, kl, unit=unit, role="lens", units=()) for name, kl in found.items()]
    return curve_tables(curves, lens.n_layers)


def sentences(lens: "TunedLens") -> list[str]:
    """What the lens is worth on prompts that it was not fitted on."""
    import numpy as np

    from lensdepth import stats
    from lensdepth.telling.numbers import counted

    assert lens.kl_before is not None
    assert lens.kl_after is not None
    _, low, high = stats.mean_interval((lens.kl_before - lens.kl_after).numpy())
    if np.isnan(low).all():
        return [
            f"Whether the tuned lens is nearer the final distribution than the logit lens cannot "
            f"be told from {counted(len(lens.kl_after), 'held-out prompt')}: give it more text."
        ]
    nearer, farther = [int(n) for n in ((low > 0).sum(), (high < 0).sum())]
    said = (
        f"On {counted(len(lens.kl_after), 'held-out prompt')} the tuned lens is nearer the final "
        f"distribution than the logit lens at {nearer} of {counted(lens.n_layers, 'depth')}"
    )
    if farther:
        said += f", and farther from it at {farther}: give it more text, or more --steps"
    return [f"{said}. On text of another kind it may be worse."]
