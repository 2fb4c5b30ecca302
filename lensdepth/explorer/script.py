"""What is on the screen as a Python program or a notebook, by the public functions alone.

The program makes the calls that the page made, in the same order and with the same arguments; it
prints every table and writes every figure.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lensdepth.explorer.cards import Card
from lensdepth.explorer.questions import MODEL, TASK, Question
from lensdepth.explorer.state import Offers
from lensdepth.provenance import installed_versions

PLACES = {"compare_lenses": "lensdepth.lens"}
"""Where functions are that are not names of the package itself."""


def program(
    shown: Sequence[Card], offers: Offers, *, title: str, fingerprints: Mapping[str, str]
) -> str:
    """One program that makes every card.

    Args:
        shown: what is on the screen.
        offers: where models and tasks come from.
        title: says what it is.
        fingerprints: of the models, by the name that they are offered under.
    """
    cells = cells_of(shown, offers, title=title, fingerprints=fingerprints)
    return "\n\n".join(text for kind, text in cells if kind == "code") + "\n"


def notebook(
    shown: Sequence[Card], offers: Offers, *, title: str, fingerprints: Mapping[str, str]
) -> str:
    """The same as a notebook, its figures shown in place of written."""
    cells = cells_of(shown, offers, title=title, fingerprints=fingerprints, inline=True)
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
    shown: Sequence[Card],
    offers: Offers,
    *,
    title: str,
    fingerprints: Mapping[str, str],
    inline: bool = False,
) -> list[tuple[str, str]]:
    """Parts of the program, each `markdown` or `code`."""
    names = _names([card.question for card in shown])
    questions = list(names)
    version = installed_versions()["lensdepth"]
    said = f"{title}\n\nMade by the explorer of lensdepth {version}."
    head = said if inline else f'"""{_in_docstring(said)}\n"""'
    cells = [("markdown", f"# {said}")] if inline else []
    cells.append(("code", (imports(questions) if inline else f"{head}\n\n{imports(questions)}")))
    cells += [("code", _assignment(q, names, offers, fingerprints)) for q in questions]
    for card in shown:
        name = names[card.question]
        figure = f"{name}.{card.draw}({_options(card.draw_options, names)})"
        table = f"{name}.{card.table}({_options(card.table_options, names)})"
        if inline:
            cells.append(("markdown", f"## {card.title}"))
            cells.append(("code", figure))
            cells.append(("code", table))
            continue
        label = repr(f"{card.name}: {card.title}")
        lines = [
            f"print({label})",
            f"print({table}.to_string())",
            f"{figure}.write_html({card.name + '.html'!r})",
        ]
        cells.append(("code", "\n".join(lines)))
    return cells


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
            name, n = question.name, 1
            while name in taken:
                n += 1
                name = f"{question.name}_{n}"
            taken.add(name)
            found[question] = name
    return found


def _in_order(question: Question) -> Iterator[Question]:
    for part in question.parts:
        yield from _in_order(part)
    yield question


def _assignment(
    question: Question,
    names: Mapping[Question, str],
    offers: Offers,
    fingerprints: Mapping[str, str],
) -> str:
    name = names[question]
    arguments = [_literal(value, names) for value in question.arguments]
    options = [f"{key}={_literal(value, names)}" for key, value in question.options]
    if question.function in (MODEL, TASK):
        offered = dict((offers.models if question.function == MODEL else offers.tasks)[
            question.arguments[0]
        ])  # fmt: skip
        arguments[0] = repr(offered.pop("name_or_path"))
        asked = {key for key, _ in question.options}
        options = [f"{k}={v!r}" for k, v in offered.items() if k not in asked] + options
    call = f"{name} = {question.function}({', '.join([*arguments, *options])})"
    if len(call) > 99:
        inner = "".join(f"    {part},\n" for part in [*arguments, *options])
        call = f"{name} = {question.function}(\n{inner})"
    known = fingerprints.get(question.arguments[0]) if question.function == MODEL else None
    if known is None:
        return call
    return (
        f"{call}\n"
        f"if {name}.info.fingerprint != {known!r}:\n"
        f'    print("Other weights than those on the screen: the numbers may differ.")'
    )


def _options(options: Sequence[tuple[str, Any]], names: Mapping[Question, str]) -> str:
    return ", ".join(f"{key}={_literal(value, names)}" for key, value in options)


def _literal(value: Any, names: Mapping[Question, str]) -> str:
    if isinstance(value, Question):
        return names[value]
    if isinstance(value, tuple):
        inner = ", ".join(_literal(item, names) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def _in_docstring(text: str) -> str:
    r"""Text that ends no docstring: quotation marks and backslashes are escaped."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
