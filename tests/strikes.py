"""Strike a run with a signal before and after every call that changes the disk.

    python tests/strikes.py FOLDER

replaces a page and its tables in a forked child for each such moment and each signal, and prints a
JSON object: how many strikes there were, what they left, and what they must not have left. It is
a process of its own, without threads, because a fork takes along one thread alone.
"""

import fcntl
import json
import os
import pathlib
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lensdepth.signals import orderly_end
from lensdepth.unfinished import sweep
from lensdepth.writing import whole_files, write_text

CALLS: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync")),
    *((pathlib.Path, name) for name in ("rename", "replace", "unlink", "mkdir", "write_text")),
    (shutil, "rmtree"),
    (fcntl, "flock"),
)
SIGNALS = {
    "INT twice": (signal.SIGINT, signal.SIGINT),
    "TERM": (signal.SIGTERM,),
    "KILL": (signal.SIGKILL,),
}
KILL = ("KILL", SIGNALS["KILL"])


def replace(folder: Path, run: str) -> None:
    """A page and two tables of one run."""
    with whole_files(folder / "r.html", folder / "r_tables") as (page, tables):
        tables.mkdir()
        for name in ("a", "b"):
            write_text(tables / name, run)
        write_text(page, run)


def found(folder: Path) -> tuple[str, list[str]]:
    """Of which run page and tables are, and what else is there."""
    page, tables = folder / "r.html", folder / "r_tables"
    files = [page, tables / "a", tables / "b"]
    runs = {file.read_text() if file.exists() else "none" for file in files}
    others = [p.name for p in folder.iterdir() if p not in (page, tables)]
    return " and ".join(sorted(runs)), others


def child(folder: Path, at: int, after: bool, signals: tuple[int, ...]) -> int:
    """Fork, strike at the call of this number, and give the exit code: 0 where none was struck."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    count = -1

    def struck(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            mine = count == at
            for number in signals if mine and not after else ():
                os.kill(os.getpid(), number)
            given = real(*arguments, **options)
            for number in signals if mine and after else ():
                os.kill(os.getpid(), number)
            return given

        return call

    code = 99
    try:
        with orderly_end():
            for owner, name in CALLS:
                setattr(owner, name, struck(getattr(owner, name)))
            replace(folder, "new")
        code = 0
    except KeyboardInterrupt:
        code = 130
    except SystemExit as left:
        code = int(str(left.code))
    finally:
        os._exit(code)


def main(root: Path) -> None:
    """Every moment, every signal, with an old report and without."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    tally: Counter[str] = Counter()
    wrong: list[str] = []
    for before in ("old", "none"):
        for name, signals in SIGNALS.items() if before == "old" else [KILL]:
            for after in (False, True):
                at = code = 1
                while code:
                    folder = root / "run"
                    folder.mkdir()
                    if before == "old":
                        replace(folder, "old")
                    code = child(folder, at - 1, after, signals)
                    case = f"{before}, {name} {'after' if after else 'before'} call {at}"
                    state, _ = found(folder)
                    if (folder / "r.html").exists() and state not in (before, "new"):
                        wrong.append(f"{case}: a page beside other tables: {state}")
                    if name == "KILL":
                        sweep(folder)
                    elif code not in (0, 130 if signal.SIGINT in signals else 143):
                        wrong.append(f"{case}: exit code {code}")
                    state, others = found(folder)
                    if state not in (before, "new") or others:
                        wrong.append(f"{case}: {state}, and {others}")
                    tally[f"{name}: {state}"] += 1
                    shutil.rmtree(folder)
                    at += 1
    sys.stdout.write(json.dumps({"tally": tally, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
