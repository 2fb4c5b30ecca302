"""Whatever comes from a browser: links and values, each checked before it becomes a screen.

Everything passes through `parse` or `changed`, which take nothing that they do not know. Whether a
depth or a token is there depends on the model; the library says so.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, get_args
from urllib.parse import parse_qsl

from lensdepth.edits import STRONG_EDITS
from lensdepth.explorer.state import (
    DROPPED,
    LENGTHS,
    LONGEST_NOTE,
    LONGEST_PROMPT,
    MOST_NODES,
    MOST_PLACES,
    PAIRS,
    Against,
    Carried,
    Focus,
    Held,
    Lens,
    Offers,
    On,
    Paths,
    Prompt,
    Screen,
    Sweep,
    View,
)
from lensdepth.lens.figures import CellValue
from lensdepth.outside import shown
from lensdepth.pairs.table import ORDERS, KindName
from lensdepth.site import Stream

LONGEST_TOKEN = 100
LONGEST_QUERY = 24_000
LARGEST = 100_000
"""Beyond every depth, position and head."""
COMPONENT = re.compile(r"[A-Za-z0-9]{1,12}(@-?[A-Za-z0-9]{1,12})?")
"""What a component's name looks like, with the tokens at which it is patched: `L5H3`, `MLP0@2`."""
NODE = re.compile(r"LOGIT|(EMBED|[A-Za-z0-9]{1,12})@-?[A-Za-z0-9]{1,12}")
"""What a node of a circuit's graph looks like: `L5H3@4`, `EMBED@2`, `LOGIT`."""
SHORT, LONGEST_FILE = 40, 80
"""Most characters of a value, and of a file's name, in a message."""

CHOICES: dict[str, tuple[str, ...]] = {
    "view": get_args(View), "lens": get_args(Lens), "value": get_args(CellValue),
    "stream": get_args(Stream), "edit": tuple(STRONG_EDITS), "focus": get_args(Focus),
    "sweep": get_args(Sweep), "on": get_args(On), "against": get_args(Against),
    "paths": get_args(Paths), "held": get_args(Held), "order": ORDERS, "only": get_args(KindName),
    "giver": get_args(Prompt), "taker": get_args(Prompt), "carried": get_args(Carried),
}  # fmt: skip
NUMBERS = (
    "depth", "last", "position", "to", "head", "pairs", "layer", "looked", "kept", "length", "rows",
    "from_depth", "from_position", "into_depth", "into_position",
)  # fmt: skip
ONE_OF = {"pairs": PAIRS, "rows": PAIRS, "length": LENGTHS}
FLAGS = ("run", "graphed", "writes", "lists", "descending")
OPTIONAL = ("depth", "last", "head", "strength")


def kept(page: object, offers: Offers) -> Screen:
    """The screen that a page says it shows.

    Raises:
        ValueError: it does not, or its link makes no sense.
    """
    query = page.get("query") if isinstance(page, Mapping) else None
    if not isinstance(query, str):
        raise ValueError("The page does not say what it shows; load it anew.")
    return parse(query, offers)


def parse(query: object, offers: Offers) -> Screen:
    """The screen of a link.

    Raises:
        ValueError: it is too long, or a part of it is unknown or not what it should be.
    """
    if query is not None and not isinstance(query, str):
        raise ValueError(f"A link is text, got {shown(query, SHORT)}.")
    given = (query or "").removeprefix("?")
    if len(given) > LONGEST_QUERY:
        raise ValueError(
            f"This link has {len(given):,} characters, and at most {LONGEST_QUERY:,} are read."
        )
    try:
        # A server's token may stand in the same query; it is not a part of the screen.
        parts = {
            name: value
            for name, value in parse_qsl(given, keep_blank_values=True, errors="strict")
            if name != "token"
        }
    except ValueError as error:
        raise ValueError("This link cannot be read: it is not properly encoded.") from error
    return changed(Screen(model=offers.model, task=offers.task), parts, offers)


def changed(screen: Screen, values: Mapping[str, object], offers: Offers) -> Screen:
    """The screen with other values in some fields, each checked.

    Raises:
        ValueError: with the field, the value, and what it may be.
    """
    known = {field.name for field in fields(Screen)}
    found = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(
                f"This link has a part {shown(name, SHORT)} that the explorer does not know."
            )
        found[name] = _checked(name, value, offers)
    return replace(screen, **found)


def _checked(name: str, value: object, offers: Offers) -> Any:
    if name in ("model", "other_model", "task"):
        return _offered(name, value, offers)
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise ValueError(
                f"{name} must be one of {', '.join(CHOICES[name])}, got {shown(value, SHORT)}."
            )
        return value
    if name in OPTIONAL and value in (None, "", "None"):
        return None
    if name in NUMBERS:
        return _whole(name, value)
    if name == "strength":
        return _number(name, value)
    if name in FLAGS:
        return value in (True, "1")
    if name in ("upstream", "downstream"):
        return _node(name, value)
    if name == "components":
        return _components(value)
    if name == "note":
        return _note(value)
    if name == "follow" and isinstance(value, str) and len(value) > LONGEST_TOKEN:
        raise ValueError(f"A token to look for has at most {LONGEST_TOKEN} characters.")
    return _prompt(name, value)


def _offered(name: str, value: object, offers: Offers) -> str:
    there: Sequence[str] = tuple(offers.tasks if name == "task" else offers.models)
    if name == "other_model" and value in ("", None):
        return ""
    if not isinstance(value, str) or value not in there:
        dropped = DROPPED.fullmatch(value) if name == "task" and isinstance(value, str) else None
        if dropped:
            raise ValueError(
                f"The prompt file {shown(dropped[1], LONGEST_FILE)} is not here any more, since "
                f"files that were dropped into a page last as long as the explorer runs and are "
                f"kept in memory alone; drop it again to open this link."
            )
        there = [name for name in there if not DROPPED.fullmatch(name)]
        what, option = ("task", "--prompts FILE") if name == "task" else ("model", "--model NAME")
        raise ValueError(
            f"This explorer was not started with the {what} {shown(value, SHORT)}; it has "
            f"{', '.join(there)}. Give others on the command line: lensdepth explore {option}."
        )
    return value


def _whole(name: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = LARGEST + 1
    if isinstance(value, bool) or not -LARGEST <= number <= LARGEST:
        raise ValueError(f"{name} must be a whole number, got {shown(value, SHORT)}.")
    if name == "kept" and not 1 <= number <= MOST_NODES:
        raise ValueError(f"kept must lie between 1 and {MOST_NODES}, got {number}.")
    if number not in ONE_OF.get(name, (number,)):
        there = ", ".join(map(str, ONE_OF[name]))
        raise ValueError(f"{name} must be one of {there}, got {number}.")
    return number


def _number(name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if not -LARGEST <= number <= LARGEST:
        raise ValueError(f"{name} must be a number, got {shown(value, SHORT)}.")
    return number


def _components(value: object) -> tuple[str, ...]:
    names = [name for name in value.split(",") if name] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or len(names) > MOST_PLACES:
        raise ValueError(f"components must be at most {MOST_PLACES} names such as L5H3 or MLP7.")
    for name in names:
        if not isinstance(name, str) or not COMPONENT.fullmatch(name):
            raise ValueError(
                f"{shown(name, SHORT)} is no component; write L5H3 for a head, MLP7 or so."
            )
    return tuple(dict.fromkeys(names))


def _node(name: str, value: object) -> str:
    if value in ("", None):
        return ""
    if not isinstance(value, str) or not NODE.fullmatch(value):
        raise ValueError(
            f"{name} must be a node such as L5H3@4, MLP7@4, EMBED@2 or LOGIT, got "
            f"{shown(value, SHORT)}."
        )
    return value


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{name} holds half a character (a lone surrogate); write it anew.")
    return value


def _note(value: object) -> str:
    text = _text("note", value).replace("\r\n", "\n").replace("\r", "\n")
    unseen = next((c for c in text if c not in "\n\t" and unicodedata.category(c) == "Cc"), None)
    if unseen is not None:
        raise ValueError(f"A note is plain text, and this one holds the character {unseen!r}.")
    if len(text) > LONGEST_NOTE:
        raise ValueError(
            f"This note has {len(text):,} characters, and at most {LONGEST_NOTE:,} are kept; "
            f"shorten it."
        )
    return text


def _prompt(name: str, value: object) -> str:
    value = _text(name, value)
    if len(value) > LONGEST_PROMPT:
        raise ValueError(
            f"This prompt has {len(value):,} characters, and at most {LONGEST_PROMPT:,} are read; "
            f"shorten it."
        )
    return value
