"""The screen after a button, an example, or a click in a figure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lensdepth.explorer import questions
from lensdepth.explorer.links import SHORT, changed
from lensdepth.explorer.settle import settle
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.outside import shown
from lensdepth.telling.names import has_blocks

BUTTONS = (
    "swap", "run", "cancel", "pin", "pin-mlp", "to-poke", "draw-graph", "let-write", "list-pairs",
    "farthest",
)  # fmt: skip
STARTS = {
    "run": "run", "draw-graph": "graphed", "let-write": "writes", "list-pairs": "lists",
}  # fmt: skip
"""Button -> the field that says that an analysis was asked for."""


def acted(
    screen: Screen,
    acts: set[str],
    example: object,
    site: object,
    shelf: Shelf,
) -> Screen:
    """The screen after a button, an example, or a click in a figure."""
    if "example" in acts and isinstance(example, int):
        pairs = settle(screen, shelf).examples
        if 0 <= example < len(pairs):
            screen = replace(
                screen, prompt=pairs[example][0], source=pairs[example][1], position=-1, to=-1,
                run=screen.run and screen.on == "task",
            ).without_graph()  # fmt: skip
    if "swap" in acts and screen.source.strip():
        screen = replace(screen, prompt=screen.source, source=screen.prompt).without_graph()
    for button, name in STARTS.items():
        if button in acts:
            screen = changed(screen, {name: True}, shelf.offers)
    if "farthest" in acts:
        screen = replace(screen, order="distance", descending=True)
    if "cancel" in acts:
        screen = replace(screen, run=False, graphed=False, writes=False, lists=False)
        if screen.lens == "tuned" and not questions.known(questions.tuned_of(screen), shelf):
            screen = replace(screen, lens="logit")
    if "to-poke" in acts:
        screen = replace(screen, view="poke")
    if acts & {"pin", "pin-mlp"}:
        name = f"MLP{screen.layer}"
        if "pin" in acts:
            name = f"L{screen.layer}H{screen.looked}"
        pinned = tuple(dict.fromkeys([*screen.components, name]))
        screen = changed(screen, {"components": pinned}, shelf.offers)
    if "site" in acts and isinstance(site, Mapping):
        screen = _clicked(screen, site, shelf)
    return screen


def _clicked(screen: Screen, site: Mapping[str, Any], shelf: Shelf) -> Screen:
    """What a click in a figure chooses."""
    kind = site.get("kind")
    if kind == "sort":
        order = site.get("column")
        falls = order == screen.order and not screen.descending
        return changed(screen, {"order": order, "descending": falls}, shelf.offers)
    if kind == "pair":
        return _opened_pair(screen, site.get("row"), shelf)
    if kind == "head":
        layer, head = site.get("row"), site.get("column")
        if head == "mlp":
            pinned = tuple(dict.fromkeys([*screen.components, f"MLP{layer}"]))
            return changed(screen, {"components": pinned}, shelf.offers)
        if head is None:
            return screen
        return changed(screen, {"layer": layer, "looked": head}, shelf.offers)
    if kind == "move":
        return _moved(screen, site, shelf)
    if kind == "node":
        return _with_node(screen, site, shelf)
    depth, position = site.get("row"), site.get("column")
    if kind == "cell" and site.get("shift") and screen.depth is not None:
        there = changed(screen, {"last": _at(screen, depth), "to": position}, shelf.offers)
        low, high = sorted((there.position, there.to))
        return replace(there, position=low, to=high)
    values = {"depth": depth, "last": None}
    if kind in ("cell", "curve"):  # what is drawn over depths, whatever the stream
        values["depth"] = _at(screen, depth)
    if kind != "cell":
        values["view"] = "poke"
    if position == "prediction":
        position = -1
    if position == "input":
        position = _input_position(screen, shelf)
    if isinstance(position, str):  # a role of several tokens is no place
        position = None
    if position is not None:
        values |= {"position": position, "to": position}
    return changed(screen, values, shelf.offers)


def _moved(screen: Screen, site: Mapping[str, Any], shelf: Shelf) -> Screen:
    """A cell put onto another: each is a prompt, a depth and a token."""
    ends = [site.get("from"), site.get("to")]
    values: dict[str, object] = {}
    names = (("giver", "from_depth", "from_position"), ("taker", "into_depth", "into_position"))
    for end, fields in zip(ends, names, strict=True):
        if not isinstance(end, list) or len(end) != len(fields):
            raise ValueError(f"A cell is a prompt, a depth and a token, got {shown(end, SHORT)}.")
        values |= dict(zip(fields, end, strict=True))
    return changed(screen, values, shelf.offers)


def _with_node(screen: Screen, site: Mapping[str, Any], shelf: Shelf) -> Screen:
    """A node of the graph pinned or unpinned; with Shift, chosen as an end of an edge."""
    name = site.get("name")
    if site.get("shift"):
        second = bool(screen.upstream and not screen.downstream)
        ends = {"downstream": name} if second else {"upstream": name, "downstream": ""}
        return changed(screen, ends, shelf.offers)
    # Embeddings and logits are no components that could be patched.
    if not isinstance(name, str) or name.startswith(("EMBED", "LOGIT")):
        return screen
    pinned = [one for one in screen.components if one != name]
    if len(pinned) == len(screen.components):
        pinned.append(name)
    return changed(screen, {"components": pinned}, shelf.offers)


def _opened_pair(screen: Screen, row: object, shelf: Shelf) -> Screen:
    """The screen that reads one pair of the table."""
    task = questions.answer(questions.task_of(screen, screen.rows), shelf).value
    if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < len(task):
        raise ValueError(f"There is no pair {shown(row, SHORT)} in this table.")
    return replace(
        screen, view="read", prompt=task.corrupted[row], source=task.clean[row],
        target=task.target[row], foil=task.foil[row], position=-1, to=-1,
    ).without_graph()  # fmt: skip


def _at(screen: Screen, depth: Any) -> Any:
    """The block of a stream whose output stands at a depth; the depth itself of the residual."""
    if not has_blocks(screen.stream) or not isinstance(depth, int):
        return depth
    return max(depth - 1, 0)


def _input_position(screen: Screen, shelf: Shelf) -> int | None:
    """Where the base prompt has the word in which the two prompts differ."""
    try:
        pair = questions.answer(questions.pair_of(screen), shelf).value
    except ValueError:
        return None
    found = pair.corrupted_input_positions
    return None if found is None else int(found[0])
