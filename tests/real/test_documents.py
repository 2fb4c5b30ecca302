"""Blocks of the documents that need SmolLM2 print what stands below them."""

from pathlib import Path

import blocks
import pytest
from plotly.graph_objects import Figure

BLOCKS = [
    pytest.param(one, id=f"{name}#{place}")
    for name, path in blocks.documents().items()
    for place, one in enumerate(blocks.blocks_of(path.read_text()))
    if one.needs == "SmolLM2"
]


@pytest.mark.parametrize("block", BLOCKS)
def test_what_a_block_prints(
    block: blocks.Block,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    # Figures as files have their own tests, where a browser is.
    monkeypatch.setattr(Figure, "write_image", lambda *_, **__: None)
    exec(compile(block.code, "a block", "exec"), {})
    assert capsys.readouterr().out == block.prints
