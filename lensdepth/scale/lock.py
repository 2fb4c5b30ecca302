"""One run at a time in a folder: a lock of the system, which ends with the process that has it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lensdepth.outside import shown
from lensdepth.writing import writing_to

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = "lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder. Where there are no locks (Windows, some network file systems) nobody does.

    Raises:
        ValueError: another run holds it.
        OSError: the folder cannot be written.
    """
    with writing_to(folder / NAME):
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            _take(handle, folder)
        with suppress(OSError):  # a full disk is no reason: the number is for people
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _take(handle: int, folder: Path) -> None:
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        whose = os.pread(handle, 20, 0).decode(errors="replace").strip()
        named = f" (process {whose})" if whose.isdigit() else ""
        raise ValueError(
            f"run_sweep: another run{named} is at work in {shown(str(folder))}; wait for it, or "
            f"take another folder."
        ) from error
    except OSError:  # no locks here
        pass
