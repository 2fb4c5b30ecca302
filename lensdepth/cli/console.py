"""What the command line says beside its results: messages, a spinner, and silence for the rest.

Standard output is for results alone; everything here goes to standard error.
"""

import io
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout

from lensdepth.outside import visible
from lensdepth.progress import watch
from lensdepth.telling.numbers import duration

MINUTE = 60.0
PYTHON_OPTIONS = (
    "backend|batch_size|budget|chat|coordinates|depths|device|dtype|file|form|include_first|joining"
    "|keep|n|on_multi_token|revision|strength|subfolder|template|to|top_k|trust_remote_code"
)
"""Arguments of the library that messages name, and that are options here."""


def one_line(error: BaseException | str) -> str:
    """An exception's message for somebody at a terminal: one line, in the words of options.

    The name of the Python function in front goes, and its `keep='all'` becomes `--keep all`.
    """
    text = visible(" ".join(str(error).split())) or type(error).__name__
    text = re.sub(r"^[a-z]\w*: (?=\S)", "", text).replace(" (overwrite=True)", "")
    return _with_options(text)


def _with_options(text: str) -> str:
    text = text.replace("strict=False", "--no-strict")
    text = text.replace("n=None takes all", "a larger --n takes more")
    return re.sub(
        rf"\b({PYTHON_OPTIONS})=(?:'([^']*)'|(True))",
        lambda found: f"--{found[1].replace('_', '-')} {found[2] or ''}".rstrip(),
        text,
    )


def note(text: str) -> None:
    """One line to standard error, whatever is in it."""
    sys.stderr.write(f"lensdepth: {visible(text)}\n")
    sys.stderr.flush()


class _Notes(logging.Handler):
    """Warnings of lensdepth itself, each said once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = _with_options(record.getMessage())
        if text not in self.said:
            self.said.add(text)
            note(f"note: {text}")


class _Minutes:
    """How far long work is, in a log: one line a minute."""

    def __init__(self) -> None:
        self.open: dict[str, tuple[float, int, int]] = {}
        """What is under way, the outer work first: when it began, parts done, and all of them."""
        self.said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        begun, before, _ = self.open.get(what, (now, 0, 0))
        if done < before:  # the same kind of work, begun anew
            begun = now
        if done >= total:
            self.open.pop(what, None)
            return
        self.open[what] = begun, done, total
        if now - self.said >= MINUTE:
            self.said = now
            note("; ".join(_how_far(name, now - b, d, n) for name, (b, d, n) in self.open.items()))


def _how_far(what: str, seconds: float, done: int, total: int) -> str:
    left = f", about {duration(seconds * (total - done) / done)} left" if done else ""
    return f"{what}: {done:,} of {total:,}{left}"


@contextmanager
def each_minute() -> Iterator[None]:
    """Say how far long work is, where standard error is no terminal, which has bars."""
    if sys.stderr.isatty():
        yield
        return
    with watch(_Minutes()):
        yield


@contextmanager
def quiet(*, debug: bool) -> Iterator[None]:
    """Keep third parties off both streams; with `debug` let them talk on standard error."""
    ours, root = logging.getLogger("lensdepth"), logging.getLogger()
    notes, nothing = _Notes(), logging.NullHandler()
    ours.addHandler(notes)
    root.addHandler(nothing)  # without any handler Python prints warnings of other loggers
    try:
        with ExitStack() as stack:
            stack.enter_context(each_minute())
            stack.enter_context(redirect_stdout(sys.stderr if debug else io.StringIO()))
            if not debug:
                stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            yield
    finally:
        ours.removeHandler(notes)
        root.removeHandler(nothing)


def hush_transformers() -> None:
    """No warnings and no progress bars of transformers and the Hugging Face hub."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    spinner = Spinner("dots", Text(visible(text)))
    with Live(
        spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ):
        yield
