"""The judge can say no, and injuries are what they say."""

import json
import logging

import pytest

from fuzz.damage import (
    Absent,
    Added,
    End,
    Flip,
    Gone,
    Instead,
    Other,
    Put,
    Renamed,
    Traded,
    Zeroed,
    damaged,
    places,
)
from fuzz.judge import LONGEST, TALLY, Refused, judged
from lensdepth.claims.hypothesis import _whole
from lensdepth.outside import outside


def refuse(said: str) -> None:
    with outside(said):
        json.loads("{")


def test_what_returns_and_what_one_line_refuses_is_counted() -> None:
    TALLY.clear()
    assert judged(lambda: 3) == 3
    refused = judged(lambda: refuse("file 'a'"))
    assert isinstance(refused, Refused)
    assert refused.startswith("file 'a': Expecting property name")
    assert TALLY == {"loaded": 1, "refused": 1}


def test_errors_that_nobody_put_into_words_fail() -> None:
    with pytest.raises(json.JSONDecodeError):
        judged(lambda: json.loads("{"))
    with pytest.raises(KeyError):
        judged(lambda: {}["gone"])
    with pytest.raises(ValueError, match="invalid literal"):
        judged(lambda: _whole("²"))  # in a function of lensdepth, which did not mean it


UNREADABLE = {"two": "a\nb", "escape": "a\x1b[2J", "half": "\ud800", "long": "x" * LONGEST}


@pytest.mark.parametrize("said", UNREADABLE.values(), ids=UNREADABLE)
def test_lines_that_nobody_can_read_fail(said: str) -> None:
    with pytest.raises(AssertionError, match=r"no readable line|characters"):
        judged(lambda: refuse(said))
    with pytest.raises(AssertionError, match=r"no readable line|characters"):
        judged(lambda: logging.getLogger("lensdepth.x").warning(said))


def test_injuries_of_bytes() -> None:
    assert damaged(b"abcdef", [Flip(0, 1), Flip(9, 1)]) == b"cbcdef"
    assert damaged(b"abcdef", [End(2), Put(1, b"x", 2)]) == b"axxb"
    assert damaged(b"abcdef", [Gone(1, 2), Zeroed(3, 9)]) == b"ade\0"
    assert Traded(4, 0, 2)(b"abcdef") == b"efcdab"
    assert Traded(1, 2, 4)(b"abcdef") == b"acbdef"
    assert Instead(b"[", 3)(b"abcdef") == b"[[["


def test_injuries_of_values_leave_the_original_alone() -> None:
    whole = {"a": [1, {"b": 2}], "c": 3}
    assert list(places(whole)) == [(), ("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("c",)]
    assert Other(("a", 1, "b"), None)(whole) == {"a": [1, {"b": None}], "c": 3}
    assert damaged(whole, [Absent(("a", 0)), Other(("a", 1, "b"), 9)]) == {"a": [{"b": 2}], "c": 3}
    assert Renamed(("c",), "d")(whole) == {"a": [1, {"b": 2}], "d": 3}
    assert Added(("a", 1, "b"), "e", [])(whole) == {"a": [1, {"b": 2, "e": []}], "c": 3}
    assert Other((), "x")(whole) == "x"
    assert whole == {"a": [1, {"b": 2}], "c": 3}
