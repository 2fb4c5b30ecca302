"""What stands on the screen, as one value, and as the query of a link that opens it again.

Everything that comes from a browser passes through `parse` or `changed`, which take nothing that
they do not know. Whether a depth or a token is there depends on the model; the library says so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlencode

from lensdepth.edits import STRONG_EDITS
from lensdepth.lens.figures import CellValue
from lensdepth.outside import shown
from lensdepth.pairs.table import ORDERS, KindName, OrderName
from lensdepth.site import Stream
from lensdepth.telling.depths import edited_at
from lensdepth.telling.names import has_blocks

View = Literal["read", "poke", "sweep", "circuit", "write", "pairs", "compare", "keep"]
Lens = Literal["logit", "tuned"]
Sweep = Literal["patch", "ablate", "steer"]
On = Literal["task", "pair"]
Focus = Literal["local", "suffix", "window"]
Against = Literal["model", "prompt"]
Paths = Literal["total", "direct"]
Held = Literal["none", "prompt", "onward"]

LONGEST_PROMPT = 4000
"""Most characters of a prompt."""
LONGEST_TOKEN = 100
LONGEST_QUERY = 24_000
MOST_PLACES = 64
"""Most tokens that are edited together, and most components that are pinned."""
LARGEST = 100_000
"""Beyond every depth, position and head."""
COMPONENT = re.compile(r"[A-Za-z0-9]{1,12}(@-?[A-Za-z0-9]{1,12})?")
"""What a component's name looks like, with the tokens at which it is patched: `L5H3`, `MLP0@2`."""
NODE = re.compile(r"LOGIT|(EMBED|[A-Za-z0-9]{1,12})@-?[A-Za-z0-9]{1,12}")
"""What a node of a circuit's graph looks like: `L5H3@4`, `EMBED@2`, `LOGIT`."""
MOST_NODES = 10
"""Nodes of a graph; fewer may be looked at."""
SHORT = 40
"""Most characters of a value in a message."""
PAIRS = (10, 20, 40, 100, 200)
"""How many pairs a sweep may run on."""
LENGTHS = (10, 20, 40, 60)
"""How many tokens the model may write."""


@dataclass(frozen=True, kw_only=True)
class Offers:
    """What may be asked for; paths stay on the server, the browser sees names."""

    models: Mapping[str, Mapping[str, Any]]
    """Name -> arguments of `load_model`."""
    tasks: Mapping[str, Mapping[str, Any]]
    """Name -> arguments of `load_task`."""

    @property
    def model(self) -> str:
        """The one to start on."""
        return next(iter(self.models))

    @property
    def task(self) -> str:
        return next(iter(self.tasks))


@dataclass(frozen=True, kw_only=True)
class Screen:
    """One state of the page."""

    view: View = "read"
    model: str
    task: str
    prompt: str = ""
    """The base prompt; empty until one is chosen."""
    source: str = ""
    target: str | int = ""
    """The task's answer to the source prompt, where the two prompts are a pair of it; empty where
    they are not: then the model's own answers count. A token id where its text does not say it."""
    foil: str | int = ""
    """The task's answer to the base prompt."""
    lens: Lens = "logit"
    value: CellValue = "kl"
    """What the colours of the token map show."""
    follow: str = ""
    """A token that is looked for at every depth, as text; empty for none."""
    depth: int | None = None
    """The chosen site; None until there is one."""
    last: int | None = None
    """The last depth of the window, where a range of depths was chosen."""
    position: int = -1
    to: int = -1
    """The last of the chosen tokens."""
    stream: Stream = "resid_pre"
    head: int | None = None
    edit: str = "full"
    strength: float | None = None
    """None is the edit's own default."""
    focus: Focus = "local"
    """The scope that is looked at closely."""
    sweep: Sweep = "patch"
    on: On = "task"
    pairs: int = 40
    run: bool = False
    """Whether the sweep was asked for."""
    layer: int = 0
    """Block of the head whose attention is shown."""
    looked: int = 0
    """The head itself."""
    components: tuple[str, ...] = ()
    graphed: bool = False
    """Whether the circuit's graph was asked for."""
    paths: Paths = "total"
    """How an output that is changed by one edge goes on."""
    kept: int = MOST_NODES
    """Nodes that the graph is pruned to."""
    upstream: str = ""
    """Ends of the edge that is patched alone; empty where none is chosen."""
    downstream: str = ""
    length: int = 20
    """Tokens that the model writes."""
    held: Held = "none"
    """Whether Poke's edit is held on while it writes: at the chosen tokens, or at every token that
    is written as well."""
    writes: bool = False
    """Whether it was asked to write."""
    rows: int = 40
    """Pairs of the table."""
    lists: bool = False
    """Whether the table was asked for."""
    order: OrderName = "pair"
    """Column by which it is sorted."""
    descending: bool = False
    only: KindName = "all"
    find: str = ""
    """What must occur in a row."""
    against: Against = "prompt"
    other_model: str = ""
    other_prompt: str = ""

    def query(self) -> str:
        """The link's query, of what differs from an untouched page."""
        plain = Screen(model=self.model, task=self.task)
        parts = [("model", self.model), ("task", self.task)]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("model", "task") or value == getattr(plain, field.name):
                continue
            parts.append((field.name, _written(value)))
        return "?" + urlencode(parts)

    @property
    def at(self) -> int | None:
        """The depth of the state that is looked at: what leaves block b stands at depth b + 1."""
        return None if self.depth is None else self.depth + has_blocks(self.stream)

    @property
    def dose(self) -> float:
        """The edit's strength: the chosen one, or its own."""
        return STRONG_EDITS[self.edit].default if self.strength is None else self.strength

    @property
    def site(self) -> str:
        """Where an edit is made, as map, menus and results count."""
        if self.depth is None:
            return ""
        ends = sorted((self.depth, self.depth if self.last is None else self.last))
        tokens = f"token {self.position}"
        if self.to > self.position:
            tokens = f"tokens {self.position}–{self.to}"
        return f"{edited_at(*ends, stream=self.stream)}, {tokens}"

    def with_new_task(self) -> "Screen":
        """The same page without what belonged to another task or tokenizer."""
        return replace(
            self, prompt="", source="", other_prompt="", position=-1, to=-1, run=False,
            writes=False, lists=False, find="",
        ).without_graph()  # fmt: skip

    def with_new_model(self) -> "Screen":
        """The same page without what belonged to another model."""
        return replace(
            self, depth=None, last=None, stream="resid_pre", head=None, position=-1, to=-1,
            layer=0, looked=0, components=(), run=False, writes=False, lists=False,
            lens="logit", follow="",
        ).without_graph()  # fmt: skip

    def without_graph(self) -> "Screen":
        """The same page before a graph of its pair was asked for."""
        return replace(self, graphed=False, upstream="", downstream="")

    @property
    def places(self) -> tuple[int, ...]:
        """The chosen tokens."""
        if self.position < 0:
            return (self.position,)
        return tuple(range(self.position, max(self.position, self.to) + 1))


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "1"
    return ",".join(value) if isinstance(value, tuple) else f"{value}"


CHOICES: dict[str, tuple[str, ...]] = {
    "view": get_args(View), "lens": get_args(Lens), "value": get_args(CellValue),
    "stream": get_args(Stream), "edit": tuple(STRONG_EDITS), "focus": get_args(Focus),
    "sweep": get_args(Sweep), "on": get_args(On), "against": get_args(Against),
    "paths": get_args(Paths), "held": get_args(Held), "order": ORDERS, "only": get_args(KindName),
}  # fmt: skip
NUMBERS = (
    "depth", "last", "position", "to", "head", "pairs", "layer", "looked", "kept", "length", "rows",
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
    if name == "follow" and isinstance(value, str) and len(value) > LONGEST_TOKEN:
        raise ValueError(f"A token to look for has at most {LONGEST_TOKEN} characters.")
    return _prompt(name, value)


def _offered(name: str, value: object, offers: Offers) -> str:
    there: Sequence[str] = tuple(offers.tasks if name == "task" else offers.models)
    if name == "other_model" and value in ("", None):
        return ""
    if not isinstance(value, str) or value not in there:
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


def _prompt(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{name} holds half a character (a lone surrogate); write it anew.")
    if len(value) > LONGEST_PROMPT:
        raise ValueError(
            f"This prompt has {len(value):,} characters, and at most {LONGEST_PROMPT:,} are read; "
            f"shorten it."
        )
    return value
