"""From options to a loaded model and task, and from a result to what was asked for."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensdepth.cli.console import hush_transformers, note, one_line, working
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import LensOptions, OutputOptions
from lensdepth.cli.task_options import PAIRS, TaskOptions, check_task, only_labels
from lensdepth.cli.trying import which_tasks
from lensdepth.outside import LONGEST_REASON, cut, shown, visible
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure
    from rich.text import Text

    from lensdepth.lens import TunedLens
    from lensdepth.model import DepthModel
    from lensdepth.report import Report
    from lensdepth.tasks import Task


NARROW = 128
"""Largest d_model that runs on one thread."""


def open_model(options: ModelOptions, *, debug: bool) -> "DepthModel":
    """Load the model, with a spinner: most of the time goes into imports or a download."""
    with working(f"loading {options.model}"):
        if not debug:
            hush_transformers()
        from lensdepth.model import load_model

        model = load_model(
            options.model,
            backend=options.backend,
            device=options.device,
            dtype=options.dtype,
            quantize=options.quantize,
            trust_remote_code=options.trust_remote_code,
            double_bos=not options.single_bos,
            **options.where,
        )
    suit_threads(model)
    return model


def suit_threads(model: "DepthModel", *, beside_browser: bool = False) -> None:
    """One thread for a narrow model on the CPU, and for any model one core fewer beside a browser.

    Matrices this small gain little from a second thread (a forward pass of the bundled model takes
    45 ms instead of 63), and where the other core is busy the two wait for each other: the report
    then took 102 s instead of 24. A browser that draws keeps another core busy just as much.
    """
    import torch

    if model.device.type == "cpu" and model.d_model <= NARROW:
        torch.set_num_threads(1)
    elif model.device.type == "cpu" and beside_browser:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) - 1)))


def shared_runs() -> AbstractContextManager[None]:
    """Round what a command does with its model: what was run to read the task is not run again."""
    from lensdepth.plain_runs import shared

    return shared()


def open_pairs(
    task: TaskOptions,
    loading: ModelOptions,
    *,
    keep: str,
    edited: bool,
    debug: bool,
    labels: Sequence[str] = (),
) -> "tuple[DepthModel, Task]":
    """The model, and the pairs that it is asked; see `open_task`.

    Raises:
        ValueError: as `check_task`, before the model is read, and as `open_model` and `open_task`.
    """
    check_task(task, pairs=True, labels=labels)
    model = open_model(loading, debug=debug)
    return model, open_task(task, model, keep=keep, edited=edited, asked=loading)


def open_task(
    options: TaskOptions,
    model: "DepthModel",
    *,
    keep: str,
    edited: bool,
    asked: ModelOptions | None = None,
) -> "Task":
    """Make or read the task; `keep` holds unless the user chose, and for pairs alone.

    Args:
        options: which task.
        model: that it is made for.
        keep: pairs by the model's own answers.
        edited: whether many runs of each pair are edited: of deep models fewer pairs are drawn.
        asked: what opened the model; a refusal then says how to find tasks that it can do.
    Raises:
        ValueError: the model cannot do the task, or no pair has the labels that --only asks for.
    """
    from lensdepth.tasks.answers import Unanswered

    try:
        task = _whole_task(options, model, keep=keep, edited=edited)
    except Unanswered as error:
        if asked is None or options.prompts is not None:
            raise
        raise ValueError(f"{one_line(error)} {which_tasks(asked)}") from error
    for label, values in only_labels(options).items():
        if label not in task.labels:
            raise ValueError(
                f"--only: task {task.name!r} has no label {shown(label)}; it has "
                f"{cut(', '.join(map(str, task.labels)), LONGEST_REASON) or 'none'}."
            )
        there = task.labels[label].astype(str)
        if not there.isin(values).any():
            raise ValueError(
                f"--only: no pair has {shown(label)} {shown(' or '.join(values))}; there are "
                f"{cut(', '.join(sorted(set(there))), LONGEST_REASON)}."
            )
        task = task.select(there.isin(values).to_numpy())
    return task


def _whole_task(options: TaskOptions, model: "DepthModel", *, keep: str, edited: bool) -> "Task":
    from lensdepth.tasks import load_task

    templates = options.template or None
    settings: Json = {
        "n": options.n_pairs(model.n_layers, edited=edited, keep=options.keep or keep),
        "seed": options.seed,
        "template": "all" if templates and "all" in templates else templates,
        "form": options.form if options.prompts is None else "auto",
        "on_multi_token": options.on_multi_token,
        "joining": options.joining,
        "units": options.units or None,
        "chat": options.chat,
        "system": options.system,
    }
    source = Path(options.prompts) if options.prompts is not None else options.source
    if options.keep is not None:
        return load_task(source, model, keep=options.keep, **settings)
    task = load_task(source, model, keep="all", **settings)
    if keep == "correct" and task.has_pairs:
        return load_task(source, model, keep="correct", **settings)
    return task


def as_given(prompt: str | None, options: TaskOptions, model: "DepthModel") -> str | None:
    """A PROMPT as it is measured: in the model's chat template, where that is asked for.

    That it ends in a space is said, as of prompts in files.
    """
    if options.system is not None and not options.chat:
        raise ValueError("--system goes with --chat.")
    if prompt is None:
        return None
    if not options.chat:
        from lensdepth.tokenizing import ENDS_IN_SPACE, ending_in_space

        if ending_in_space(model, [prompt]):
            note(f"note: the prompt {ENDS_IN_SPACE}.")
        return prompt
    from lensdepth.chat import as_chat

    return as_chat(prompt, model, system=options.system)


def read_labels(options: TaskOptions) -> "pd.DataFrame | None":
    """The labels of a task's rows, without a model; None for what would have to be downloaded."""
    import pandas as pd

    from lensdepth.tasks import list_forms, list_templates
    from lensdepth.tasks.load import draw_rows

    if options.prompts is not None:
        if not Path(options.prompts).expanduser().exists():
            return None
        rows = draw_rows(Path(options.prompts), n=None)
    else:
        templates = options.template or None
        chosen = "all" if templates and "all" in templates else templates
        forms = list_forms(options.source) if options.form == "auto" else (options.form,)
        rows = []
        for form in forms:  # which of them it will be, the model says
            known = {"all", *list_templates(options.source, form=form)}  # type: ignore[arg-type]
            if {chosen} <= known if isinstance(chosen, str) else {*(chosen or ())} <= known:
                drawn: Json = {"n": options.n or PAIRS, "seed": options.seed, "template": chosen}
                rows += draw_rows(options.source, form=form, **drawn)  # type: ignore[arg-type]
    return pd.DataFrame([row.labels for row in rows])


def open_translators(options: LensOptions, model: "DepthModel") -> "TunedLens | None":
    """Read a lens in whichever of the three formats it is; None where none was asked for."""
    from lensdepth.lens import TunedLens, load_jacobian_lens, load_tuned_lens

    path = options.tuned
    if path is None:
        return None
    if path.is_dir():
        return load_tuned_lens(path, model, strict=options.strict)
    return load_jacobian_lens(path, model) if path.suffix == ".pt" else TunedLens.load(path)


def title(what: str, model: "DepthModel", on: "Task | str") -> "Text":
    """Heading of a table: what was measured, on which model, on which prompts."""
    from rich.text import Text

    from lensdepth.tasks.told import drawn

    on = on if isinstance(on, str) else drawn(on)
    info = model.info
    packed = f", {visible(info.packing)}" * bool(info.packing)
    named = f"{what} of {visible(info.name)}, {info.n_layers} layers ({info.backend}{packed})"
    return Text.assemble((named, "bold"), f": {visible(on)}")


def records(frame: "pd.DataFrame") -> list[Json]:
    """Rows of a table as JSON values."""
    from lensdepth.telling.plain import to_json

    return to_json(frame.to_dict("records"))


def report_json(report: "Report") -> Json:
    """A report's summary and where it is; the rows hold every table's means, one a depth."""
    summary = {key: value for key, value in report.summary.items() if key != "provenance"}
    return {
        "provenance": report.summary["provenance"],
        "summary": {"path": str(report.path), "tables": str(report.tables), **summary},
        "rows": records(report.to_frame()),
    }


def as_json(value: Any) -> str:
    """One line of ASCII: no terminal, locale or pipe can spoil it."""
    return json.dumps(value, allow_nan=False)


def deliver(
    result: Any,
    summary: Json,
    output: OutputOptions,
    show: Callable[[], None],
    figure: Callable[[], "Figure"] | None = None,
    *,
    pairs: "Task | None" = None,
) -> None:
    """Write the file that was asked for, then print JSON or what `show` prints.

    The caller has checked `output.out`. `figure` is the one to draw in place of the result's own;
    `pairs` are counted in the summary.
    """
    from lensdepth.tasks.told import counts
    from lensdepth.telling.plain import provenance_json

    whole: Json = {}
    if output.json or (output.out and output.out.suffix.lower() == ".json"):
        whole = {
            "provenance": provenance_json(result.provenance),
            "summary": summary if pairs is None else summary | {"pairs": counts(pairs)},
            "rows": records(result.to_frame()),
        }
    if output.out is not None:
        write(result, whole, output.out, figure or result.plot, raw_csv=output.raw_csv)
        note(f"wrote {output.out}")
    if output.json:
        print_json(whole)
    else:
        show()


def print_json(value: Json) -> None:
    """One object and nothing else on standard output."""
    sys.stdout.write(as_json(value) + "\n")


def write(
    result: Any, whole: Json, path: Path, figure: Callable[[], "Figure"], *, raw_csv: bool
) -> None:
    """One file, whole or not at all, in the format that its ending names."""
    from lensdepth.writing import csv_text, write_bytes, write_text

    match path.suffix.lower():
        case ".json":
            write_text(path, as_json(whole) + "\n")
        case ".html":
            write_text(path, figure().to_html(include_plotlyjs=True))
        case ".csv":
            write_text(path, csv_text(result.to_frame(), raw=raw_csv))
        case ".parquet":
            write_bytes(path, result.to_frame().to_parquet(index=False))
        case ".safetensors":
            result.save(path)
