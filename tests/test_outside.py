"""Errors of other libraries become one readable line; our own faults stay what they are."""

import errno
import json
from typing import Any

import pytest
import torch

from lensdepth.outside import (
    LONGEST_NAME,
    LONGEST_REASON,
    heading,
    out_of_memory,
    outside,
    reason,
    shown,
    visible,
)
from lensdepth.site import depth_hook


def test_whatever_a_library_raises_is_one_line_with_its_cause() -> None:
    for call in (
        lambda: json.loads("{"),
        lambda: json.loads("[" * 100_000),  # RecursionError
        lambda: int("x"),  # raised in C, without a frame of its own
        lambda: {}["gone"],
    ):
        with pytest.raises(ValueError, match=r"^file 'a': .+\.$") as caught, outside("file 'a'"):
            call()
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is not None


def test_our_own_faults_and_leaving_pass() -> None:
    with pytest.raises(ValueError, match=r"^depth_hook: "), outside("file 'a'"):
        depth_hook(4, n_layers=3)
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error), outside("file 'a'"):
            raise error


@pytest.mark.parametrize(
    "parts", ["[CALL for x in given]", "{x: CALL for x in given}", "max(CALL for x in given)"]
)
def test_a_comprehension_is_part_of_the_function_that_calls_out(parts: str) -> None:
    """Up to Python 3.11 it has a frame of its own, which is one of lensdepth."""
    for call, said in (
        ("int(x)", "^file: invalid literal"),
        ("hook(x, n_layers=1)", "^depth_hook"),
    ):
        source = f"def read(given):\n with outside('file'):\n  return {parts.replace('CALL', call)}"
        space: dict[str, Any] = {"__name__": "lensdepth.x", "outside": outside, "hook": depth_hook}
        exec(source, space)
        with pytest.raises(ValueError, match=said):
            space["read"]([9] if "hook" in call else ["x"])


def test_a_panic_that_is_no_exception_is_readable_too() -> None:
    class PanicException(BaseException):
        pass

    readable = pytest.raises(ValueError, match="PanicException: index out of range")
    with readable, outside("tokenizer"):
        raise PanicException("index out of range")


def test_kind_hint_and_disk_errors() -> None:
    readable = pytest.raises(OSError, match=r"^cannot write 'x': No space left on device. Try y.$")
    with readable, outside("cannot write 'x'", kind=OSError, hint="Try y."):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/partial")


def test_names_and_reasons_are_short_and_cannot_drive_a_terminal() -> None:
    assert shown("a\x1b[2Jb\n") == r"'a\x1b[2Jb\n'"
    assert len(shown("x" * 10_000)) <= LONGEST_NAME
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "<list>"
    assert heading("a\x1b" + "x" * 10_000).startswith("a\\x1bxxx")
    assert len(reason(ValueError("y" * 10_000))) <= LONGEST_REASON
    assert reason(KeyError("gone")) == "KeyError: 'gone'"
    assert reason(ValueError("a\x1b]0;b\x07\nc")) == r"a\x1b]0;b\x07 c"
    assert reason(ZeroDivisionError()) == "ZeroDivisionError"
    assert visible("a\tb\x1b") == "a⇥b\\x1b"


def test_running_out_of_memory_is_known_by_every_name() -> None:
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ):
        assert out_of_memory(error)
    for other in (None, RuntimeError("shapes do not fit"), ValueError("allocate memory")):
        assert not out_of_memory(other)
