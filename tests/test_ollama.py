"""Names of Ollama: the file behind them, read where it lies."""

import hashlib
import json
from pathlib import Path
from typing import Any

import architectures
import ggufs
import pytest

from lensdepth.cli import main
from lensdepth.model import load_model
from lensdepth.ollama import find_blob, ollama_models

KINDS = "application/vnd.ollama.image."


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as Ollama makes it, with one model under four names."""
    monkeypatch.setenv("LENSDEPTH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "ollama"
    monkeypatch.setenv("OLLAMA_MODELS", str(folder))
    (folder / "blobs").mkdir(parents=True)
    model = ggufs.tiny(architectures.CONFIGS["qwen2"]())
    content = ggufs.write(model, tmp_path / "m.gguf", pre="qwen2").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (folder / "blobs" / f"sha256-{digest}").write_bytes(content)
    for place in (
        "registry.ollama.ai/library/toy/latest",
        "registry.ollama.ai/library/toy/0.5b-q4",
    ):
        name(folder, place, digest)
    name(folder, "registry.ollama.ai/somebody/toy/latest", digest)
    name(folder, "hf.co/owner/Toy-GGUF/Q4_K_M", digest)
    return folder


def name(folder: Path, place: str, digest: str, *kinds: str) -> None:
    layers: list[dict[str, Any]] = [
        {"mediaType": f"{KINDS}{kind}", "digest": f"sha256:{digest}", "size": 1}
        for kind in kinds or ("model",)
    ]
    layers += [{"mediaType": f"{KINDS}template", "digest": f"sha256:{'0' * 64}", "size": 1}]
    path = folder / "manifests" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))


def complaint(given: str) -> str:
    with pytest.raises(ValueError) as caught:
        load_model(given)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("load_model: ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("ollama:toy", "ollama:toy:latest"),
        ("ollama:toy:latest", "ollama:toy:latest"),
        ("ollama:toy:0.5b-q4", "ollama:toy:0.5b-q4"),
        ("ollama:somebody/toy", "ollama:somebody/toy:latest"),
        ("ollama:hf.co/owner/Toy-GGUF:Q4_K_M", "ollama:hf.co/owner/Toy-GGUF:Q4_K_M"),
    ],
)
def test_a_name_is_the_file_behind_it(held: Path, given: str, full: str) -> None:
    found, blob, digest = find_blob(given)
    assert (found, blob.name) == (full, f"sha256-{digest}")
    info = load_model(given).info
    assert info.name == full
    assert info.origin == f"Ollama's {full.removeprefix('ollama:')}, SHA-256 {digest}"
    assert info.quantization.startswith("F32")


def test_the_home_folder_is_looked_in(
    held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLLAMA_MODELS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "There is no such folder; OLLAMA_MODELS names it" in complaint("ollama:toy")
    (tmp_path / ".ollama").mkdir()
    held.rename(tmp_path / ".ollama" / "models")
    assert load_model("ollama:toy").info.n_layers == 3


def test_what_is_not_there_is_one_line(held: Path) -> None:
    said = complaint("ollama:toyy")
    assert "Ollama holds no 'toyy:latest' in" in said
    assert "'ollama:toy:latest'" in said
    assert "is no name of Ollama's" in complaint("ollama:../../etc/passwd")
    assert "is no name of Ollama's" in complaint("ollama:")
    assert "is no name of Ollama's" in complaint("ollama:a/b/c/d")
    with pytest.raises(ValueError, match="file='x' has no meaning for Ollama's 'ollama:toy'"):
        load_model("ollama:toy", file="x")
    digest = find_blob("ollama:toy")[2]
    (held / "blobs" / f"sha256-{digest}").rename(held / "elsewhere")
    assert "'ollama pull toy:latest' fetches them" in complaint("ollama:toy")


def test_what_is_more_than_a_file_or_damaged_is_refused(held: Path) -> None:
    digest = find_blob("ollama:toy")[2]
    name(held, "registry.ollama.ai/library/tuned/latest", digest, "model", "adapter")
    assert "puts an adapter on 'tuned:latest'" in complaint("ollama:tuned")
    name(held, "registry.ollama.ai/library/eyes/latest", digest, "model", "projector")
    assert load_model("ollama:eyes").info.n_layers == 3
    name(held, "registry.ollama.ai/library/none/latest", digest, "system")
    assert "names 0 files of weights" in complaint("ollama:none")
    name(held, "registry.ollama.ai/library/odd/latest", "../../x")
    assert "names 'sha256:../../x'; the digest of one is needed" in complaint("ollama:odd")
    (held / "manifests" / "registry.ollama.ai" / "library" / "none" / "latest").write_text("{")
    assert "manifest of 'none:latest' cannot be read" in complaint("ollama:none")
    blob = held / "blobs" / f"sha256-{digest}"
    blob.write_bytes(blob.read_bytes()[:-7])
    assert "is not what it was: its SHA-256 is" in complaint("ollama:toy")


def test_what_ollama_holds_is_listed(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["hf.co/owner/Toy-GGUF:Q4_K_M", "toy:0.5b-q4", "toy:latest", "somebody/toy:latest"]
    assert ollama_models() == wanted
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["ollama"] == wanted
    assert main(["models"]) == 0
    assert "ollama:toy:latest" in capsys.readouterr().out
