"""Signals that end a run: put off while something must not be left half done, and orderly else.

Ctrl-C sends SIGINT; schedulers send SIGTERM some seconds before they kill; a terminal that closes
sends SIGHUP. Python lets the main thread alone see them: in other threads these two do nothing,
and need not.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

TERMINATE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""They end a process at once, unless told otherwise."""


@contextmanager
def put_off() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the block is left, however often they come."""
    came: list[int] = []
    try:
        with _handled((signal.SIGINT, *TERMINATE), lambda number, _: came.append(number)):
            yield
    finally:
        # One that raises cuts off the others: SIGINT, which may be caught and forgotten, is last.
        for number in sorted(set(came), key=lambda number: number == signal.SIGINT):
            signal.raise_signal(number)


class Ended(SystemExit):
    """A signal told the process to end, which no code on the way asked for."""


@contextmanager
def orderly_end() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Ended` with the code that a shell gives: 128 + their number.

    Everything is tidied up on the way out, as after Ctrl-C, and no further one disturbs that.
    """

    def leave(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Ended(128 + number)

    with _handled(TERMINATE, leave):
        yield


@contextmanager
def _handled(
    numbers: Sequence[int], handler: Callable[[int, FrameType | None], object]
) -> Iterator[None]:
    """Have signals handled so in a block; those that are ignored, as by `nohup`, stay ignored."""
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):
                    # The way back is known before the change. It ends with the first of them:
                    # what SIGINT raises as soon as it may cuts nothing off.
                    stack.callback(signal.signal, number, before)
                    signal.signal(number, handler)
        yield
