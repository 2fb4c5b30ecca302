"""Files are whole or untouched, and as readable as before; tables are no programs."""

import os
import resource
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from lensdepth.writing import csv_text, whole_file, write_bytes, write_text


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="halfway"), whole_file(target) as partial:
        partial.write_text("new, but only ha")
        raise RuntimeError("halfway")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("umask")
def test_permissions_are_those_of_the_umask_or_of_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "umask", None)  # all threads share it: it is not to be touched
    target = tmp_path / "out.txt"
    with whole_file(target) as partial:
        assert mode(partial) == 0o600
        partial.write_text("new")
    assert mode(target) == 0o640
    for kept in (0o600, 0o666, 0o755):
        target.chmod(kept)
        write_text(target, "newer")
        assert (target.read_text(), mode(target)) == ("newer", kept)


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    real, link, dangling = tmp_path / "data" / "x.csv", tmp_path / "link", tmp_path / "dangling"
    real.write_text("old")
    link.symlink_to(real)
    dangling.symlink_to("data/y.csv")
    for path in (link, dangling):
        write_text(path, "new")
        assert path.is_symlink()
        assert path.read_text() == "new"
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["x.csv", "y.csv"]


def test_another_hard_link_keeps_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    write_text(tmp_path / "a", "new")
    assert [(tmp_path / name).read_text() for name in "ab"] == ["new", "old"]


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, ".hidden", "new\nline"])
def test_every_name_that_a_file_can_have(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "one")
    write_text(tmp_path / name, "two")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["two"]


def test_what_is_no_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "esc\x1b\n").mkdir()
    for path, said in (
        (tmp_path / "esc\x1b\n", r"esc\\x1b\\n' cannot be written: it is a folder"),
        (tmp_path / "pipe", "pipe' cannot be written: it is no ordinary file"),
        (tmp_path / "loop", "loop' cannot be written: "),
        (tmp_path / "nowhere" / "x", "there is no folder"),
        (tmp_path / ("n" * 256), "too long"),
        (Path("/proc/x"), "'/proc/x' cannot be written: "),
    ):
        with pytest.raises(OSError, match=said) as refused:
            write_text(path, "text")
        assert "\n" not in str(refused.value)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_write_protected_file_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.csv"
    target.write_text("mine")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(PermissionError, match=r"x\.csv' cannot be written: it is write-protected"):
        write_text(target, "theirs")
    assert target.read_text() == "mine"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 kB, or on one where no file may be longer than 16."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path],
        check=False,
        capture_output=True,
    )
    if made.returncode == 0:
        yield tmp_path
        subprocess.run(["umount", tmp_path], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, hard))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_with_the_path(full_disk: Path) -> None:
    target = full_disk / "x.html"
    write_bytes(target, b"old")
    with pytest.raises(OSError, match=r"x\.html' cannot be written: (No space|File too)") as full:
        write_bytes(target, b"new" * 30_000)
    assert "\n" not in str(full.value)
    assert target.read_bytes() == b"old"
    assert list(full_disk.iterdir()) == [target]


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "=cmd()": ["=1+1", "+1", "-1", "@x", "\tx", "\rx", " =x", "x=1", None],
            "number": [-1.5, 2, float("nan"), *[0.0] * 6],
            "mixed": [-1, "-1", None, *[True] * 6],
        }
    )
    frame["kind"] = pd.Categorical(["-a", "b", "-a", *["b"] * 6])
    safe, raw = csv_text(frame), csv_text(frame, raw=True)
    (tmp_path / "safe.csv").write_text(safe, newline="")
    (tmp_path / "raw.csv").write_text(raw, newline="")
    read = pd.read_csv(tmp_path / "safe.csv")
    assert list(read.columns) == ["'=cmd()", "number", "mixed", "kind"]
    assert list(read["'=cmd()"][:8]) == [
        "'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", " =x", "x=1",
    ]  # fmt: skip
    assert list(read["number"][:2]) == [-1.5, 2.0]
    assert list(read["mixed"][:2]) == ["-1", "'-1"]
    assert list(read["kind"][:2]) == ["'-a", "b"]
    again = pd.read_csv(tmp_path / "raw.csv")
    assert list(again["=cmd()"][:8]) == list(frame["=cmd()"][:8])
    assert frame["=cmd()"][0] == "=1+1"  # what was given is as it was


def test_a_table_without_texts_is_as_pandas_writes_it() -> None:
    frame = pd.DataFrame({"depth": [0, 1], "kl": [0.5, -2.0], "text": ["a", 'b,"c"']})
    assert csv_text(frame) == csv_text(frame, raw=True) == frame.to_csv(index=False)
    assert csv_text(pd.DataFrame({"a": []})) == "a\n"
