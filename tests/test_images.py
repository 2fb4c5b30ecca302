"""Figures for paper: laid out so that nothing is cut, written whole with caption and numbers, or
refused in one line before any work."""

import csv
import io
import json
import re
import zlib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import results

from lensdepth import DepthModel, load_model, load_task, write_figures
from lensdepth import images as paper
from lensdepth.cli import main
from lensdepth.images import DRAWN, INCHES, for_print, packed, text_width
from lensdepth.images import Width as Columns
from lensdepth.plotting import layout_of
from lensdepth.report.gallery import check_folder, gallery
from lensdepth.tasks import Task


def missing() -> str:
    """Why figures cannot be drawn here; "" where they can."""
    try:
        paper.check_images(caller="test")
    except (ImportError, FileNotFoundError) as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def task() -> Task:
    model: DepthModel = load_model("tiny")
    return load_task("months", model, n=60)


# ---------------------------------------------------------------- refusals


def test_without_kaleido_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(paper, "version", absent)
    with pytest.raises(ImportError, match=r'not installed: pip install "lensdepth\[figures\]"'):
        paper.check_images(caller="here")
    monkeypatch.setattr(paper, "version", lambda _: "0.2.1")
    with pytest.raises(ImportError, match=r"here: .* kaleido 0\.2\.1 is older than 1"):
        paper.check_images(caller="here")


def test_without_a_browser_it_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paper, "version", lambda _: "1.5.0")
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="apt install chromium"):
        paper.check_images(caller="here")
    own = tmp_path / "chromium"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    paper.check_images(caller="here")
    assert paper.find_browser() == str(own)
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere', which is no program"):
        paper.check_images(caller="here")


def test_the_command_refuses_before_any_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("loaded a model")

    monkeypatch.setattr("lensdepth.model.load_model", never)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paper, "version", lambda _: "0.2.1")
    assert main(["report", "--figures", "figures"]) != 0
    assert "kaleido 0.2.1 is older than 1" in capsys.readouterr().err
    assert main(["report", "--figure-width", "two"]) == 2
    assert "--figure-width goes with --figures" in capsys.readouterr().err
    assert main(["report", "--figures", "figures", "--dry-run"]) == 2
    assert "--dry-run draws nothing" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_a_folder_of_figures_is_kept_unless_told(tmp_path: Path) -> None:
    (tmp_path / "figure-01-story.svg").write_text("old")
    with pytest.raises(FileExistsError, match=r"figure-01-story\.svg' exists.*--force"):
        check_folder(tmp_path, overwrite=False)
    check_folder(tmp_path, overwrite=True)
    with pytest.raises(NotADirectoryError, match="is a file"):
        check_folder(tmp_path / "figure-01-story.svg", overwrite=True)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_folder(tmp_path / "nowhere" / "figures", overwrite=False)


# ---------------------------------------------------------------- layout


def test_keys_share_lines_while_they_fit() -> None:
    keys = ["━━ one", "━━ two", "━━ three"]
    assert packed(keys, 1000) == ["━━ one\u2002━━ two\u2002━━ three"]
    both = text_width("━━ one  ━━ two")
    assert packed(keys, both) == ["━━ one\u2002━━ two", "━━ three"]
    assert packed(keys, 1) == keys
    assert text_width("<b>a&amp;b</b>") == text_width("a&b") == 3 * paper.LETTER


@pytest.mark.parametrize("width", ["one", "two"])
def test_every_figure_of_a_report_is_laid_out_for_its_columns(task: Task, width: Columns) -> None:
    shown = gallery(results.report(task))
    assert [one.number for one in shown] == list(range(1, len(shown) + 1))
    for one in shown:
        before = json.loads(str(one.figure.to_json()))
        made = for_print(one.figure, width=width)
        assert json.loads(str(one.figure.to_json())) == before
        assert layout_of(made).title.text is None
        assert layout_of(made).width == max(DRAWN[width], layout_of(one.figure).width or 0)
        assert layout_of(made).height / layout_of(made).width * INCHES[width] <= paper.HIGHEST + 0.5
        for note in layout_of(made).annotations:
            if note.name == "heading":
                assert all(text_width(x) < layout_of(made).width for x in note.text.split("<br>"))


def test_a_legend_of_many_lines_has_room_for_them() -> None:
    figure = go.Figure(
        [go.Scatter(x=[0, 1], y=[0, 1], name=f"a rather long name {i}") for i in range(6)]
    )
    figure.update_layout(
        showlegend=True, height=400, margin={"l": 40, "r": 20, "t": 80, "b": 100},
        legend={"orientation": "h", "y": -0.2},
    )  # fmt: skip
    made = for_print(figure)
    lines = 3, 2  # of two and of four names
    grown = layout_of(made).margin.b - layout_of(for_print(figure, width="two")).margin.b
    assert grown == (lines[0] - lines[1]) * paper.LINE


# ---------------------------------------------------------------- files


def pixels(png: bytes) -> np.ndarray:
    """Rows of RGB(A) bytes of a PNG of eight bits a channel, by hand."""
    at, parts, header = 8, b"", b""
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        body = png[at + 8 : at + 8 + size]
        header, parts = (body if kind == b"IHDR" else header), parts + body * (kind == b"IDAT")
        at += 12 + size
    across, down = (int.from_bytes(header[i : i + 4]) for i in (0, 4))
    n = {2: 3, 6: 4}[header[9]]
    raw = np.frombuffer(zlib.decompress(parts), np.uint8).reshape(down, 1 + across * n)
    rows, last = [], np.zeros(across * n, np.uint8)
    for kind, line in zip(raw[:, 0], raw[:, 1:], strict=True):
        row = line.copy()
        if kind == 2:
            row += last
        elif kind in (1, 3, 4):
            for i in range(len(row)):
                left, up = int(row[i - n]) if i >= n else 0, int(last[i])
                corner = int(last[i - n]) if i >= n else 0
                near = left + up - corner
                paeth = min((left, up, corner), key=lambda x: abs(near - x))
                add = {1: left, 3: (left + up) // 2, 4: paeth}[int(kind)]
                row[i] = (int(row[i]) + add) % 256
        rows.append(row)
        last = row
    return np.array(rows).reshape(down, across, n)


@pytest.mark.long
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_files_are_whole_and_nothing_touches_an_edge(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = results.report(task)
    chosen = [one for one in gallery(findings) if one.key in ("patch", "lens", "claims")]
    monkeypatch.setattr("lensdepth.report.gallery.gallery", lambda _: chosen)
    written = write_figures(findings, tmp_path / "figures", width="one")
    assert sorted(path.suffix for path in written) == sorted(
        [".svg", ".pdf", ".png", ".md", ".csv"] * 3
    )
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {p.name for p in written}
    for one in chosen:
        stem = tmp_path / "figures" / one.stem
        svg = stem.with_suffix(".svg").read_text(encoding="utf-8")
        assert re.search(r'<svg[^>]* width="3\.3in"', svg)
        assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        image = pixels(stem.with_suffix(".png").read_bytes())
        assert image.shape[1] == pytest.approx(3.3 * paper.DOTS, abs=2)
        for edge in (image[:3], image[-3:], image[:, :3], image[:, -3:]):
            assert (edge == 255).all()
        caption = stem.with_suffix(".md").read_text(encoding="utf-8")
        assert caption.startswith(f"**Figure {one.number}. {one.title}.** {one.caption}")
        rows = list(csv.reader(io.StringIO(stem.with_suffix(".csv").read_text())))
        assert len(rows) == 1 + len(one.frame())
    with pytest.raises(FileExistsError):
        write_figures(findings, tmp_path / "figures")
