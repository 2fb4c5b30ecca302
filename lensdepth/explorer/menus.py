"""The menus whose options depend on the model, the prompt and the task."""

from collections import Counter
from typing import Any

from lensdepth.explorer.settle import Setting
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import DROPPED, Screen, task_name
from lensdepth.outside import visible
from lensdepth.telling.depths import block, block_at, in_menu
from lensdepth.telling.names import has_blocks, stream_name
from lensdepth.telling.tokens import signed
from lensdepth.tokens import told_apart

MENUS = ("task", "depth", "last", "position", "to", "stream", "head", "layer", "looked",
         "components", "upstream", "downstream", "from-depth", "from-position", "into-depth",
         "into-position")  # fmt: skip
FROM_GRAPH = ("upstream", "downstream")
"""Of these, the ends of an edge, whose options the graph brings as well."""


def menus(setting: Setting) -> dict[str, list[dict[str, Any]]]:
    """Menus of this model and prompt."""
    n, residual = setting.n_layers, not has_blocks(setting.screen.stream)
    depths = states = [(depth, in_menu(depth, n)) for depth in range(n + 1)]
    if not residual:
        depths = [(layer, block_at(layer)) for layer in range(n)]
    tokens, theirs = (
        [(i, f"{i}: {signed(text)}") for i, text in enumerate(texts)]
        for texts in (setting.tokens, setting.source_tokens)
    )
    heads = [(head, f"head {head}") for head in range(setting.n_heads)]
    parts = [f"L{layer}H{head}" for layer in range(n) for head in range(setting.n_heads)]
    parts += [f"MLP{layer}" for layer in range(n)]
    placed = [name for name in setting.screen.components if "@" in name]
    pairs = [(i, _pair_name(*pair)) for i, pair in enumerate(setting.examples)]
    found = {
        "depth": depths, "last": depths, "position": tokens, "to": tokens,
        "from-depth": states, "into-depth": states,
        "from-position": theirs if setting.screen.giver == "source" else tokens,
        "into-position": theirs if setting.screen.taker == "source" else tokens,
        "stream": [(s, stream_name(s)) for s in setting.streams],
        "head": heads if setting.screen.stream == "z" else [],
        "layer": [(layer, block(layer)) for layer in range(n)],
        "looked": heads,
        # What is pinned at tokens of its own (MLP0@2) comes from the address alone.
        "components": [(part, part) for part in [*parts, *placed]],
        "example": pairs,
        # A value without its option would be dropped; the graph brings the others.
        **{name: [(one, one) for one in (getattr(setting.screen, name),) if one]
           for name in FROM_GRAPH},
    }  # fmt: skip
    return {
        name: [{"label": label, "value": value} for value, label in choices]
        for name, choices in found.items()
    }


def task_menu(screen: Screen, files: object, shelf: Shelf) -> list[dict[str, Any]]:
    """The tasks that a page may choose: those offered, and the files that were dropped into it."""
    own = [name for name in files if isinstance(name, str)] if isinstance(files, list) else []
    there = shelf.offers.tasks
    names = [name for name in there if not DROPPED.fullmatch(name)]
    names += [name for name in dict.fromkeys([*own, screen.task]) if DROPPED.fullmatch(name)]
    called = Counter(map(task_name, names))
    return [
        # Two files of one name are told apart by their bytes.
        {"label": task_name(name) if called[task_name(name)] == 1 else name, "value": name}
        for name in names
        if name in there
    ]


def _pair_name(base: str, source: str, foil: str, target: str) -> str:
    foil, target = map(visible, told_apart([foil, target]))
    return base if not source else f"{base} → {foil}  |  {source} → {target}"
