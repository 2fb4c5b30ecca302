"""After any end of a run there is the old or the new; what it left goes at the next start."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import strikes

from lensdepth.unfinished import complete, hidden, sweep, whole_name
from lensdepth.writing import check_writable, whole_files, write_text

pytestmark = pytest.mark.long

NAME, SECOND, LINK = (f".x.0123456789abcde{end}.lensdepth" for end in "def")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_sweep_takes_what_nobody_holds(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("of a killed run")
    (tmp_path / SECOND).mkdir()
    (tmp_path / SECOND / "page").write_text("too")
    (tmp_path / LINK).symlink_to(tmp_path / "mine")
    others = ["mine", ".x.lensdepth", ".x.0123.lensdepth", NAME[1:], f"{NAME}.bak"]
    for name in others:
        (tmp_path / name).write_text("somebody's")
    with hidden(tmp_path / "a") as file, hidden(tmp_path / "b", folder=True) as folder:
        sweep(tmp_path)
        assert names(tmp_path) == sorted([*others, file.name, folder.name, LINK])
    assert names(tmp_path) == sorted([*others, LINK])


@pytest.mark.parametrize("write", [lambda path: write_text(path, "new"), check_writable])
def test_the_next_writer_sweeps(tmp_path: Path, write: object) -> None:
    (tmp_path / NAME).write_text("of a killed run")
    assert callable(write)
    write(tmp_path / "y.csv")
    assert NAME not in names(tmp_path)


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from lensdepth.writing import whole_file\n"
        "with whole_file(sys.argv[1]) as partial:\n"
        "    partial.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    target = tmp_path / "x.csv"
    target.write_text("old")
    done = subprocess.run([sys.executable, "-c", program, target], check=False)
    assert done.returncode == -9
    assert len(names(tmp_path)) == 2
    sweep(tmp_path)
    assert names(tmp_path) == ["x.csv"]
    assert target.read_text() == "old"


def test_no_signal_at_any_moment_leaves_half_of_two(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.strikes", tmp_path],
        cwd=Path(__file__).parents[1],
        check=True,
        stdout=subprocess.PIPE,
    )
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    tally = told["tally"]
    # Put off, they let the write end; a kill leaves the one or the other by when it comes.
    assert {*tally} == {"INT twice: new", "TERM: new", "KILL: old", "KILL: new", "KILL: none"}
    assert min(tally.values()) > 20


def test_many_at_once_never_mix(tmp_path: Path) -> None:
    def work(run: int) -> None:
        for _ in range(5):
            strikes.replace(tmp_path, str(run))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    run, others = strikes.found(tmp_path)
    assert run in {"0", "1", "2", "3"}
    assert others == []


def test_a_folder_that_cannot_be_moved_stays_with_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strikes.replace(tmp_path, "old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self == tmp_path / "r_tables":
            raise OSError(18, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match=r"r\.html' cannot be written: Invalid cross-device link"):
        strikes.replace(tmp_path, "new")
    assert strikes.found(tmp_path) == ("old", [])


def test_what_came_to_be_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first report, killed when it was finished, and then a page by hand."""
    page, tables = tmp_path / "r.html", tmp_path / "r_tables"
    monkeypatch.setattr("lensdepth.unfinished._go_on", lambda _: None)
    with whole_files(page, tables) as (new_page, new_tables):
        new_page.write_text("finished")
        new_tables.mkdir()
    monkeypatch.undo()
    page.write_text("by hand")
    with pytest.raises(FileExistsError, match=r"r\.html' was made while its successor waited"):
        complete(whole_name(page))
    write_text(tmp_path / "other.csv", "is not kept from being written")
    assert page.read_text() == "by hand"
    page.unlink()
    sweep(tmp_path)
    assert page.read_text() == "finished"
    assert names(tmp_path) == ["other.csv", "r.html", "r_tables"]


def test_another_users_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that all may write to, somebody could have left a trap."""
    (tmp_path / NAME).write_text("of another user")
    whole = whole_name(tmp_path / "r.html")
    whole.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    sweep(tmp_path)
    with pytest.raises(PermissionError, match="another user's"):
        complete(whole)
    assert names(tmp_path) == sorted([NAME, whole.name])


def test_permissions_of_a_whole_are_kept(tmp_path: Path) -> None:
    strikes.replace(tmp_path, "old")
    modes = {"r.html": 0o640, "r_tables": 0o750, "r_tables/a": 0o600}
    for name, kept in modes.items():
        (tmp_path / name).chmod(kept)
    strikes.replace(tmp_path, "new")
    assert {name: (tmp_path / name).stat().st_mode & 0o777 for name in modes} == modes
    assert strikes.found(tmp_path) == ("new", [])
