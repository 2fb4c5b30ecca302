"""What stands on the screen, as one value, and as the query of a link that opens it again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal
from urllib.parse import urlencode

from lensdepth.edits import STRONG_EDITS
from lensdepth.lens.figures import CellValue
from lensdepth.pairs.table import KindName, OrderName
from lensdepth.site import Stream
from lensdepth.telling.depths import edited_at
from lensdepth.telling.names import has_blocks

View = Literal["read", "poke", "move", "sweep", "circuit", "write", "pairs", "compare", "keep"]
Lens = Literal["logit", "tuned"]
Sweep = Literal["patch", "ablate", "steer"]
On = Literal["task", "pair"]
Focus = Literal["local", "suffix", "window"]
Against = Literal["model", "prompt"]
Paths = Literal["total", "direct"]
Held = Literal["none", "prompt", "onward"]
Prompt = Literal["base", "source"]
Carried = Literal["full", "direction"]

LONGEST_PROMPT = 4000
"""Most characters of a prompt."""
LONGEST_NOTE = 1000
"""Most characters of a note."""
MOST_PLACES = 64
"""Most tokens that are edited together, and most components that are pinned."""
MOST_NODES = 10
"""Nodes of a graph; fewer may be looked at."""
PAIRS = (10, 20, 40, 100, 200)
"""How many pairs a sweep may run on."""
LENGTHS = (10, 20, 40, 60)
"""How many tokens the model may write."""
LARGEST_FILE = 2**20
"""Most bytes of a prompt file that is dropped into a page."""
DROPPED = re.compile(r"(.+)#[0-9a-f]{12}")
"""How a link calls a prompt file that was dropped into a page: its name and what tells its bytes
from all others."""


def task_name(task: str) -> str:
    """A task as people call it."""
    dropped = DROPPED.fullmatch(task)
    return dropped[1] if dropped else task


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
    giver: Prompt = "source"
    """The prompt of which a state is taken in Move."""
    from_depth: int | None = None
    from_position: int = -1
    taker: Prompt = "base"
    """The prompt into which it is put."""
    into_depth: int | None = None
    into_position: int = -1
    carried: Carried = "full"
    """What of the state is put there."""
    note: str = ""
    """What somebody wrote beside it: plain text, wherever it is shown."""
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
            writes=False, lists=False, find="", from_position=-1, into_position=-1,
        ).without_graph()  # fmt: skip

    def with_new_model(self) -> "Screen":
        """The same page without what belonged to another model."""
        return replace(
            self, depth=None, last=None, stream="resid_pre", head=None, position=-1, to=-1,
            layer=0, looked=0, components=(), run=False, writes=False, lists=False,
            lens="logit", follow="", from_depth=None, from_position=-1, into_depth=None,
            into_position=-1,
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
