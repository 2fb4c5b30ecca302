"""Plain text as prompts to fit a lens on: read as far as it is needed, and never whole."""

import os
from collections.abc import Iterator
from pathlib import Path

from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.outside import outside, shown
from lensdepth.tokens import TokenBatch

WINDOW = 128
"""Most tokens of one prompt."""
CHARACTERS = 4
"""Read for each of them: about what a token of everyday text has."""


@checked
def text_prompts(path: str | Path, model: DepthModel, *, n_tokens: int) -> TokenBatch:
    """The beginning of a text file as prompts of up to 128 tokens each.

    Pieces end between words; what a piece has beyond 128 tokens is left out.

    Args:
        path: a file of plain text, in UTF-8.
        model: whose tokenizer reads it.
        n_tokens: when to stop; the rest of the file is not read.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text, has none, or the model has no tokenizer.
    """
    caller = "text_prompts"
    if not os.path.isfile(path):  # which says no to names too long, and to pipes
        raise FileNotFoundError(f"{caller}: there is no file {shown(str(path))}.")
    if model.tokenizer is None:
        raise ValueError(f"{caller}: this model has no tokenizer to read {shown(str(path))} with.")
    most = min(WINDOW, model.info.n_ctx)
    rows: list[list[int]] = []
    there = 0
    for piece in _pieces(Path(path), CHARACTERS * most):
        with outside(f"{caller}: {shown(str(path))} cannot be tokenized"):
            row = list(model.tokenizer(piece)["input_ids"])[:most]
        if row:
            rows.append(row)
            there += len(row)
        if there >= n_tokens:
            break
    if not rows:
        raise ValueError(f"{caller}: there is no text in {shown(str(path))}.")
    return model.tokenize(rows)


def _pieces(path: Path, length: int) -> Iterator[str]:
    """Texts of up to so many characters, cut behind a space where there is one."""
    said, left = f"text_prompts: {shown(str(path))} cannot be read as text", ""
    with outside(said):
        file = path.open(encoding="utf-8")
    with file:
        while True:
            with outside(said, hint="Give plain text in UTF-8."):
                read = file.read(length - len(left))
            whole = left + read
            if not whole:
                return
            space = max(whole.rfind(" "), whole.rfind("\n"))
            end = space + 1 if read and space > 0 else len(whole)
            piece, left = whole[:end].strip(), whole[end:]
            if piece:
                yield piece
