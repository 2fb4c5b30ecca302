"""Render the executed notebooks and the documents to pages that need no network.

    python -m notebooks.tools.run --out out/executed
    python -m notebooks.tools.pages out/executed --out out/docs

Plotly's script lies once beside the pages; figures are the ones that the cells made. Plumbing
cells are folded up; progress bars and warnings are left out.
"""

import argparse
import html
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import plotly
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from lensdepth.teaching.display import PLOTLY_MIME
from notebooks.tools.course import ROOT

ASSETS = Path(__file__).parent / "assets"
HIDDEN = "hide-input"
DOCUMENTS = (
    ("notebooks/README.md", "course"),
    ("docs/claims.md", "claims"),
    ("docs/findings.md", "findings"),
    ("docs/scale.md", "scale"),
    ("docs/training.md", "training"),
    ("benchmarks/README.md", "benchmarks"),
    ("README.md", "readme"),
    ("CHANGELOG.md", "changelog"),
    ("CONTRIBUTING.md", "contributing"),
)
"""What else becomes a page: its source, and the page's name."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page before its frame."""

    name: str
    title: str
    body: str
    lesson: bool


def figure_html(figure: dict[str, object], number: int) -> str:
    """A place for a figure, and the script that draws it there once it is seen."""
    data = json.dumps(figure).replace("</", "<\\/")
    height = figure.get("layout", {}).get("height", 450)  # type: ignore[union-attr]
    return (
        f'<div class="figure" id="figure-{number}" style="min-height:{height}px"></div>'
        f'<script type="application/json" data-figure="figure-{number}">{data}</script>'
    )


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
    return Page(name=path.stem, title=title, body="\n".join(parts), lesson=True)


def document(source: str, name: str) -> Page:
    """The page of a Markdown file."""
    text = (ROOT / source).read_text()
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    body = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    body = re.sub(
        r"<h([23])>(.*?)</h\1>",
        lambda m: f'<h{m[1]} id="{_anchor(m[2])}">{m[2]}</h{m[1]}>',
        body,
    )
    shown = "Readme" if source == "README.md" else title[1] if title else name
    return Page(name=name, title=shown, body=body, lesson=False)


def _anchor(heading: str) -> str:
    """As GitHub makes them from a heading."""
    words = html.unescape(re.sub(r"<.*?>", "", heading)).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


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
    documents = [document(source, name) for source, name in DOCUMENTS]
    names = {f"notebooks/{one.name}.ipynb": one.name for one in lessons}
    names |= {f"{one.name}.ipynb": one.name for one in lessons}
    names |= dict(DOCUMENTS)
    names |= {"README.md": "course", "claims.md": "claims"}
    environment = Environment(
        loader=FileSystemLoader(ASSETS), undefined=StrictUndefined, autoescape=True
    )
    frame = environment.get_template("page.html")
    pages: Sequence[Page] = [*lessons, *documents]
    written = []
    for page in pages:
        own = names | ({"README.md": "readme"} if page.name != "course" else {})
        place = lessons.index(page) if page.lesson else -1
        text = frame.render(
            page=page,
            body=linked(page.body, own),
            lessons=lessons,
            documents=documents,
            before=lessons[place - 1] if place > 0 else None,
            after=lessons[place + 1] if 0 <= place < len(lessons) - 1 else None,
        )
        target = out / f"{page.name}.html"
        target.write_text(text)
        written.append(target)
    index = frame.render(
        page=Page(name="index", title="lensdepth", body="", lesson=False),
        body=environment.get_template("index.html").render(lessons=lessons, documents=documents),
        lessons=lessons,
        documents=documents,
        before=None,
        after=None,
    )
    (out / "index.html").write_text(index)
    style = HtmlFormatter(style="default").get_style_defs(".highlight")
    (out / "page.css").write_text((ASSETS / "page.css").read_text() + style)
    (out / "page.js").write_text((ASSETS / "page.js").read_text())
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    shutil.copy(script, out / "plotly.min.js")
    (out / "docs").mkdir()
    for picture in (ROOT / "docs").glob("*.png"):
        shutil.copy(picture, out / "docs" / picture.name)
    return [out / "index.html", *written]


def main() -> None:
    """Render what was executed."""
    parser = argparse.ArgumentParser(description="Render executed notebooks and documents.")
    parser.add_argument("executed", type=Path, help="folder of the executed notebooks")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "docs")
    asked = parser.parse_args()
    written = write(asked.executed, asked.out)
    print(f"{len(written)} pages: {written[0]}")


if __name__ == "__main__":
    main()
