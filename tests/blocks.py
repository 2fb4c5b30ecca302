"""The code blocks of readme and documents: what stands in each, and what is said below it."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]*)\")?\n(?P<code>.*?)^```$"
    r"(?:\n\n(?P<verb>prints|says)\n\n```text\n(?P<below>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
NEEDS = "needs "


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fence, and the text that a block of Python prints or fails with."""

    language: str
    code: str
    title: str = ""
    """A file's name; or what the block needs that is not here, as readers see it too."""
    prints: str | None = None
    says: str | None = None

    @property
    def needs(self) -> str:
        """What must be there for it to run; "" for nothing but lensdepth."""
        return self.title.removeprefix(NEEDS) if self.title.startswith(NEEDS) else ""


def blocks_of(text: str) -> list[Block]:
    """All of a document, in order; of what a block says the text alone is no block."""
    return [
        Block(
            language=found["language"],
            code=found["code"],
            title=found["title"] or "",
            **({found["verb"]: found["below"]} if found["verb"] else {}),
        )
        for found in FENCE.finditer(text)
    ]


def documents() -> dict[str, Path]:
    """Readme and documents by their names from the root."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {path.relative_to(ROOT).as_posix(): path for path in paths}


def lay_out(folder: Path, blocks: list[Block]) -> None:
    """Put what blocks of Python may name into a folder: the files that stand on their page as
    blocks, and a model."""
    from lensdepth.bundled import bundled_path

    shutil.copytree(bundled_path("tiny"), folder / "my-model")
    for block in blocks:
        if block.title and not block.needs:
            (folder / block.title).write_text(block.code)
