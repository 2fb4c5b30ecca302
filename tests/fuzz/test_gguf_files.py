"""GGUF files: a damaged one is refused in a line, or is another model by its own word."""

from pathlib import Path
from tempfile import TemporaryDirectory

import architectures
import ggufs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.judge import Refused, inputs, judged
from lensdepth.converted import digest
from lensdepth.model import load_model

HEADER = 1500
"""Bytes in which most of what is not a list of tokens stands."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    root = tmp_path_factory.mktemp("ggufs")
    made = []
    for architecture in ("llama", "gemma3", "phi3", "gpt2"):
        model = ggufs.tiny(architectures.CONFIGS[architecture]())
        made.append(ggufs.write(model, root / architecture, kind="Q8_0").read_bytes())
    return made


@inputs(few=20, of_20_000=600)
@given(
    which=st.integers(0, 3),
    places=st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(1, 255)), max_size=4),
    keep=st.one_of(st.none(), st.floats(0, 1)),
)
def test_a_damaged_file(
    files: list[bytes], which: int, places: list[tuple[float, bool, int]], keep: float | None
) -> None:
    content = bytearray(files[which])
    for where, early, flip in places:
        content[int(where * (min(HEADER, len(content)) if early else len(content) - 1))] ^= flip
    if keep is not None:
        content = content[: int(keep * len(content))]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENSDEPTH_CACHE", f"{folder}/cache")
        path = Path(folder) / "m.gguf"
        path.write_bytes(content)
        found = judged(lambda: load_model(path, backend="bridge").info)
        if not isinstance(found, Refused):
            assert found.origin == f"m.gguf, SHA-256 {digest(path)}"
