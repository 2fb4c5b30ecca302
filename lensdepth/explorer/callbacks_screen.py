"""One callback keeps controls, address and screen in step: whatever changed, the rest follows."""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from dash import Dash, Input, Output, State, ctx, no_update

from lensdepth.edits import STRONG_EDITS
from lensdepth.explorer.clicks import BUTTONS, STARTS, acted
from lensdepth.explorer.errors import readable
from lensdepth.explorer.links import OPTIONAL, changed, parse
from lensdepth.explorer.menus import FROM_GRAPH, MENUS, menus, task_menu
from lensdepth.explorer.notes import VIEWS
from lensdepth.explorer.panels import message
from lensdepth.explorer.session import with_note
from lensdepth.explorer.settle import Setting, describe, held_text, settle
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Offers, Screen
from lensdepth.outside import visible
from lensdepth.telling.names import has_blocks
from lensdepth.telling.plain import Json

CONTROLS = {
    name: name.replace("-", "_")
    for name in (
        "view", "model", "task", "prompt", "source", "value", "lens", "follow", "depth", "last",
        "position", "to", "stream", "head", "edit", "strength", "focus", "sweep", "on", "pairs",
        "layer", "looked", "components", "paths", "kept", "upstream", "downstream", "against",
        "other-model", "other-prompt", "length", "held", "rows", "only", "find", "note",
        "giver", "from-depth", "from-position", "taker", "into-depth", "into-position", "carried",
    )
}  # fmt: skip
"""Control -> the field that it shows."""
LINE_END = "⏎"
"""Stands for the end of a line in a field that has one line."""
TEXTS = ("prompt", "source", "other-prompt")
FOLLOWS = ("hidden", "options", "strength", "unit", "does", "held", "unknown", "labels",
           "other_prompt_hidden", "other_model_hidden", "note_hidden")  # fmt: skip
"""Parts of an answer that nobody but this callback changes, the options above excepted."""
ENDS = ("from-depth", "from-position", "into-depth", "into-position")
"""Of a move; open until there is one."""


def register(app: Dash, shelf: Shelf) -> None:
    """Attach the callback."""

    @app.callback(
        output={
            "search": Output("url", "search"),
            "screen": Output("screen", "data"),
            "banner": Output("banner", "children"),
            "ask": {view: Output(f"ask-{view}", "data") for view in VIEWS},
            "hidden": {view: Output(f"view-{view}", "hidden") for view in VIEWS},
            "values": {name: Output(name, "value") for name in CONTROLS},
            "example": Output("example", "value"),
            "options": {name: Output(name, "options") for name in (*MENUS, "example")},
            "strength": {
                prop: Output("strength", prop) for prop in ("min", "max", "step", "marks")
            },
            "unit": Output("strength-unit", "children"),
            "does": Output("edit-does", "children"),
            "held": Output("held-edit", "children"),
            "unknown": Output("unknown", "children"),
            "labels": {name: Output(f"{name}-label", "children") for name in ("depth", "last")},
            "other_prompt_hidden": Output("other-prompt-field", "hidden"),
            "other_model_hidden": Output("other-model-field", "hidden"),
            "note_hidden": Output("note-part", "hidden"),
            "seen": Output("seen", "data"),
        },
        inputs={
            "search": Input("url", "search"),
            "values": {name: Input(name, "value") for name in CONTROLS},
            "example": Input("example", "value"),
            "site": Input("site", "data"),
            "clicks": {name: Input(name, "n_clicks") for name in BUTTONS},
            "before": State("screen", "data"),
            "noted": State("noted", "data"),
            "files": State("files", "data"),
            "seen": State("seen", "data"),
        },
    )
    def sync(
        search: object,
        values: Mapping[str, Any],
        example: object,
        site: object,
        clicks: Mapping[str, object],
        before: object,
        noted: object,
        files: object,
        seen: object,
    ) -> dict[str, Any]:
        triggered = {item["prop_id"].rpartition(".")[0] for item in ctx.triggered} - {""}
        acts, seen = _acts(clicks, site, example, seen)
        if triggered & STARTS.keys():  # of the two the later one counts
            acts.discard("cancel")
        notice = []
        try:
            if before is None or not triggered or "url" in triggered:
                try:
                    screen = parse(search, shelf.offers)
                except ValueError as error:
                    notice = [message(f"{readable(error)} This is the page as it starts.")]
                    screen = Screen(model=shelf.offers.model, task=shelf.offers.task)
                if before is None and values.get("model") and "model" in triggered:
                    screen = changed(screen, {"model": values["model"]}, shelf.offers)
            else:
                screen = _asked(search, values, shelf)
                screen = acted(screen, acts, example, site, shelf)
            setting = settle(screen, shelf)
            if before is None or not triggered or "url" in triggered:
                notice += _moved(screen, setting.screen)
            else:
                screen = with_note(setting.screen, before, noted, shelf)
                setting = replace(setting, screen=screen)
        except Exception as error:
            return _unchanged([message(readable(error))], before is None) | {"seen": seen}
        shown = _shown(setting, search, notice)
        shown["options"]["task"] = task_menu(setting.screen, files, shelf)
        return _news(shown, values, example, seen)


def start(page: Any, offers: Offers) -> Any:
    """The page with what its controls show before anything is asked: what stands there already
    need not be sent."""
    for name, value in _values(Screen(model=offers.model, task=offers.task)).items():
        if name not in MENUS and value is not no_update:
            page[name].value = value
    return page


def _news(shown: Json, values: Mapping[str, Any], example: object, seen: Json) -> Json:
    """Of an answer what the page does not show yet, and what it will have been sent.

    Dash goes through all its callbacks once more for every property that it is given, changed or
    not, which took longer than drawing.
    """
    sent: dict[str, str] = {}

    def new(name: str, value: Any) -> Any:
        text = json.dumps(value, sort_keys=True)
        sent[name] = blake2b(text.encode(), digest_size=8).hexdigest()
        return no_update if seen["sent"].get(name) == sent[name] else value

    for part in FOLLOWS:
        value = shown[part]
        if isinstance(value, Mapping):
            shown[part] = {
                name: one if part == "options" and name in FROM_GRAPH else
                new(f"{part} {name}", one)
                for name, one in value.items()
            }  # fmt: skip
        else:
            shown[part] = new(part, value)
    shown["values"] = {
        name: no_update if values.get(name) == value else value
        for name, value in shown["values"].items()
    }
    shown["example"] = no_update if example is None else None
    return shown | {"seen": {**seen, "sent": sent}}


def _acts(
    clicks: Mapping[str, object], site: object, example: object, seen: object
) -> tuple[set[str], Json]:
    """What was done since the last answer that the page took, and what it will have seen.

    What merely set off this request would not do: Dash drops the answer to a request when the next
    one follows before it, and a Cancel pressed just before another click would be lost.
    """
    then = seen if isinstance(seen, Mapping) else {}
    sent = then.get("sent")
    now = {"clicks": dict(clicks), "site": site, "sent": sent if isinstance(sent, Mapping) else {}}
    counted = then.get("clicks")
    counted = counted if isinstance(counted, Mapping) else {}
    acts = {name for name, count in clicks.items() if count != counted.get(name)}
    if site != then.get("site"):
        acts.add("site")
    if example is not None:
        acts.add("example")
    return acts, now


def _moved(asked: Screen, shown: Screen) -> list[Any]:
    """What a link asked for that this model or prompt does not have."""
    plain = Screen(model=asked.model, task=asked.task)
    parts = [
        f"{name} {getattr(asked, name)} is shown as {getattr(shown, name)}"
        for name in (
            "depth",
            "last",
            "position",
            "to",
            "head",
            "layer",
            "looked",
            "from_depth",
            "from_position",
            "into_depth",
            "into_position",
        )
        if getattr(asked, name) not in (getattr(plain, name), getattr(shown, name))
    ]
    if not parts:
        return []
    said = f"Not all of this link is there: {', '.join(parts)}."
    return [message(said, kind="warning")]


def _unchanged(banner: list[Any], first: bool) -> dict[str, Any]:
    """Nothing but a message; what stood on the page still stands there."""
    still = dict.fromkeys
    return {
        "search": no_update,
        "screen": no_update,
        "banner": banner,
        "ask": still(VIEWS, no_update),
        "hidden": {view: view != "read" for view in VIEWS} if first else still(VIEWS, no_update),
        "values": still(CONTROLS, no_update),
        "example": None,
        "options": still((*MENUS, "example"), no_update),
        "strength": still(("min", "max", "step", "marks"), no_update),
        "unit": no_update,
        "does": no_update,
        "held": no_update,
        "unknown": no_update,
        "labels": still(("depth", "last"), no_update),
        "other_prompt_hidden": no_update,
        "other_model_hidden": no_update,
        "note_hidden": no_update,
    }


def _asked(search: object, values: Mapping[str, Any], shelf: Shelf) -> Screen:
    """The screen that the controls describe."""
    before = parse(search, shelf.offers)
    given = {
        field: values[name]
        for name, field in CONTROLS.items()
        if values[name] is not None or field in (*OPTIONAL, "upstream", "downstream", "find")
    }
    for field in (CONTROLS[name] for name in TEXTS):
        text, shown = given.get(field), getattr(before, field)
        if isinstance(text, str):
            given[field] = shown if text == _one_line(shown) else text.replace(LINE_END, "\n")
    if "strength" in given and given["strength"] == STRONG_EDITS[before.edit].default:
        given["strength"] = None
    screen = changed(before, given, shelf.offers)
    new = {name for name in given if getattr(screen, name) != getattr(before, name)}
    if "model" in new:
        screen = screen.with_new_model()
    if "task" in new:
        screen = screen.with_new_task()
    if "edit" in new:
        screen = replace(screen, strength=None)
    if "stream" in new and screen.depth is not None:
        # What leaves block b stands at depth b + 1.
        shift = has_blocks(before.stream) - has_blocks(screen.stream)
        last = None if screen.last is None else max(screen.last + shift, 0)
        screen = replace(screen, depth=max(screen.depth + shift, 0), last=last)
    if "position" in new and screen.to < screen.position:
        screen = replace(screen, to=screen.position)
    if "rows" in new:
        screen = replace(screen, lists=False)
    if new & {"sweep", "on", "pairs", "model", "task"} or (
        screen.on == "pair" and new & {"prompt", "source"}
    ):
        screen = replace(screen, run=False)
    if new & {"prompt", "source"}:
        screen = screen.without_graph()
    return screen


def _one_line(text: str) -> str:
    """A prompt as a field of one line can hold it, which would leave out the ends of lines."""
    return text.replace("\r\n", "\n").replace("\n", LINE_END)


def _shown(setting: Setting, search: object, notice: list[Any]) -> dict[str, Any]:
    """Everything that follows from a screen."""
    screen = setting.screen
    query = screen.query()
    kind = STRONG_EDITS[screen.edit]
    return {
        "search": no_update if query == search else query,
        "screen": {
            "query": query,
            "label": describe(screen),
            "view": screen.view,
            "note": screen.note,
        },
        "banner": notice,
        "ask": {view: query if view == screen.view else no_update for view in VIEWS},
        "hidden": {view: view != screen.view for view in VIEWS},
        "values": _values(screen),
        "example": None,
        "options": menus(setting),
        "strength": {
            "min": kind.low,
            "max": kind.high,
            "step": (kind.high - kind.low) / 60,
            "marks": {x: f"{x:g}" for x in (kind.low, kind.default, kind.high)},
        },
        "unit": f" Strength: {kind.unit}.",
        "does": f"{kind.does[:1].upper()}{kind.does[1:]}.",
        "held": held_text(screen),
        "unknown": _unknown(setting),
        "labels": _labels(screen),
        "other_prompt_hidden": screen.against != "prompt",
        "other_model_hidden": screen.against != "model",
        "note_hidden": screen.view == "keep",
    }


def _values(screen: Screen) -> dict[str, Any]:
    """What the controls show of a screen."""
    values = {name: getattr(screen, field) for name, field in CONTROLS.items()}
    values |= {"strength": screen.dose, "components": list(screen.components)}
    values |= {"other-model": screen.other_model or None}
    values |= {name: getattr(screen, name) or None for name in FROM_GRAPH}
    values |= {name: _one_line(values[name]) for name in TEXTS}
    # A menu drops what it does not have, and says so.
    return values | {name: no_update for name in ENDS if values[name] in (None, -1)}


def _unknown(setting: Setting) -> str:
    """What is read of the prompts is not what stands there."""
    if not setting.unknown:
        return ""
    words = ", ".join(f"“{visible(word)}”" for word in setting.unknown)
    return (
        f"⚠ The tokenizer of {setting.screen.model} does not know {words}: the model reads a "
        "token for unknown words there, and nothing of the word itself."
    )


def _labels(screen: Screen) -> dict[str, str]:
    """What the menus of places count."""
    counted = "block" if has_blocks(screen.stream) else "depth"
    return {"depth": f"From {counted}", "last": f"Window to {counted}"}
