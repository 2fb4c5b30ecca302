"""How files get damaged: each injury is a little data, which hypothesis draws, prints and shrinks.

`wounds` are injuries of bytes, `changes` those of a JSON or TOML value.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
Place = tuple[str | int, ...]
"""Keys and indices from the outermost value to an inner one."""


def damaged(whole: T, injuries: Sequence[Callable[[T], T]]) -> T:
    """One injury after another."""
    for injure in injuries:
        whole = injure(whole)
    return whole


# Bytes


@dataclass(frozen=True)
class Flip:
    """One bit is another."""

    at: int
    bit: int

    def __call__(self, data: bytes) -> bytes:
        changed = bytearray(data)
        if self.at < len(data):
            changed[self.at] ^= 1 << self.bit
        return bytes(changed)


@dataclass(frozen=True)
class End:
    """The file ends here."""

    at: int

    def __call__(self, data: bytes) -> bytes:
        return data[: self.at]


@dataclass(frozen=True)
class Gone:
    """A block is left out."""

    at: int
    n: int

    def __call__(self, data: bytes) -> bytes:
        return data[: self.at] + data[self.at + self.n :]


@dataclass(frozen=True)
class Zeroed:
    """A block is zero, as a disk leaves it that was full."""

    at: int
    n: int

    def __call__(self, data: bytes) -> bytes:
        end = min(self.at + self.n, len(data))
        return data[: self.at] + bytes(max(end - self.at, 0)) + data[end:]


@dataclass(frozen=True)
class Traded:
    """Two blocks have changed places."""

    at: int
    to: int
    n: int

    def __call__(self, data: bytes) -> bytes:
        first, second = sorted((self.at, self.to))
        n = min(self.n, second - first, len(data) - second)
        if n <= 0:
            return data
        a, b = data[first : first + n], data[second : second + n]
        return data[:first] + b + data[first + n : second] + a + data[second + n :]


@dataclass(frozen=True)
class Put:
    """Something stands here that was not there; so many times."""

    at: int
    what: bytes
    times: int = 1

    def __call__(self, data: bytes) -> bytes:
        return data[: self.at] + self.what * self.times + data[self.at :]


@dataclass(frozen=True)
class Instead:
    """The file holds something else."""

    what: bytes
    times: int = 1

    def __call__(self, data: bytes) -> bytes:
        return self.what * self.times


SIGNS = (
    b"\x00", b"{", b"}", b"[", b"]", b'"', b"'", b",", b";", b"\t", b":", b"=", b"\n", b"\r", b"\\",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", "\u2028".encode(), b"\x1b[2J", b"9", b"-", b"e9",
)  # fmt: skip
CONTENTS = (b"", b"\n", b"null", b"[]", b"{}", b"0", b'"x"', b"NaN", b"\xef\xbb\xbf", b"PAR1")


def wounds(data: bytes) -> SearchStrategy[list[Callable[[bytes], bytes]]]:
    """One to three injuries of these bytes; their ends, where formats keep their order, take most.

    Most are bit flips, which leave a file readable and make it another.
    """
    last = max(len(data) - 1, 0)
    at = st.integers(0, last)
    at |= st.integers(0, min(200, last)) | st.integers(max(last - 200, 0), last)
    n = st.sampled_from((1, 2, 4, 8, 64, 500))
    flips = st.builds(Flip, at, st.integers(0, 7))
    ways = st.one_of(
        *[flips] * 6,
        st.builds(End, at),
        st.builds(Gone, at, n),
        st.builds(Zeroed, at, n),
        st.builds(Traded, at, at, n),
        st.builds(Put, at, st.sampled_from(SIGNS) | st.binary(max_size=16)),
        st.builds(Put, at, st.sampled_from(SIGNS), st.just(3000)),
    )
    usual = st.lists(ways, min_size=1, max_size=3)
    whole = st.builds(Instead, st.sampled_from(CONTENTS) | st.binary(max_size=40))
    deep = st.builds(Instead, st.sampled_from((b"[", b'{"a":', b"[[[[,")), st.just(50_000))
    return usual | usual | usual | usual | st.lists(whole | deep, min_size=1, max_size=1)


# Values


@dataclass(frozen=True)
class Other:
    """Another value stands here."""

    at: Place
    value: Any

    def __call__(self, whole: Any) -> Any:
        if not self.at:
            return self.value
        return _inside(whole, self.at, lambda parent, key: parent.__setitem__(key, self.value))


@dataclass(frozen=True)
class Absent:
    """Key and value are not there."""

    at: Place

    def __call__(self, whole: Any) -> Any:
        return _inside(whole, self.at, lambda parent, key: parent.__delitem__(key))


@dataclass(frozen=True)
class Renamed:
    """The key is another."""

    at: Place
    name: str

    def __call__(self, whole: Any) -> Any:
        def rename(parent: Any, key: str | int) -> None:
            if isinstance(parent, dict):
                parent[self.name] = parent.pop(key)

        return _inside(whole, self.at, rename)


@dataclass(frozen=True)
class Added:
    """A key stands beside this one that was not there."""

    at: Place
    name: str
    value: Any

    def __call__(self, whole: Any) -> Any:
        def add(parent: Any, key: str | int) -> None:
            if isinstance(parent, dict):
                parent[self.name] = self.value

        return _inside(whole, self.at, add)


def _inside(whole: Any, at: Place, change: Callable[[Any, str | int], None]) -> Any:
    """A copy in which the parent of a place is changed; unchanged where there is no such place."""
    changed = copy.deepcopy(whole)
    parent = changed
    try:
        for key in at[:-1]:
            parent = parent[key]
        if at:
            change(parent, at[-1])
    except (LookupError, TypeError, AttributeError):  # an earlier change has taken it
        return copy.deepcopy(whole)
    return changed


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every place in a value, of long lists and objects the first ones."""
    yield at
    if isinstance(value, dict):
        for key in list(value)[:60]:
            yield from places(value[key], (*at, key))
    elif isinstance(value, list):
        for i in range(min(len(value), 20)):
            yield from places(value[i], (*at, i))


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3.5, -0.0, 1e308, 10**12, 2**31, 2**63, 2**64, 10**400,
    float("nan"), float("inf"), float("-inf"),
    "", " ", "x", "3", "-1", "a\x1b[2J\n", "\ud800", "é" * 50, "x" * 5000, "\u2028", "=1+1", "../x",
    [], [1], [None], [[]], ["x", 3], {}, {"a": 1}, {"": None}, _nested(200),
)  # fmt: skip


def changes(whole: Any, names: Sequence[str] = ()) -> SearchStrategy[list[Callable[[Any], Any]]]:
    """One to three injuries of a value; keys are renamed to, and added under, these names too."""
    at = st.sampled_from(list(places(whole)))
    value = st.sampled_from(VALUES) | st.integers() | st.floats() | st.text(max_size=8)
    name = st.sampled_from([*names, "x", "", "a b", "__class__", "\x1b[2J"]) | st.text(max_size=8)
    other = st.builds(Other, at, value)
    return st.lists(
        other | other | st.builds(Absent, at) | st.builds(Renamed, at, name)
        | st.builds(Added, at, name, value),
        min_size=1,
        max_size=3,
    )  # fmt: skip


def as_json(value: Any) -> bytes:
    """JSON as Python writes it: halves of characters, NaN and infinity are in it."""
    return json.dumps(value).encode()
