"""The course as data: where it lies, how a notebook begins, and what its cells are for."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

REPOSITORY = ""
"""Where the project can be had, as "owner/name" on GitHub; empty as long as it has no public
address. `make pair` then puts links that open each notebook on Colab and Binder in its first cell,
and the cell that installs lensdepth takes it from there."""

FOLDER = Path(__file__).parents[1]
ROOT = FOLDER.parent
COLAB = "https://colab.research.google.com"
BUNDLED = "calendar"
"""The model of all notebooks but those that name one which has to be fetched."""
SOLVED = "solution"
"""Tag of the cell in which a hidden solution runs."""
BADGE = f"{COLAB}/assets/colab-badge.svg"


def sources() -> list[Path]:
    """The notebooks as Python, in the order of the course."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def badge(name: str, repository: str = REPOSITORY) -> str:
    """The line below a notebook's title that says how to run it without installing anything.

    Args:
        name: of the notebook, without its ending.
        repository: "owner/name", or empty.
    """
    if repository:
        path = f"github/{repository}/blob/main/notebooks/{name}.ipynb"
        binder = f"https://mybinder.org/v2/gh/{repository}/main?labpath=notebooks/{name}.ipynb"
        return f"[![Open in Colab]({BADGE})]({COLAB}/{path})\n[Open on Binder]({binder})"
    return (
        f"[Run on Colab]({COLAB}/#create=true): *File → Upload notebook*,\n"
        f"and put the wheel beside it ([how](README.md#without-installing-anything))."
    )


def setup(repository: str = REPOSITORY) -> str:
    """The cell that installs lensdepth where it is missing."""
    source = f'["git+https://github.com/{repository}"]' if repository else 'glob("lensdepth-*.whl")'
    return "\n".join(
        [
            "# Where lensdepth is missing (on Colab, say), install it.",
            "import subprocess",
            "import sys",
            *([] if repository else ["from glob import glob"]),
            "from importlib.util import find_spec",
            "",
            'if find_spec("lensdepth") is None:',
            f"    source = {source}",
            *(
                []
                if repository
                else [
                    '    assert source, "Put lensdepth\'s wheel beside this notebook (make wheel)."'
                ]
            ),
            '    install = [sys.executable, "-m", "pip", "install", "--quiet", *source]',
            "    subprocess.run(install, check=True)",
        ]
    )


def read(source: Path) -> NotebookNode:
    """A notebook from its Python form."""
    return jupytext.read(source)


def model_of(book: NotebookNode) -> str:
    """The model that a notebook names."""
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    named = re.search(r'^MODEL = "([^"]*)"', code, re.MULTILINE)
    return named[1] if named else ""


def name_model(book: NotebookNode, model: str) -> None:
    """Let a notebook run on another model than the bundled one: change the one line that names it.

    A notebook that is about a model of its own stays with it.
    """
    if model_of(book) != BUNDLED:
        return
    named = f"MODEL = {json.dumps(model)}"
    for cell in book.cells:
        if cell.cell_type == "code":
            # A function, since a backslash of a path would mean something in a template.
            cell.source = re.sub(r'(?m)^MODEL = "[^"]*"', lambda _: named, cell.source)


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A hidden solution: code, the check it must pass among it."""

    cell: int
    """Place of its Markdown cell."""
    code: str


def solutions(book: NotebookNode) -> list[Solution]:
    """The hidden solutions of a notebook, in order."""
    found = []
    for place, cell in enumerate(book.cells):
        if cell.cell_type == "markdown" and "<summary>Solution</summary>" in cell.source:
            blocks = re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
            found += [Solution(cell=place, code=code) for code in blocks]
    return found


def with_solutions(book: NotebookNode) -> NotebookNode:
    """The notebook with each hidden solution as a cell that must pass."""
    for solution in reversed(solutions(book)):
        *before, last = solution.code.strip().splitlines()
        must = f"_found = {last}\nassert _found.passed, _found"
        cell = nbformat.v4.new_code_cell("\n".join([*before, must]), metadata={"tags": [SOLVED]})
        book.cells.insert(solution.cell + 1, cell)
    return book
