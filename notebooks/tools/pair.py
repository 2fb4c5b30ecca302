"""Write the .ipynb of every notebook from its .py: outputs stripped, beginnings alike.

    python -m notebooks.tools.pair           # write
    python -m notebooks.tools.pair --check   # only say what is not in step

The .py is what is edited. Who edits an .ipynb in Jupyter (with jupytext's extension both are saved)
finds the same text in both.
"""

import argparse
import re
import sys
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from notebooks.tools.course import badge, read, setup, sources

SETUP_TAG = "setup"
VERSIONLESS = "-jupytext.text_representation.jupytext_version"


def with_beginning(source: Path) -> NotebookNode:
    """A notebook whose badge line and installing cell are those of the course."""
    book = read(source)
    title, _, rest = book.cells[0].source.partition("\n")
    rest = re.sub(
        r"^\s*(\[!?\[Open in Colab.*|\[Run on Colab.*)\n(.+\n)*", "", rest.lstrip("\n") + "\n"
    )
    book.cells[0].source = f"{title}\n\n{badge(source.stem)}\n\n{rest.strip()}"
    for cell in book.cells:
        if SETUP_TAG in cell.metadata.get("tags", []):
            cell.source = setup()
    return book


def as_stored(book: NotebookNode, old: NotebookNode | None) -> NotebookNode:
    """The same for an .ipynb: no outputs, no counts, and the ids that its cells had."""
    kept = {} if old is None else {(c.cell_type, c.source): c.id for c in old.cells if "id" in c}
    for number, cell in enumerate(book.cells):
        cell.id = kept.get((cell.cell_type, cell.source), f"cell-{number:02d}")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if len({cell.id for cell in book.cells}) < len(book.cells):
        for number, cell in enumerate(book.cells):
            cell.id = f"cell-{number:02d}"
    book.nbformat, book.nbformat_minor = 4, 5
    return book


def pair(source: Path, *, write: bool) -> list[str]:
    """Bring one notebook in step.

    Returns:
        The names of the files that are not, or were not.
    """
    target = source.with_suffix(".ipynb")
    old = nbformat.read(target, as_version=4) if target.exists() else None
    book = with_beginning(source)
    # Not the version of jupytext, which says nothing of the notebook.
    book.metadata["jupytext"]["notebook_metadata_filter"] = VERSIONLESS
    text = jupytext.writes(book, fmt="py:percent")
    stored = nbformat.writes(as_stored(book, old)) + "\n"
    changed = []
    for path, new in ((source, text), (target, stored)):
        if not path.exists() or path.read_text() != new:
            changed.append(path.name)
            if write:
                path.write_text(new)
    return changed


def main() -> None:
    """Pair all notebooks, or check them."""
    parser = argparse.ArgumentParser(description="Write the .ipynb of every notebook.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if needed")
    check = parser.parse_args().check
    changed = [name for source in sources() for name in pair(source, write=not check)]
    if changed:
        print(("not in step (make pair): " if check else "written: ") + ", ".join(changed))
    sys.exit(1 if check and changed else 0)


if __name__ == "__main__":
    main()
