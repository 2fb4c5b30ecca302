"""The command line: `lensdepth report | lens | geometry | ablate | patch | circuit | ...`.

Importing it costs next to nothing, and `--help` answers at once: torch, transformers and plotly
are imported inside the commands that need them.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper

from lensdepth.cli import (  # noqa: F401 - fill the app
    ablation,
    capturing,
    checks,
    choosing,
    circuit,
    claims,
    commands,
    confidence,
    doctor,
    dynamics,
    explore,
    generating,
    graph,
    landmarks,
    lists,
    mistakes,
    parting,
    patching,
    schema,
    steering,
    subspaces,
    sweeping,
)
from lensdepth.cli.app import app
from lensdepth.cli.console import note, one_line
from lensdepth.outside import EXPECTED, visible
from lensdepth.signals import orderly_end

ORDER = (
    "report",
    "explore",
    "lens",
    "write",
    "geometry",
    "landmarks",
    "ablate",
    "subspaces",
    "confidence",
    "patch",
    "choose",
    "attribute",
    "circuit",
    "graph",
    "steer",
    "mistakes",
    "compare",
    "dynamics",
    "capture",
    "claims",
    "check",
    "sweep",
    "models",
    "fetch",
    "tasks",
    "doctor",
    "schema",
)
"""Commands as the help lists them."""
app.registered_commands.sort(key=lambda command: ORDER.index(command.callback.__name__))  # type: ignore[union-attr]

LONGEST = 300
"""Most characters of a message that nobody wrote for users."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code.

    Which there are, `EXIT_CODES` says. Whatever goes wrong is one line on standard error, with
    `--debug` after its traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a token may hold what a terminal cannot show
    try:
        with orderly_end():
            code = app(args=given or ["--help"], prog_name="lensdepth", standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return 130
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except BrokenPipeError:
        # What is still buffered has no reader; Python would complain about it when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _report(error, debug="--debug" in given)


def _report(error: Exception, *, debug: bool) -> int:
    if hasattr(error, "format_message"):  # typer's own: an option that is not there, a bad value
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "lensdepth"
        text = one_line(error.format_message()).replace("Value error, ", "")  # type: ignore[attr-defined]
        text = text.rstrip(".")
        note(f"{text}{'' if text.endswith('?') else '.'} See {path} --help.")
        return 2
    if debug:
        lines = "".join(traceback.format_exception(error)).splitlines()
        sys.stderr.write("\n".join(map(visible, lines)) + "\n")
    if isinstance(error, EXPECTED):
        note(one_line(error))
        return 2
    hint = "" if debug else " Run it again with --debug to see where, and please report it."
    text = " ".join(str(error).split())
    note(f"unexpected {type(error).__name__}: {text[:LONGEST].rstrip('.')}.{hint}")
    return 1
