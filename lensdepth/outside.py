"""Where the outside world comes in: files, folders, names, and the libraries that read them.

What a library raises over something that users gave it is no fault of lensdepth, whatever its
type: `outside` turns it into one readable line. Names and messages from outside are shown by
`shown` and `reason`: on one line, of bounded length, with nothing that a terminal would act on.
"""

from types import TracebackType
from typing import Any

SPACES = {"\n": "⏎", "\t": "⇥", "\r": "␍"}
LONGEST_NAME = 120
"""Most characters of a name or path in a message."""
LONGEST_REASON = 300
"""Most characters of another library's message."""
LEAVING = (KeyboardInterrupt, SystemExit, GeneratorExit)
EXPECTED = (ValueError, OSError, RuntimeError, MemoryError)
"""What bad input and a machine that is too small raise; anything else is a fault of lensdepth."""
_PARTS_OF_FUNCTIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
"""Frames of their own (the first three up to Python 3.11) in which a function calls out."""
_SAYS_ENOUGH = (OSError, ValueError, RuntimeError)
"""Errors whose message alone tells what happened; of others the type belongs to it."""
HUGGING_FACE = (
    "save it and its tokenizer, both by save_pretrained(folder), and take load_model(folder)"
)
"""What to do with a model of transformers."""


class outside:
    """Round one call into another library: whatever it raises becomes one readable line.

        >>> with outside("prompt file 'pairs.parquet' cannot be read"):
        ...     frame = pd.read_parquet(file)

    The original stays as `__cause__`. What our own functions raise below the call passes as it is,
    and so does leaving (Ctrl-C, `sys.exit`).

    Args:
        said: the line up to the reason, without a colon behind it.
        kind: what is raised.
        hint: a sentence behind the reason: what to do.
    """

    def __init__(self, said: str, *, kind: type[Exception] = ValueError, hint: str = "") -> None:
        self.said, self.kind, self.hint = said, kind, hint

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not only Exception: a panic in a library written in Rust is none.
        if error is None or isinstance(error, LEAVING) or _is_ours(trace):
            return
        ending = f" {self.hint}" if self.hint else ""
        raise self.kind(f"{self.said}: {reason(error)}.{ending}") from error


def _is_ours(trace: TracebackType | None) -> bool:
    """Whether code of lensdepth is at work further down than the frame that called out."""
    frame = None if trace is None else trace.tb_next
    while frame is not None:
        module = str(frame.tb_frame.f_globals.get("__name__", ""))
        ours = module == __package__ or module.startswith(f"{__package__}.")
        if ours and frame.tb_frame.f_code.co_name not in _PARTS_OF_FUNCTIONS:
            return True
        frame = frame.tb_next
    return False


def out_of_memory(error: BaseException | None) -> bool:
    """Whether this says that memory ran out, the machine's or a GPU's."""
    words = str(error).lower()
    kind = type(error).__name__
    return (
        isinstance(error, MemoryError)
        or kind == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "alloc" in words and "memory" in words)
    )


def visible(text: str) -> str:
    """Text with a sign for what a terminal would act on instead of showing it."""
    return "".join(
        c if c.isprintable() else SPACES.get(c, f"\\x{ord(c):02x}" if ord(c) < 256 else "�")
        for c in text
    )


def cut(text: str, longest: int = LONGEST_NAME) -> str:
    """Text without its middle, where it is too long to show."""
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 1]}…{text[-end:]}"


def shown(value: object, longest: int = LONGEST_NAME) -> str:
    """A name, path or value in a message: quoted, on one line, not too long."""
    try:
        plain = isinstance(value, str | int | float | bool | bytes | None)
        return cut(repr(value if plain else str(value)), longest)
    except (RecursionError, ValueError):  # too deep to write out, or of too many digits
        return f"<{type(value).__name__}>"


def heading(name: str) -> str:
    """A name as a log line begins with it: as `shown`, without the quotes."""
    return cut(visible(name))


def reason(error: BaseException) -> str:
    """What another library said, on one line and not too long."""
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = cut(" ".join(visible(" ".join(said.split())).split()), LONGEST_REASON).rstrip(".")
    if not text:
        return type(error).__name__
    return text if isinstance(error, _SAYS_ENOUGH) else f"{type(error).__name__}: {text}"


def bases(value: Any) -> set[str]:
    """Names of a value's classes, by which those of other libraries are known unimported."""
    return {kind.__name__ for kind in type(value).__mro__}


def is_hugging_face(value: Any) -> bool:
    """Whether it is a model of Hugging Face that TransformerLens has not wrapped."""
    return "PreTrainedModel" in bases(value)
