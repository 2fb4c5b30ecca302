"""What was asked as a Python program or a notebook, by the public functions alone.

The program makes the calls that the page made, in the same order and with the same arguments; it
prints every table and writes every figure. Rows of a prompt file that was dropped into the page
stand in it: the page kept them in memory alone.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensdepth.explorer.cards import Card
from lensdepth.explorer.questions import MODEL, TASK, Question
from lensdepth.explorer.state import Offers
from lensdepth.provenance import installed_versions
from lensdepth.tasks.prompt_file import record
from lensdepth.tasks.rows import Row

PLACES = {"compare_lenses": "lensdepth.lens"}
"""Where functions are that are not names of the package itself."""
OTHER_WEIGHTS = "Other weights than those on the screen: the numbers may differ."


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What one screen showed."""

    title: str
    cards: tuple[Card, ...]
    note: str = ""
    """What somebody wrote beside it."""


def program(
    chapters: Sequence[Chapter],
    offers: Offers,
    *,
    fingerprints: Mapping[str, str],
    title: str = "",
) -> str:
    """One program that makes every card.

    Args:
        chapters: what was on the screen, in order.
        offers: where models and tasks come from.
        fingerprints: of the models, by the name that they are offered under.
        title: says what several chapters are; one has its own.
    """
    cells = cells_of(chapters, offers, fingerprints=fingerprints, title=title)
    return "\n\n".join(text for kind, text in cells if kind == "code") + "\n"


def notebook(
    chapters: Sequence[Chapter],
    offers: Offers,
    *,
    fingerprints: Mapping[str, str],
    title: str = "",
) -> str:
    """The same as a notebook, its figures shown in place of written."""
    cells = cells_of(chapters, offers, fingerprints=fingerprints, title=title, inline=True)
    return json.dumps(
        {
            "cells": [_cell(kind, text, i) for i, (kind, text) in enumerate(cells)],
            "metadata": {
                "kernelspec": {
                    "display_name": "Python 3", "language": "python", "name": "python3",
                },
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        },
        indent=1,
    )  # fmt: skip


def _cell(kind: str, text: str, number: int) -> dict[str, Any]:
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": f"cell-{number}",
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def cells_of(
    chapters: Sequence[Chapter],
    offers: Offers,
    *,
    fingerprints: Mapping[str, str],
    title: str = "",
    inline: bool = False,
) -> list[tuple[str, str]]:
    """Parts of the program, each `markdown` or `code`."""
    several = bool(title)
    names = _names([card.question for chapter in chapters for card in chapter.cards])
    made = f"Made by the explorer of lensdepth {installed_versions()['lensdepth']}."
    parts = [title, made] if several else [chapters[0].title, chapters[0].note, made]
    imported = imports(list(names))
    if inline:
        heading, *rest = (_in_markdown(part) for part in parts if part)
        cells = [("markdown", "\n\n".join([f"# {heading}", *rest])), ("code", imported)]
    else:
        said = _in_docstring("\n\n".join(part for part in parts if part))
        cells = [("code", f'"""{said}\n"""\n\n{imported}')]
    there: set[Question | str] = set()
    files: set[str] = set()
    rows = _rows(names, offers)
    for number, chapter in enumerate(chapters, start=1):
        if several:
            cells += _heading(number, chapter, inline=inline)
        for question in _names([card.question for card in chapter.cards]):
            if question in there:
                continue
            name, task = names[question], question.arguments[0]
            if question.function == TASK and task in rows and task not in there:
                given = offers.tasks[task]["name_or_path"]
                cells.append(("code", f"{rows[task]} = {_given(given)}"))
                there.add(task)
            there.add(question)
            made = _assignment(question, name, names, offers, fingerprints, rows)
            cells.append(("code", made))
        for card in chapter.cards:
            file = _free(f"{number:02}-{card.name}" if several else card.name, files)
            cells += _shown(card, names, file, inline=inline)
    return cells


def _heading(number: int, chapter: Chapter, *, inline: bool) -> list[tuple[str, str]]:
    """Where one of several chapters begins, with its note."""
    said = f"{number}. {chapter.title}"
    if inline:
        parts = [f"## {_in_markdown(said)}", *([_in_markdown(chapter.note)] * bool(chapter.note))]
        return [("markdown", "\n\n".join(parts))]
    lines = "\n".join([said, *([chapter.note] * bool(chapter.note))])
    return [("code", f"print({_written(lines)})")]


def _shown(
    card: Card, names: Mapping[Question, str], file: str, *, inline: bool
) -> list[tuple[str, str]]:
    """A card's figure and table."""
    name = names[card.question]
    figure = f"{name}.{card.draw}({_options(card.draw_options, names)})"
    table = f"{name}.{card.table}({_options(card.table_options, names)})"
    if inline:
        heading = f"### {_in_markdown(card.title)}"
        return [("markdown", heading), ("code", figure), ("code", table)]
    lines = [
        f"print({_written(f'{card.name}: {card.title}')})",
        f"print({table}.to_string())",
        f"{figure}.write_html({file + '.html'!r})",
    ]
    return [("code", "\n".join(lines))]


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken yet, and is from now on."""
    found, n = name, 1
    while found in taken:
        n += 1
        found = f"{name}_{n}"
    taken.add(found)
    return found


def imports(questions: Sequence[Question]) -> str:
    """The import lines that some questions need."""
    by_place: dict[str, set[str]] = {}
    for question in questions:
        place = PLACES.get(question.function, "lensdepth")
        by_place.setdefault(place, set()).add(question.function)
    return "\n".join(
        f"from {place} import {', '.join(sorted(names))}"
        for place, names in sorted(by_place.items())
    )


def _names(roots: Sequence[Question]) -> dict[Question, str]:
    """Every question before those that need it, with a variable of its own."""
    found: dict[Question, str] = {}
    taken: set[str] = set()
    for root in roots:
        for question in _in_order(root):
            if question in found:
                continue
            found[question] = _free(question.name, taken)
    return found


def _in_order(question: Question) -> Iterator[Question]:
    for part in question.parts:
        yield from _in_order(part)
    yield question


def _assignment(
    question: Question,
    name: str,
    names: Mapping[Question, str],
    offers: Offers,
    fingerprints: Mapping[str, str],
    rows: Mapping[str, str],
) -> str:
    arguments = [_literal(value, names) for value in question.arguments]
    options = [f"{key}={_literal(value, names)}" for key, value in question.options]
    if question.function in (MODEL, TASK):
        offered = dict((offers.models if question.function == MODEL else offers.tasks)[
            question.arguments[0]
        ])  # fmt: skip
        given = offered.pop("name_or_path")
        arguments[0] = rows[question.arguments[0]] if isinstance(given, tuple) else _path(given)
        asked = {key for key, _ in question.options}
        options = [f"{k}={_written(v)}" for k, v in offered.items() if k not in asked] + options
    call = f"{name} = {question.function}({', '.join([*arguments, *options])})"
    if len(call) > 99:
        inner = "".join(f"    {part},\n" for part in [*arguments, *options])
        call = f"{name} = {question.function}(\n{inner})"
    known = fingerprints.get(question.arguments[0]) if question.function == MODEL else None
    if known is None:
        return call
    return f"{call}\nif {name}.info.fingerprint != {known!r}:\n    print({OTHER_WEIGHTS!r})"


def _options(options: Sequence[tuple[str, Any]], names: Mapping[Question, str]) -> str:
    return ", ".join(f"{key}={_literal(value, names)}" for key, value in options)


def _literal(value: Any, names: Mapping[Question, str]) -> str:
    if isinstance(value, Question):
        return names[value]
    if isinstance(value, tuple):
        inner = ", ".join(_literal(item, names) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return _written(value)


def _rows(questions: Iterable[Question], offers: Offers) -> dict[str, str]:
    """Tasks whose rows stand in the program, and the variable that each has."""
    tasks = [q.arguments[0] for q in questions if q.function == TASK]
    taken: set[str] = set()
    return {
        task: _free("rows", taken)
        for task in dict.fromkeys(tasks)
        if isinstance(offers.tasks[task]["name_or_path"], tuple)
    }


def _path(value: Any) -> str:
    """Where a model or a task comes from."""
    return _written(str(value) if isinstance(value, Path) else value)


def _given(rows: Sequence[Row]) -> str:
    """The rows of a file that was dropped into the page."""
    lines = [
        "{" + ", ".join(f"{_written(k)}: {_written(v)}" for k, v in record(row).items()) + "}"
        for row in rows
    ]
    return "[\n" + "".join(f"    {line},\n" for line in lines) + "]"


def _written(value: Any) -> str:
    """A plain value as Python reads it; text so that nothing in it is unseen."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _in_docstring(text: str) -> str:
    r"""Text that ends no docstring: quotation marks and backslashes are escaped."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _in_markdown(text: str) -> str:
    """Text that is shown as it stands: no markup, no formula, every line a line."""
    signs = r"[\\`*_{}\[\]<>&$#|~!]|^ *[-+=]|^ *\d+[.)]"

    def entity(found: re.Match[str]) -> str:
        return "".join(c if c.isalnum() or c.isspace() else f"&#{ord(c)};" for c in found[0])

    text = "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)
    text = re.sub(signs, entity, text.expandtabs(4), flags=re.MULTILINE)
    # Four spaces in front would make code of a line.
    text = re.sub("^ +", lambda found: "\u00a0" * len(found[0]), text, flags=re.MULTILINE)
    return text.replace("\n", "  \n")
