"""A prompt file that is dropped into the page: read in memory, offered as a task, never written."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, no_update

from lensdepth.explorer import questions
from lensdepth.explorer.errors import readable
from lensdepth.explorer.links import changed, kept
from lensdepth.explorer.panels import message
from lensdepth.explorer.settle import settle
from lensdepth.explorer.shelf import MOST_FILES, Shelf
from lensdepth.explorer.state import LARGEST_FILE, Screen
from lensdepth.outside import cut, visible
from lensdepth.tasks import Task
from lensdepth.tasks.files import Most
from lensdepth.tasks.prompt_file import PromptFile, read_bytes
from lensdepth.tasks.rows import listed
from lensdepth.telling.numbers import counted

MOST = Most(rows=2000, bytes=16 * 2**20)
LONGEST_NAME = 60
"""Most characters of a file's name that are kept."""


def register(app: Dash, shelf: Shelf) -> None:
    """Attach the callbacks."""

    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Output("files", "data"),
        Output("dropped-said", "children"),
        Input("dropped", "data"),
        State("screen", "data"),
        State("files", "data"),
        prevent_initial_call=True,
    )
    def drop(given: object, page: object, files: object) -> tuple[Any, Any, Any]:
        if not given:
            return no_update, no_update, no_update
        try:
            screen, said = taken(given, kept(page, shelf.offers), shelf)
        except Exception as error:
            return no_update, no_update, message(readable(error))
        own = [name for name in files if isinstance(name, str)] if isinstance(files, list) else []
        names = list(dict.fromkeys([*own, screen.task]))[-MOST_FILES:]
        return screen.query(), names, message(said, kind="read")

    app.clientside_callback(
        ClientsideFunction("files", "hush"),
        Output("dropped-said", "children", allow_duplicate=True),
        Input("screen", "data"),
        State("dropped", "data"),
        prevent_initial_call=True,
    )


def taken(given: object, screen: Screen, shelf: Shelf) -> tuple[Screen, str]:
    """The screen with a file's pairs as its task, and what was read and what was not.

    Args:
        given: what the page sent: a name, and the content in base 64.
        screen: of the page.
        shelf: where the file is kept.
    Raises:
        ValueError: as `load_task` on the command line, or the file is too large.
    """
    name, data = _content(given)
    file = read_bytes(data, name, most=MOST)
    # A link that names the file finds these very bytes, or none.
    task = f"{name}#{hashlib.sha256(data).hexdigest()[:12]}"
    new = task not in shelf.offers.tasks
    shelf.keep(task, file)
    try:
        asked = changed(screen, {"task": task, "note": ""}, shelf.offers).with_new_task()
        whole = questions.ask("task", questions.TASK, task, questions.model_of(asked), n=None)
        found: Task = questions.answer(whole, shelf).value
        shown = settle(asked, shelf).screen
    except Exception:
        if new:
            shelf.forget(task)
        raise
    return shown, _said(file, found, screen.model)


def _content(given: object) -> tuple[str, bytes]:
    """Name and bytes of what a page sent.

    Raises:
        ValueError: it is no file, or too large.
    """
    name = given.get("name") if isinstance(given, Mapping) else None
    content = given.get("content") if isinstance(given, Mapping) else None
    if not isinstance(name, str) or not isinstance(content, str):
        raise ValueError("The page sent no file; drop it again.")
    name = PurePosixPath(name.replace("\\", "/")).name
    name = cut(visible(name.encode(errors="replace").decode()), LONGEST_NAME)
    if len(content) > 4 * -(-LARGEST_FILE // 3):
        raise ValueError(too_large(name))
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"The page did not send {name!r} whole; drop it again.") from error
    if len(data) > LARGEST_FILE:
        raise ValueError(too_large(name))
    return name, data


def too_large(name: str) -> str:
    """Why a file is not read; the page says the same, as files.js does."""
    return (
        f"The file {name!r} is larger than {LARGEST_FILE >> 20} MiB, which is the most that a page "
        f"takes; name it on the command line: lensdepth explore --prompts FILE."
    )


def _said(file: PromptFile, task: Task, model: str) -> str:
    """What was read of a file and what was not."""
    what = "pair" if task.has_pairs else "prompt"
    said = f"Read {counted(len(task), what)} of {file.name!r}, the task from now on."
    there = set(task.where)
    refused = [row.where for row in file.rows if row.where not in there]
    if refused:
        said += (
            f" {counted(len(refused), 'row')} left out, whose answers are no single tokens of "
            f"{model}: {listed(refused)}."
        )
    return f"{said} It is kept in memory until the explorer ends, and never written to disk."
