"""What the command line says beside its results."""

import pytest

from lensdepth.cli.console import each_minute
from lensdepth.progress import counted, let_in


def test_a_log_has_one_line_a_minute(monkeypatch: pytest.MonkeyPatch, capsys):
    now = [0.0]
    monkeypatch.setattr("lensdepth.cli.console.time.monotonic", lambda: now[0])
    with each_minute(), counted(2, "report") as section:
        section(1)
        with counted(100, "patching") as update:
            for _ in range(100):
                now[0] += 1.3
                update(1)
    said = capsys.readouterr().err.splitlines()
    # After 61.1 and 122.2 s; a section took no time yet, and a part takes 1.3 s.
    assert said == [
        "lensdepth: report: 1 of 2, about 61 s left; patching: 47 of 100, about 69 s left",
        "lensdepth: report: 1 of 2, about 2 min left; patching: 94 of 100, about 8 s left",
    ]


def test_passes_within_a_part_do_not_start_its_clock_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("lensdepth.cli.console.time.monotonic", lambda: now[0])
    with each_minute(), counted(2, "patching") as update:
        now[0] = 40
        let_in()
        update(1)
        now[0] = 70
        let_in()
    said = capsys.readouterr().err.splitlines()
    assert said == ["lensdepth: patching: 1 of 2, about 70 s left"]
