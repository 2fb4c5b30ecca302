"""Run the notebooks from top to bottom, with their hidden solutions, and say how long each took.

    python -m notebooks.tools.run --jobs 2
    python -m notebooks.tools.run 02 05 --model tiny

Every hidden solution runs behind its exercise and must pass its own check. What is written, with
--out, is the notebook as a reader would have it: exercises open, solutions not run.

A notebook about a model that has to be fetched is skipped where the model cannot be had, and the
last lines say so; what is written then holds no outputs and says why.
"""

import argparse
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from lensdepth.fetchable import FETCHABLE
from lensdepth.fetched import fetch_model
from notebooks.tools.course import (
    ROOT,
    SOLVED,
    model_of,
    name_model,
    read,
    solutions,
    sources,
    with_solutions,
)

LONGEST = 600
"""Seconds for one cell."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """How one notebook went."""

    name: str
    seconds: float
    n_solutions: int
    error: str
    skipped: str = ""
    """Why it was not executed."""


def cannot_be_had(book: NotebookNode) -> str:
    """Why the model that a notebook names is not here and cannot be fetched; "" where it is."""
    name = model_of(book)
    if name not in FETCHABLE:
        return ""
    try:
        fetch_model(name)
    except ValueError as refusal:
        return str(refusal)
    return ""


def unexecuted(book: NotebookNode, why: str) -> NotebookNode:
    """The notebook as it is, with a line below its title that says that nothing was executed."""
    book.cells.insert(1, nbformat.v4.new_markdown_cell(f"> **Not executed.** {why}"))
    return book


def run(source: Path, model: str | None, out: Path | None) -> Done:
    """Execute one notebook.

    Args:
        source: its Python form.
        model: in place of the one that it names.
        out: folder for the executed notebook.
    """
    book = read(source)
    if model is not None:
        name_model(book, model)
    n_solutions = len(solutions(book))
    why = cannot_be_had(book)
    if why:
        _write(unexecuted(book, why), source, out)
        return Done(name=source.stem, seconds=0, n_solutions=0, error="", skipped=why)
    book = with_solutions(book)
    client = NotebookClient(
        book,
        timeout=LONGEST,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        # The checkout is what is imported, wherever the notebook lies.
        resources={"metadata": {"path": str(ROOT)}},
    )
    start, error = time.perf_counter(), ""
    try:
        client.execute()
    except CellExecutionError as stopped:
        error = "\n".join(re.sub(r"\x1b\[[0-9;]*m", "", str(stopped)).splitlines()[-25:])
    seconds = time.perf_counter() - start
    if not error:
        _write(book, source, out)
    return Done(name=source.stem, seconds=seconds, n_solutions=n_solutions, error=error)


def _write(book: NotebookNode, source: Path, out: Path | None) -> None:
    """Write a notebook without its hidden solutions' cells, if anywhere."""
    if out is not None:
        book.cells = [c for c in book.cells if SOLVED not in c.metadata.get("tags", [])]
        out.mkdir(parents=True, exist_ok=True)
        nbformat.write(book, out / f"{source.stem}.ipynb")


def main() -> None:
    """Run all notebooks, or some."""
    parser = argparse.ArgumentParser(description="Execute the notebooks of the course.")
    parser.add_argument("numbers", nargs="*", help="such as 02 05; all by default")
    parser.add_argument("--model", help="run them on this one where they name the bundled one")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at a time")
    parser.add_argument("--out", type=Path, help="folder for the executed notebooks")
    asked = parser.parse_args()
    # Matrices here are small: a second thread would mostly wait for the first.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = [s for s in sources() if not asked.numbers or s.stem[:2] in asked.numbers]
    if not chosen:
        sys.exit(f"no notebook is called {' or '.join(asked.numbers)}")
    failed, skipped = [], []
    with ProcessPoolExecutor(asked.jobs) as pool:
        n = len(chosen)
        for done in pool.map(run, chosen, [asked.model] * n, [asked.out] * n):
            state = "failed" if done.error else f"{done.n_solutions} solutions right"
            if done.skipped:
                state = "SKIPPED"
                skipped.append(
                    f"{done.name} was SKIPPED, nothing in it was executed: {done.skipped}"
                )
            print(f"{done.name:40} {done.seconds:6.1f} s   {state}", flush=True)
            if done.error:
                print(done.error)
                failed.append(done.name)
    print("\n".join(skipped), end="\n" * bool(skipped))
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
