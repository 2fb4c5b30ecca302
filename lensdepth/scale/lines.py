"""On which line of a TOML file each key stands, which the reader of Python does not tell.

The file is one that Python has read, so that only keys and headers have to be found: lines within
texts of several lines are passed over.
"""

import re

Place = tuple[str | int, ...]
"""The way to a value: `("models", 0, "dtype")`."""

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def lines_of(text: str) -> dict[Place, int]:
    """The line, from 1, of every table and key; of what stands within a line, that of its table."""
    found: dict[Place, int] = {(): 1}
    counts: dict[Place, int] = {}
    table: Place = ()
    within = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if within:
            within = "" if within in line else within
            continue
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        if header is not None:
            *above, last = _parts(header[2])
            table = _into((), above, counts)
            table = (*table, last)
            if header[1] == "[[":
                counts[table] = counts.get(table, 0) + 1
                table = (*table, counts[table] - 1)
            found.setdefault(table, number)
        elif key is not None:
            place = table
            for part in _parts(key[1]):
                place = (*place, part)
                found.setdefault(place, number)
        for sign in ('"' * 3, "'" * 3):
            if line.count(sign) % 2:
                within = sign
    return found


def line_of(lines: dict[Place, int], place: Place) -> int:
    """The line of a value, or of the nearest thing around it whose line is known."""
    while place not in lines:
        place = place[:-1]
    return lines[place]


def _into(table: Place, names: list[str], counts: dict[Place, int]) -> Place:
    """The table that some names lead to: of a list of tables, its last."""
    for name in names:
        table = (*table, name)
        if table in counts:
            table = (*table, counts[table] - 1)
    return table


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
