"""What a shell offers for a half-written option: models, tasks, templates, depths.

Asked anew at every press of Tab, so nothing heavy is imported: names come from files and from the
catalogue of tasks, which is plain data.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

Offered = list[tuple[str, str]]
"""Words, each with what it is."""


def _beginning(found: Iterable[tuple[str, str]], incomplete: str) -> Offered:
    return [(word, about) for word, about in found if word.startswith(incomplete)]


def complete_models(incomplete: str) -> Offered:
    """Bundled, fetchable and cached models, those of Ollama, and folders and files with models."""
    if incomplete[:1] in (".", "~", "/"):
        return list(_paths(incomplete))
    return [*_beginning(_named_models(), incomplete), *_paths(incomplete)]


def _named_models() -> Iterator[tuple[str, str]]:
    from lensdepth.bundled import bundled_names, checkpoint_steps
    from lensdepth.fetchable import FETCHABLE
    from lensdepth.ollama import ollama_models

    for name in bundled_names():
        yield name, "bundled"
        for step in checkpoint_steps(name):
            yield f"{name}@{step}", f"{name} after {step} training steps"
    for name, model in FETCHABLE.items():
        yield name, model.about
    with suppress(OSError, ValueError):
        yield from ((f"ollama:{name}", "held by Ollama") for name in ollama_models())
    with suppress(OSError):
        from huggingface_hub import constants

        for entry in os.scandir(constants.HF_HUB_CACHE):
            kind, _, name = entry.name.partition("--")
            if kind == "models":
                yield name.replace("--", "/"), "in the hub's cache"


def _paths(incomplete: str) -> Iterator[tuple[str, str]]:
    """Folders, on the way or with a model in them, and GGUF files."""
    written, _, start = incomplete.rpartition("/")
    written = f"{written}/" if "/" in incomplete else ""
    with suppress(OSError):
        for entry in os.scandir(os.path.expanduser(written) or "."):
            if not entry.name.startswith(start) or (entry.name[0] == "." and not start):
                continue
            if entry.is_dir():
                there = os.path.isfile(os.path.join(entry.path, "config.json"))
                if there or written:
                    yield f"{written}{entry.name}{'' if there else '/'}", "a folder"
            elif entry.name.lower().endswith(".gguf"):
                yield written + entry.name, "a GGUF file"


def complete_fetchable(incomplete: str) -> Offered:
    """Models that can be fetched."""
    from lensdepth.fetchable import FETCHABLE

    return _beginning(((name, model.about) for name, model in FETCHABLE.items()), incomplete)


def complete_tasks(incomplete: str) -> Offered:
    """Built-in tasks with an example each."""
    from lensdepth.tasks.catalogue import TASKS

    return _beginning(((name, task.description) for name, task in TASKS.items()), incomplete)


def complete_templates(ctx: typer.Context, incomplete: str) -> Offered:
    """Wordings of the task that is named before, in any of its forms."""
    from lensdepth.cli.task_options import DEFAULT_TASK
    from lensdepth.tasks.catalogue import FEW_SHOT, PLAIN

    task = ctx.params.get("task") or DEFAULT_TASK
    names = [
        template
        for forms in (PLAIN, FEW_SHOT)
        if task in forms
        for template in forms[task].templates
    ]
    about = f"a wording of {task}"
    found = [(name, about) for name in dict.fromkeys(names)]
    return _beginning([*found, ("all", "every wording")] if found else [], incomplete)


def complete_depths(ctx: typer.Context, incomplete: str) -> Offered:
    """`auto`, `all`, or the depths of the model that is named before, one behind the other."""
    before, comma, _ = incomplete.rpartition(",")
    words = [] if comma else [("auto", "where a curve moves"), ("all", "every depth")]
    given = before.split(",")
    n_layers = _n_layers(str(ctx.params.get("model") or "calendar"))
    depths = [] if n_layers is None else [str(depth) for depth in range(n_layers + 1)]
    words += [
        (f"{before}{comma}{depth}", f"depth {depth} of {n_layers}")
        for depth in depths
        if depth not in given
    ]
    return _beginning(words, incomplete)


def _n_layers(model: str) -> int | None:
    """Blocks by the configuration of a model that is a folder; None of any other."""
    from lensdepth.bundled import bundled_names, bundled_path
    from lensdepth.converted import converted_models

    folder = bundled_path(model) if model in bundled_names() else Path(os.path.expanduser(model))
    if not folder.is_dir():
        kept = [Path(one["folder"]) for one in converted_models() if one["name"] == model]
        folder = kept[0] if kept else folder
    with suppress(OSError, ValueError):
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found = config.get("num_hidden_layers", config.get("n_layer"))
        return found if isinstance(found, int) else None
    return None


def complete_schemas(incomplete: str) -> Offered:
    """Outputs that have a schema."""
    from lensdepth.cli.json_schema import command_of, schema_names

    return _beginning(((name, command_of(name)) for name in schema_names()), incomplete)
