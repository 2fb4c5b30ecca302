"""Signals wait while they must, and then end the run in order."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lensdepth.loading import load_model
from lensdepth.signals import orderly_end, put_off


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_ctrl_c_waits_however_often_it_comes() -> None:
    done = []
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), put_off():
        send(signal.SIGINT, signal.SIGINT)
        done.append("first")
        with put_off():
            send(signal.SIGINT)
        done.append("second")
    assert done == ["first", "second"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_it_is_not_lost_where_the_work_fails() -> None:
    with pytest.raises(KeyboardInterrupt) as interrupted, put_off():
        send(signal.SIGINT)
        raise OSError("full")
    assert isinstance(interrupted.value.__context__, OSError)


def test_being_told_to_end_counts_more_than_ctrl_c() -> None:
    with pytest.raises(SystemExit) as left, orderly_end(), put_off():
        send(signal.SIGINT, signal.SIGTERM)
    assert left.value.code == 143


@contextmanager
def set_to(number: int, action: signal.Handlers) -> Iterator[None]:
    """A signal's action, whatever the tests were started with: nohup ignores SIGHUP."""
    before = signal.signal(number, action)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_orderly_end_tidies_up_undisturbed(number: int, code: int) -> None:
    tidied: list[bool] = []
    with set_to(number, signal.SIG_DFL):
        with pytest.raises(SystemExit) as left, orderly_end():
            try:
                send(number)
            finally:
                send(number)
                tidied.append(True)
        assert (left.value.code, tidied) == (code, [True])
        assert signal.getsignal(number) == signal.SIG_DFL


def test_what_was_ignored_from_the_start_stays_ignored() -> None:
    with set_to(signal.SIGHUP, signal.SIG_IGN), orderly_end():
        send(signal.SIGHUP)


def test_an_end_is_no_fault_of_code_that_comes_with_a_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told_to_end(*_: object, **__: object) -> None:
        send(signal.SIGTERM)

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", told_to_end)
    with pytest.raises(SystemExit) as left, orderly_end():
        load_model("tiny")
    assert left.value.code == 143


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with orderly_end(), put_off():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_change_nothing() -> None:
    seen = []

    def work() -> None:
        with orderly_end(), put_off():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
