"""Write files whole or not at all: after any end of the run there is the old one or the new one.

What is to be written is made before its file is opened, so that only the disk can fail then; that
is one `OSError` which names the path. Ctrl-C and SIGTERM wait for the moment that a write takes.
A link is written through, the permissions of what is replaced are kept (another hard link to it
keeps the old content), and everything is on the disk before it takes its name.
"""

import csv
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensdepth.outside import reason, shown
from lensdepth.signals import put_off
from lensdepth.unfinished import hidden, keep_permissions, settle, switch

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a text begins that a spreadsheet takes for a formula, or for the start of one."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there is at `path` afterwards.

    Raises:
        OSError: `path` cannot be written. Nothing has changed then.
    """
    with writing_to(path), put_off():
        place = real_place(path)
        with hidden(place) as partial:
            mode = stat.S_IMODE(partial.stat().st_mode)
            partial.chmod(0o600)  # whatever the umask and whoever may read it in the end
            yield partial
            settle(partial)
            partial.chmod(mode)
            keep_permissions(place, partial)
            partial.replace(place)
            settle(place.parent)


@contextmanager
def whole_files(first: Path, *others: Path) -> Iterator[list[Path]]:
    """Temporary paths for files and folders of one folder, which take their places as one.

    Old ones leave in the order given and new ones come in the reverse: while the first is there,
    the others beside it belong to it. All temporary paths must be made in the block.

    Raises:
        OSError: `first` cannot be written, or an old one cannot be moved. Nothing has changed then.
    """
    places = (first, *others)
    with writing_to(first), put_off(), hidden(first, folder=True) as folder:
        fresh = folder / "new"
        fresh.mkdir()
        news = [fresh / place.name for place in places]
        yield news
        for place, new in zip(places, news, strict=True):
            keep_permissions(place, new)
        switch(folder, places)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with whole_file(path) as partial:
        partial.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8; what that has not is written `\\udc80`."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def check_writable(path: str | Path) -> None:
    """Find out before any work whether a file can be written.

    Raises:
        OSError: it cannot.
    """
    with writing_to(path), put_off(), hidden(real_place(path)):
        pass


def csv_text(frame: "pd.DataFrame", *, raw: bool = False, float_format: str | None = None) -> str:
    """A table as CSV in which a spreadsheet finds no formula.

    Texts that begin like one, column names too, get an apostrophe in front, which spreadsheets
    take for "this is text". Numbers are as they are.

    Args:
        frame: without its index.
        raw: leave texts alone, for programs that read them back.
        float_format: such as `%.6g`.
    """
    from pandas import CategoricalDtype
    from pandas.api.types import is_string_dtype

    shown_as, texts = frame.copy(deep=False), list(frame.columns)
    for i, kind in enumerate(frame.dtypes):
        if is_string_dtype(kind) or isinstance(kind, CategoricalDtype):
            cells = frame.iloc[:, i].astype(object)
            texts += list(cells)
            if not raw:
                shown_as.isetitem(i, cells.map(_inert).to_numpy(dtype=object))
    if not raw:
        shown_as.columns = [_inert(name) for name in frame.columns]
    # A lone carriage return ends a row for many readers, and is no reason for quotes to csv.
    ends_row = any(isinstance(text, str) and "\r" in text for text in texts)
    quoting = csv.QUOTE_NONNUMERIC if ends_row else csv.QUOTE_MINIMAL
    return shown_as.to_csv(index=False, float_format=float_format, quoting=quoting)


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


@contextmanager
def writing_to(path: str | Path) -> Iterator[None]:
    """What the disk or the system says in the block becomes one line with the path.

    Its kind stays: `FileNotFoundError`, `PermissionError`.
    """
    try:
        yield
    except OSError as error:
        kind = type(error) if type(error).__module__ == "builtins" else OSError
        # A part of a whole has its own line already, with a name that nobody knows.
        said = reason(error.__cause__ if isinstance(error.__cause__, OSError) else error)
        raise kind(f"{shown(str(path))} cannot be written: {said}.") from error


def real_place(path: str | Path) -> Path:
    """Where a file really is, behind links, and that it can be replaced there.

    Raises:
        OSError: there is no such folder, or something that is no file, or must not be written.
    """
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {shown(str(place.parent))}")
    if place.is_dir():
        raise IsADirectoryError("it is a folder; name a file in it")
    if os.path.lexists(place):
        if not place.is_file():
            raise OSError("it is no ordinary file")
        if not os.access(place, os.W_OK):
            raise PermissionError("it is write-protected; make it writable, or write elsewhere")
    return place
