"""What a call on a damaged file may come to: it returns, or one readable line refuses the file.

Everything else fails: another exception, one of another library that nobody put into words, a line
that a terminal would act on, and, in `make fuzz`, a call that takes too long. Whether what is
returned is what the file holds is for the target to say.
"""

import faulthandler
import linecache
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

MANY = int(os.environ.get("LENSDEPTH_FUZZ") or 0)
"""Inputs over all targets in `make fuzz`; 0 in the normal run."""
LIMIT = 30.0
"""Seconds that one input may take, where there are many; after five times that, nothing runs on."""
LONGEST = 1000
TALLY: Counter[str] = Counter()
"""What the calls of one test came to; `conftest.py` reads and empties it."""


def inputs(few: int, of_20_000: int) -> settings:
    """How many inputs a test takes: in the normal run, and of the 20,000 of `make fuzz`."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    if not MANY:
        return settings(max_examples=few, suppress_health_check=slow)
    n = max(1, round(MANY * of_20_000 / 20_000))
    return settings(max_examples=n, suppress_health_check=slow, derandomize=False, print_blob=True)


class Refused(str):
    """The line that refused a file."""


def judged(call: Callable[[], T]) -> T | Refused:
    """What the call returns, or the line by which it refuses."""
    listener = _Listener()
    logger = logging.getLogger("lensdepth")
    logger.addHandler(listener)
    if MANY:
        faulthandler.dump_traceback_later(5 * LIMIT, exit=True)
    start = time.monotonic()
    try:
        found: T | Refused = call()
    except (ValueError, OSError) as error:
        if not _is_worded(error):
            raise
        found = Refused(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
        logger.removeHandler(listener)
    took = time.monotonic() - start
    assert not MANY or took < LIMIT, f"took {took:.0f} seconds"
    lines = [*listener.lines, found] if isinstance(found, Refused) else listener.lines
    for line in lines:
        assert line.strip(), "an empty line"
        assert line.isprintable(), f"no readable line: {line!r}"
        assert len(line) < LONGEST, f"{len(line)} characters: {line}"
    TALLY["refused" if isinstance(found, Refused) else "loaded"] += 1
    return found


def _is_worded(error: Exception) -> bool:
    """Whether a `raise` of lensdepth made this error, and no call below or beside it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
    module = str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.split(".")[0] == "lensdepth" and line.startswith("raise ")


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
