"""Render the executed notebooks to pages that need no network.

    python -m notebooks.tools.run --out out/executed
    python -m notebooks.tools.pages out/executed --out out/course

Plotly's script lies once beside the pages; figures are the ones that the cells made. Plumbing
cells are folded up; progress bars and warnings are left out. `notebooks.tools.site` puts them into
the documentation's site, to whose pages they link.
"""

import argparse
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import nbformat
import plotly
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from lensdepth.teaching.display import PLOTLY_MIME
from notebooks.tools.course import ROOT
from notebooks.tools.figures import figure_html

ASSETS = Path(__file__).parent / "assets"
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
HIDDEN = "hide-input"


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page before its frame."""

    name: str
    title: str
    body: str


def prepared(book: NotebookNode) -> NotebookNode:
    """The notebook with figures as HTML, and without what the terminal said meanwhile."""
    number = 0
    for cell in book.cells:
        outputs = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                continue
            data = output.get("data", {})
            if PLOTLY_MIME in data:
                number += 1
                output.data = {"text/html": figure_html(data[PLOTLY_MIME], number)}
            outputs.append(output)
        if cell.cell_type == "code":
            cell.outputs = outputs
    return book


def lesson(path: Path) -> Page:
    """The page of an executed notebook."""
    book = prepared(nbformat.read(path, as_version=4))
    title = book.cells[0].source.partition("\n")[0].lstrip("# ")
    # The line on Colab is for who reads the notebook, not the page.
    book.cells[0].source = re.sub(
        r"\n\[!?\[?(Run on|Open in) Colab.*\n(.+\n)*", "\n", book.cells[0].source
    )
    parts = []
    for cell in book.cells:
        tags = cell.metadata.get("tags", [])
        if "setup" in tags:
            continue
        one = nbformat.v4.new_notebook(cells=[cell], metadata=book.metadata)
        body, _ = HTMLExporter(template_name="basic").from_notebook_node(one)
        if HIDDEN in tags:
            fold = '<details class="plumbing"><summary>code</summary><div class="input">'
            body = body.replace('<div class="input">', fold, 1)
            code, output, rest = body.partition('<div class="output_wrapper">')
            body = f"{code}</details>{output}{rest}"
        parts.append(body)
    return Page(name=path.stem, title=title, body="\n".join(parts))


def linked(body: str, names: dict[str, str]) -> str:
    """Links between files of the project, as links between pages."""

    def page(found: re.Match[str]) -> str:
        target, _, anchor = found[1].partition("#")
        name = names.get(Path(target).name if "/" not in target.strip("./") else target)
        name = names.get(target.removeprefix("../").removeprefix("./"), name)
        return f'href="{name}.html{"#" + anchor if anchor else ""}"' if name else found[0]

    return re.sub(r'href="([^"]+)"', page, body)


def write(executed: Path, out: Path) -> list[Path]:
    """Write every page, the script, the style and the pictures.

    Args:
        executed: folder of the executed notebooks.
        out: folder of the pages, made anew.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    lessons = [lesson(path) for path in sorted(executed.glob("[0-9][0-9]_*.ipynb"))]
    names = {f"{one.name}.ipynb": one.name for one in lessons}
    # The site's pages stand one folder up; of the documents, those in docs/.
    documents = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]
    names |= {f"{path}": f"../{path.relative_to('docs').with_suffix('')}" for path in documents}
    names |= {"README.md": "../course", "CONTRIBUTING.md": "../contributing"}
    environment = Environment(
        loader=FileSystemLoader(ASSETS), undefined=StrictUndefined, autoescape=True
    )
    frame = environment.get_template("page.html")
    contents = environment.get_template("index.html").render(lessons=lessons)
    index = Page(name="index", title="The course", body=contents)
    written = []
    for place, page in enumerate([*lessons, index]):
        text = frame.render(
            page=page,
            body=linked(page.body, names),
            lessons=lessons,
            before=lessons[place - 1] if 0 < place < len(lessons) else None,
            after=lessons[place + 1] if place < len(lessons) - 1 else None,
        )
        target = out / f"{page.name}.html"
        target.write_text(text)
        written.append(target)
    style = HtmlFormatter(style="default").get_style_defs(".highlight")
    (out / "page.css").write_text((ASSETS / "page.css").read_text() + style)
    (out / "page.js").write_text((ASSETS / "page.js").read_text())
    shutil.copy(PLOTLY, out / "plotly.min.js")
    return written


def main() -> None:
    """Render what was executed."""
    parser = argparse.ArgumentParser(description="Render executed notebooks.")
    parser.add_argument("executed", type=Path, help="folder of the executed notebooks")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "course")
    asked = parser.parse_args()
    written = write(asked.executed, asked.out)
    print(f"{len(written)} pages: {written[-1]}")


if __name__ == "__main__":
    main()
