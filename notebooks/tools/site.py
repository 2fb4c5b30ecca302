"""Brings into the documentation's site what stands outside docs/.

mkdocs calls the functions that begin with `on_` (`hooks` in mkdocs.yml): the reference gets a page
for each room of the public names, files of the project become pages, the rendered course is put
beside them, and links between files become links between pages. A link to a file that is no page
loses its target and keeps its words. The gallery's figures are drawn.
"""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from notebooks.tools.figures import drawn

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "lensdepth"
COURSE = ROOT / "out/course"
"""Where `notebooks.tools.pages` has rendered the course."""
OUTSIDE = {
    "course.md": "notebooks/README.md",
    "benchmarks.md": "benchmarks/README.md",
    "bundled-calendar.md": "lensdepth/bundled/calendar/README.md",
    "bundled-tiny.md": "lensdepth/bundled/tiny/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
"""Page -> the file of the project that it is."""
GALLERY = "gallery.md"
"""The page whose blocks are run, and their figures shown."""
REFERENCE = "api"
"""The entry of the navigation in whose place the reference stands."""


def public_names() -> dict[str, list[str]]:
    """Room of the package -> the public names that come from it, in the order of the stub."""
    rooms: dict[str, list[str]] = {}
    for node in ast.parse((PACKAGE / "__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                room = node.module or alias.name
                rooms.setdefault(room, []).append(alias.name)
    return rooms


def first_words(room: str) -> str:
    """The first paragraph of what a room says of itself."""
    place = PACKAGE.joinpath(*room.split("."))
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    said = ast.get_docstring(ast.parse(source.read_text())) or ""
    return said.partition("\n\n")[0]


def reference() -> Iterator[tuple[str, str]]:
    """The pages of the reference, each with its Markdown."""
    rooms = public_names()
    rows = []
    for room, names in rooms.items():
        page = f"{room.replace('.', '-')}.md"
        shown = ", ".join(f"[`{name}`]({page}#lensdepth.{name})" for name in names)
        rows.append(f"| [{room}]({page}) | {first_words(room).splitlines()[0]} | {shown} |")
        blocks = "\n\n".join(f"::: lensdepth.{name}" for name in names)
        # A room whose one public name is itself says of itself what it is.
        words = "" if names == [room] else f"{first_words(room)}\n\n"
        yield f"{REFERENCE}/{page}", f"# {room}\n\n{words}{blocks}\n"
    table = "\n".join(["| room | what it does | public names |", "| --- | --- | --- |", *rows])
    yield (
        f"{REFERENCE}/index.md",
        "# Reference\n\nEvery public name, `from lensdepth import NAME`, by the room that it "
        "stands in. The pages are made of the docstrings. Commands: `lensdepth --help`, and "
        f"`lensdepth COMMAND --help`, with examples.\n\n{table}\n",
    )


def lessons() -> list[str]:
    """Names of the course's pages that are there; notebook 10 is not where its model is not."""
    return sorted(path.stem for path in COURSE.glob("[0-9][0-9]_*.html"))


def linked(text: str, page: str, pages: set[str]) -> str:
    """Links to files of the project as links between pages; pictures stay those of docs/.

    Args:
        text: Markdown of a page.
        page: its name in the site, as "api/lens.md".
        pages: names of all pages.
    """
    source = ROOT / OUTSIDE.get(page, f"docs/{page}")
    names = {(ROOT / file): name for name, file in OUTSIDE.items()}
    names |= {ROOT / "docs" / one: one for one in pages - OUTSIDE.keys()}
    names |= {ROOT / f"notebooks/{one}.ipynb": f"course/{one}.html" for one in lessons()}
    names[ROOT / "README.md"] = "index.md"

    def changed(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        path, _, anchor = target.partition("#")
        file = Path(os.path.normpath(source.parent / path))
        if not path or ":" in path:
            return found[0]
        if mark:
            return f"![{words}]({os.path.relpath(file, (ROOT / 'docs' / page).parent)})"
        if file in names:
            place = os.path.relpath(names[file], Path(page).parent)
            # The readme's headings are none of the first page.
            kept = f"#{anchor}" if anchor and file != ROOT / "README.md" else ""
            return f"[{words}]({place}{kept})"
        outside = ROOT / "docs" not in file.parents or file.is_dir()
        return words if outside and file.exists() else found[0]

    return re.sub(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)", changed, text)


def on_config(config: "MkDocsConfig") -> None:
    """The reference's pages stand in the navigation where its entry is."""
    pages = sorted(name for name, _ in reference() if not name.endswith("index.md"))
    for entry in config.nav or []:
        for title, inside in entry.items():
            if inside == REFERENCE:
                entry[title] = [f"{REFERENCE}/index.md", *pages]


def on_files(files: "Files", config: "MkDocsConfig") -> None:
    """Pages and files from outside docs/ are among the site's."""
    from mkdocs.structure.files import File

    for name, source in OUTSIDE.items():
        text = (ROOT / source).read_text()
        # Cards begin with data for the hub.
        text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
        files.append(File.generated(config, name, content=text))
    for name, text in reference():
        files.append(File.generated(config, name, content=text))
    for path in sorted(COURSE.rglob("*")):
        if path.is_file():
            place = f"course/{path.relative_to(COURSE).as_posix()}"
            files.append(File.generated(config, place, abs_src_path=str(path)))


def on_page_markdown(markdown: str, *, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Links of a page; figures of the gallery."""
    pages = {file.src_uri for file in files.documentation_pages()}
    text = linked(markdown, page.file.src_uri, pages)
    return drawn(text) if page.file.src_uri == GALLERY else text
