"""The page on large models: its code runs, and its table is what the script counts."""

from pathlib import Path

import pytest

from benchmarks.computed import MODELS, cost, table
from benchmarks.large import Sizes

PAGE = (Path(__file__).parents[1] / "docs" / "large-models.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_the_table_is_what_is_counted() -> None:
    name = "1B"
    *_, row = table({name: cost(MODELS[name])}).splitlines()
    assert row in PAGE.splitlines()


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (part.partition("```")[0] for part in PAGE.split("```python\n")[1:])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    exec(compile(block, "large-models.md", "exec"), {})


def test_operations_are_counted_by_hand() -> None:
    """A block of Llama 3.1 8B has 218,103,808 weights in its matrices, and all of it 8.03 billion
    with its norms."""
    sizes = Sizes.of(MODELS["8B"])
    assert sizes.block == 4096 * 4096 * 2 + 2 * 4096 * 1024 + 3 * 4096 * 14336 == 218_103_808
    assert round(sizes.parameters / 1e9, 2) == 8.03
    assert sizes.block_flops(10) == 2 * 218_103_808 + 4 * 4096 * 10
