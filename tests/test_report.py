"""The report: whole, self-contained, inert, and honest about what is absent."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
import results
import torch

from lensdepth.lens import TunedLens
from lensdepth.mistakes.profile import MistakeProfile
from lensdepth.model import DepthModel
from lensdepth.plotting import layout_of
from lensdepth.report import Report, build, build_report, facts
from lensdepth.report.build import check_output, report_place, tables_of, write_report
from lensdepth.report.captions import caption, steepest
from lensdepth.report.measured import ON_REQUEST, PENDING, STOPPED, UNASKED, Measured
from lensdepth.report.overview import overview
from lensdepth.report.sections import sections
from lensdepth.tasks import Task, load_task
from lensdepth.telling.curves import Curve
from lensdepth.telling.numbers import number
from lensdepth.transition import find_crossing, find_transition
from lensdepth.unfinished import whole_name

pytestmark = pytest.mark.long

HOSTILE = "<script>alert(1)</script><|endoftext|>&\"'"


@pytest.fixture(scope="module")
def model(load_tiny: Callable[[str, str], DepthModel]) -> DepthModel:
    return load_tiny("llama", "bridge")


@pytest.fixture(scope="module")
def task(model: DepthModel) -> Task:
    return load_task("months", model, n=60)


@pytest.fixture(scope="module")
def report(model: DepthModel, task: Task, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return build_report(model, task, out=tmp_path_factory.mktemp("report") / "months.html")


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return report.path.read_text(encoding="utf-8")


def without_plotly(text: str) -> str:
    start = text.index('<script id="plotly">')
    return text[:start] + text[text.index("</script>", start) :]


def test_the_page_is_self_contained(text: str) -> None:
    assert text.count("plotly.js v") == 1
    assert len(text.encode()) < 6_000_000
    rest = without_plotly(text)
    assert not re.findall(r"(?:src|href|action|url)\s*[=(]\s*[\"']?\s*(?:https?:)?//", rest)
    assert "<link" not in rest
    assert "default-src 'none'" in rest
    assert rest.startswith('<!doctype html>\n<html lang="en">')


def test_every_analysis_is_there(report: Report, text: str) -> None:
    rest = without_plotly(text)
    keys = ("story", "lens", "patch", "steering", "locality", "ablation", "dose", "decoding",
            "geometry")  # fmt: skip
    for key in ("overview", "claims", *keys, "provenance"):
        assert f'<section id="{key}"' in rest
    exhibits = ("tokens", "made_of", "cka", "procrustes", "coupling")
    for key in (*keys, *exhibits):
        assert f'id="{key}-json"' in rest
    assert rest.count('role="img" aria-label="') == len(keys) + len(exhibits)
    assert rest.count('type="application/json" id="') == len(keys) + len(exhibits) + 1
    assert "<noscript>" in rest
    assert report.lens.provenance.model.fingerprint in rest
    assert "not a finding" in rest
    assert len(report.plot().to_plotly_json()["data"]) > 10


def test_the_page_opens_with_what_was_asked_found_and_spent(task: Task, tmp_path: Path) -> None:
    findings = results.report(task, seconds={"lens": 30.4, "patch": 100.0}, runs=1234)
    left = {"geometry": None, "absent": {"geometry": UNASKED}}
    written = write_report(replace(findings, **left), tmp_path / "r.html", tmp_path / "r_tables")
    text = unescape(without_plotly(written.path.read_text(encoding="utf-8")))
    first = re.sub(r"\s+", " ", text[text.index('id="overview"') : text.index('id="claims"')])
    assert "Where in its 8 blocks does toy stop reading and form its answer to 30 pairs" in first
    assert "Control passes to the last token" in first
    assert "Moved by direction · by norm" in first
    assert re.search(r"\d+ independent units \(pairs\), over which 95% intervals go", first)
    assert "Not measured: Geometry; other models, tasks and wordings." in first
    assert "Took 2 min on cpu, float32; 1,234 edited runs." in first
    assert written.summary["runs"] == 1234


def test_contents_lead_to_every_section_and_figures_are_numbered(report: Report, text: str) -> None:
    rest = without_plotly(text)
    contents = rest[rest.index('<details id="contents"') : rest.index("</nav>")]
    led = re.findall(r'href="#(\w+)"', contents)
    assert led == re.findall(r'<section id="(\w+)"', rest)
    numbers = [int(n) for n in re.findall(r'<figure id="figure-(\d+)"', rest)]
    assert numbers == list(range(1, len(numbers) + 1))
    captions = re.findall(r"<figcaption><b>Figure (\d+)\.</b> (.*?) <button", rest)
    assert [int(n) for n, _ in captions] == numbers
    assert all(said.endswith(".") for _, said in captions)


def test_nothing_that_is_said_of_a_result_is_left_out(text: str, report: Report) -> None:
    """What the page's first view leaves out is in a fold."""
    said = unescape(without_plotly(text))
    for section in sections(report):
        assert section.note in said
        assert all(sentence in said for sentence in (*section.sentences, *section.footnotes))
        assert all(one.note in said and one.caption in said for one in section.exhibits)


def test_captions_say_what_was_measured(task: Task) -> None:
    findings = results.report(task)
    assert caption(findings, "story") == (
        "Control passes at 50% of the depth and the lens switches at 62% of the depth."
    )
    assert "falls most between depth 4 and 5" in caption(findings, "lens")
    assert "at the prediction position the share rises most between depth 3 and 4" in caption(
        findings, "patch"
    )
    one, two = (results.ablation(direction=x) for x in (0.9, 0.2))
    parts = [caption(replace(findings, ablation=x), "ablation") for x in (one, two)]
    assert parts[0] != parts[1]
    assert "the direction moves 0.20" in parts[1]
    none = replace(findings, crossing=None, transition=None)
    assert caption(none, "story") == "There is no strip: no switch is located."
    flat = Curve.from_interval("it", [1.0, 1.0, 1.0], role="lens")
    assert steepest(flat, "it") == "it stays near 1.00"
    unknown = Curve.from_interval("it", [float("nan")] * 3, role="lens")
    assert steepest(unknown, "it") is None


def test_tables_and_summary_lie_beside_it(report: Report) -> None:
    assert report.tables == report.path.with_name("months_tables")
    assert sorted(p.stem for p in report.tables.glob("*.parquet")) == [
        "ablation", "claims", "crossing", "decoding", "dose", "geometry", "geometry_maps", "lens",
        "locality",
        "patch", "steering", "steering_crossing", "task", "transition",
    ]  # fmt: skip
    assert report.patch is not None
    stored = pd.read_parquet(report.tables / "patch.parquet")
    pd.testing.assert_frame_equal(stored, report.patch.to_frame())
    summary = json.loads((report.tables / "summary.json").read_text())
    assert summary == json.loads(json.dumps(report.summary))
    assert set(summary) >= {
        "provenance", "task", "lens", "patch", "steer", "ablate", "dose", "decoding", "geometry",
        "claims", "absent",
    }  # fmt: skip
    assert sorted(p.name for p in report.path.parent.iterdir()) == ["months.html", "months_tables"]


def test_the_csv_is_the_table_on_the_page(text: str, report: Report) -> None:
    links = re.findall(r'href="data:text/csv;charset=utf-8,([^"]*)" download="(\w+)\.csv"', text)
    assert [name for _, name in links] == [
        f"{key}_by_depth"
        for key in ("lens", "patch", "steering", "locality", "ablation", "decoding", "geometry")
    ]
    rows = list(csv.DictReader(io.StringIO(unquote(unescape(links[0][0])))))
    assert [row["depth"] for row in rows] == [str(d) for d in range(report.lens.n_layers + 1)]
    assert [row["after"] for row in rows] == [
        "the embedding", "after block 0", "after block 1", "after block 2, the last",
    ]  # fmt: skip
    kl = report.lens.kl.nanmean((1, 2))
    assert [float(row["kl"]) for row in rows] == pytest.approx(kl.tolist(), rel=1e-4, abs=1e-6)
    for row in rows:
        shown = f"<td>{number(float(row['kl']))}"
        assert shown in text


def test_what_users_write_stays_text(task: Task, tmp_path: Path) -> None:
    hostile = replace(
        task, name=HOSTILE, clean=(HOSTILE,) * len(task), target=(HOSTILE,) * len(task)
    )
    findings = results.report(hostile, name=HOSTILE)
    lens = replace(findings.lens, vocabulary={"0": HOSTILE, "1": HOSTILE})
    findings = replace(findings, lens=lens, tokens=lens)
    written = write_report(findings, tmp_path / "r.html", tmp_path / "r_tables")
    rest = without_plotly(written.path.read_text(encoding="utf-8"))
    assert "<script>alert" not in rest
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in rest
    assert "<|endoftext|>" not in rest
    blobs = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', rest, flags=re.S)
    assert len(blobs) == 15
    for blob in blobs:
        assert not set("<>&") & set(blob)
        json.loads(blob)


def test_planted_numbers_are_said(task: Task, tmp_path: Path) -> None:
    written = write_report(results.report(task), tmp_path / "r.html", tmp_path / "r_tables")
    text = unescape(without_plotly(written.path.read_text(encoding="utf-8")))
    assert "Control passes from the input position to the prediction position between depth" in text
    assert "the direction moves more, by 0.8" in text
    assert "this is arithmetic, not a finding" in text
    row = text[text.index("patching, crossing") :]
    assert [cell.strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)[:5]] == [
        "4.00", "resampling the units does not move it", "crossing", "", "steering, crossing",
    ]  # fmt: skip
    # Both curves were planted at one place.
    row = text[text.index(">steering, crossing<") :]
    cells = [cell.strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)[:4]]
    assert cells[3] == "0.00, at the same depth"


def test_the_page_opens_with_the_verdicts(task: Task, tmp_path: Path) -> None:
    claims = results.claims(**{"C1 width": 0.6, "C7 not additive": None})
    findings = results.report(task, claims=claims)
    written = write_report(findings, tmp_path / "r.html", tmp_path / "r_tables")
    text = unescape(without_plotly(written.path.read_text(encoding="utf-8")))
    assert "and C7b (global: through other layers) are supported; C1 (sharp causal transi" in text
    assert "is contradicted, by its statement \u201cwidth\u201d; C7c stays open." in text
    first = text[text.index('<section id="overview"') : text.index('<section id="claims"')]
    verdicts = re.findall(r"<b>(C\w+)</b></a> .*?</i> ([a-z ]+)</b></td><td>(\S*?)<", first)
    assert [claim for claim, *_ in verdicts] == [one.claim for one in claims.claims]
    assert verdicts[0] == ("C1", "contradicted", "0.60")
    row = text[text.index("<b>C1</b> sharp causal transition") :]
    row = row[: row.index("</tr>")]
    for shown in ("✗</i> contradicted", ">width<", "0.60<", "0.58 to 0.62", "< 0.25<", "< 0.001<"):
        assert shown in row
    assert "C7c: too few." in text
    assert written.summary["claims"]["claims"][0]["verdict"] == "contradicted"
    assert set(pd.read_parquet(written.tables / "claims.parquet").statement) >= {"C1 width"}


def test_no_switch_no_zone(task: Task, tmp_path: Path) -> None:
    lens, patch = results.lens(flat=True), results.patch(None)
    steering = results.steering(None)
    findings = results.report(
        task,
        lens=lens,
        patch=patch,
        transition=find_transition(lens, n_resamples=50),
        crossing=find_crossing(patch, n_resamples=50),
        steering=steering,
        steering_crossing=find_crossing(steering, n_resamples=50),
    )
    written = write_report(findings, tmp_path / "r.html", tmp_path / "r_tables")
    text = unescape(without_plotly(written.path.read_text(encoding="utf-8")))
    assert "The two curves do not cross" in text
    assert "The lens shows no transition" in text
    assert "No switch was located, so no zone is drawn" in text
    assert 'class="zone"' not in text
    assert not [s for s in layout_of(written.plot()).shapes if s.type == "rect"]


def test_a_tuned_lens_stands_beside_the_logit_lens(task: Task, tmp_path: Path) -> None:
    plain = results.lens(3.0)
    made = {"kind": "tuned", "analysis": "fit_tuned_lens", "created": "2026", "fingerprint": "ab",
            "settings": {}}  # fmt: skip
    given = replace(plain.provenance, settings={"translators": made})
    tuned = replace(plain, provenance=given)
    findings = results.report(
        task, tuned=tuned, tuned_transition=find_transition(tuned, n_resamples=50)
    )
    written = write_report(findings, tmp_path / "r.html", tmp_path / "r_tables")
    text = unescape(without_plotly(written.path.read_text(encoding="utf-8")))
    (lens,) = [one for one in sections(findings) if one.key == "lens"]
    assert lens.sentences[0].startswith("The divergence of the lens from")
    assert lens.sentences[1].startswith("The divergence of the tuned lens from the final")
    assert [one.key for one in lens.exhibits] == ["tuned", "tokens"]
    assert "Tuned lens switches" in text
    assert "fit_tuned_lens, 2026, ab" in text
    rows = {row["definition"]: row["depth"] for row in written.summary["switches"]}
    assert rows["logit lens, sigmoid"] == pytest.approx(5, abs=0.3)
    assert rows["tuned lens, sigmoid"] == pytest.approx(3, abs=0.3)
    assert written.summary["tuned_lens"]["transition"]["depth"] == rows["tuned lens, sigmoid"]
    assert written.summary["tuned_lens"]["translators"] == made
    assert (written.tables / "tuned_lens.parquet").is_file()


def test_a_tuned_lens_of_another_model_is_refused_before_any_work(
    model: DepthModel, task: Task, tmp_path: Path
) -> None:
    other = TunedLens(
        provenance=replace(results.provenance(), prompts=()), kind="tuned",
        weights=torch.zeros(8, 4, 4), bias=torch.zeros(8, 4), kl_before=None, kl_after=None,
    )  # fmt: skip
    with pytest.raises(ValueError, match="build_report: translators belong to"):
        build_report(model, task, out=tmp_path / "r.html", translators=other)
    assert not [*tmp_path.iterdir()]


def test_right_and_wrong_answers_have_a_section_where_there_are_enough(
    task: Task, model: DepthModel, tmp_path: Path
) -> None:
    findings = results.report(task)
    assert "mistakes" not in [one.key for one in sections(findings)]
    some = load_task("months", model, n=40, keep="all")
    depths = torch.tensor([2.0, 3.0] * 20)
    wrong = torch.arange(40) % 4 < 2
    profile = MistakeProfile(
        provenance=replace(results.provenance(), prompts=tuple(some.clean)),
        by="lens", depths=depths + wrong, wrong=wrong, answers=("a",) * 40, targets=("b",) * 40,
        verdict="later", reason="", difference=1.0, low=0.5, high=1.5, p=0.001,
        units={"prompt": 40},
    )  # fmt: skip
    findings = replace(findings, mistakes=profile)
    (section,) = (one for one in sections(findings) if one.key == "mistakes")
    assert "wrong answers form later than right ones" in section.sentences[0]
    written = write_report(findings, tmp_path / "r.html", tmp_path / "r_tables")
    assert written.summary["mistakes"]["verdict"] == "later"
    assert len(pd.read_parquet(written.tables / "mistakes.parquet")) == 40
    text = unescape(without_plotly(written.path.read_text(encoding="utf-8")))
    assert "Right and wrong answers" in text


def test_processed_weights_carry_a_notice(task: Task) -> None:
    findings = results.report(task)
    assert not facts.notices(findings)
    lens = replace(findings.lens, provenance=results.provenance(weights="processed"))
    assert "processed" in facts.notices(replace(findings, lens=lens))[0]


def test_plain_prompts_have_lens_and_geometry_alone(model: DepthModel, tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    words = ("March", "May", "June", "July")
    path.write_text("prompt\n" + "".join(f"Two months from {w} is\n" for w in words))
    made = build_report(model, load_task(path, model), out=tmp_path / "r.html")
    assert made.patch is made.crossing is made.steering is made.ablation is made.dose is None
    assert made.geometry is not None
    text = without_plotly(made.path.read_text())
    assert text.count("Not measured: the task has plain prompts alone") == 5
    assert text.count("Not tested: the task has plain prompts alone") == 1
    assert "Control passes" not in text
    assert "patch" not in made.summary


def test_two_prompts_have_no_geometry(model: DepthModel, task: Task, tmp_path: Path) -> None:
    made = build_report(model, task.select([0, 1]), out=tmp_path / "r.html")
    assert made.geometry is None
    assert "needs at least 3 different prompts, and there are 2" in made.path.read_text()
    assert made.patch is not None


def test_one_pair_has_no_interval_and_says_so(
    model: DepthModel, task: Task, tmp_path: Path
) -> None:
    made = build_report(model, task.select([0]), out=tmp_path / "r.html")
    text = unescape(without_plotly(made.path.read_text()))
    assert "There is only one prompt or pair: no interval can be given." in text
    assert "nan" not in re.sub(r"<[^>]*>", " ", text.split("<main>")[1].lower()).split()


def test_an_existing_report_is_kept_unless_told(
    model: DepthModel, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r.html"
    out.write_text("old")
    with pytest.raises(FileExistsError, match=r"r\.html' exists.*--force"):
        build_report(model, task, out=out)
    assert out.read_text() == "old"
    folder = tmp_path / "r_tables"
    folder.mkdir()
    (folder / "lens.parquet").write_text("old")
    monkeypatch.setattr("lensdepth.report.build.stages", lambda *_, **__: [results.report(task)])
    build_report(model, task, out=out, overwrite=True)
    assert out.read_text().startswith("<!doctype html>")
    assert len(pd.read_parquet(folder / "lens.parquet")) > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r_tables"]


def test_a_folder_that_is_no_report_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "r_tables"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"thesis\.txt"):
        check_output(tmp_path / "r.html", folder, overwrite=True)
    (tmp_path / "s_tables").write_text("a file")
    with pytest.raises(FileExistsError, match="which is a file"):
        check_output(tmp_path / "s.html", tmp_path / "s_tables", overwrite=True)


def test_what_cannot_be_written_is_found_out_before_any_work(
    model: DepthModel, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured before the output was checked")

    monkeypatch.setattr("lensdepth.report.build.stages", never)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        build_report(model, task, out=tmp_path / "nowhere" / "r.html")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        build_report(model, task, out=tmp_path)
    with pytest.raises(ValueError, match=r"\.html file"):
        build_report(model, task, out=tmp_path / "r.pdf")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lensdepth.unfinished._make", refuse)
    with pytest.raises(PermissionError, match="cannot write into"):
        build_report(model, task, out=tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["stages", "render", "write_text"])
def test_a_failure_leaves_what_was_there(
    model: DepthModel,
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    out, folder = tmp_path / "r.html", tmp_path / "r_tables"
    write_report(results.report(task), out, folder)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    real = getattr(build, failing)

    def fail(*args: object, **options: object) -> None:
        if failing == "write_text" and "summary" in str(args[0]):
            real(*args, **options)
        else:
            raise OSError("no space left")

    monkeypatch.setattr(build, "stages", lambda *_, **__: [results.report(task)])
    monkeypatch.setattr(build, failing, fail)
    with pytest.raises(OSError, match="no space left"):
        build_report(model, task, out=out, overwrite=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_pages_come_while_it_is_measured_and_ctrl_c_leaves_the_last(
    model: DepthModel,
    task: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    page = tmp_path / "r.html"
    seen = []

    def look() -> str:
        return unescape(without_plotly(page.read_text())) if page.exists() else ""

    def arriving(*_: object, **__: object) -> Iterator[Measured]:
        first: dict[str, Any] = {"patch": None, "crossing": None, "steering": None, "claims": None}
        absent = dict.fromkeys(("patch", "steering", "claims"), PENDING)
        yield results.report(task, **first, absent=absent)
        seen.append(look())
        later: dict[str, Any] = {"steering": None, "claims": None}
        yield results.report(task, **later, absent=dict.fromkeys(later, PENDING))
        seen.append(look())
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "stages", arriving)
    monkeypatch.setattr(build, "FIRST_PAGE", 0.0)
    monkeypatch.setattr(build, "NEXT_PAGE", 0.0)
    with pytest.raises(KeyboardInterrupt):
        build_report(model, task, out=page)
    assert "Still being measured: Patching" in seen[0]
    assert "Control passes" in seen[1]
    last = look()
    assert "Still being measured" not in last
    assert "Stopped before these: Steering" in last
    assert f"Not measured: {STOPPED}" in last
    assert "r.html' holds what was measured" in caplog.text
    assert json.loads((tmp_path / "r_tables" / "summary.json").read_text())["absent"] == {
        "steering": STOPPED, "claims": STOPPED
    }  # fmt: skip


def test_sections_that_were_not_asked_for_say_so(
    model: DepthModel, task: Task, tmp_path: Path
) -> None:
    made = build_report(model, task.select(range(8)), out=tmp_path / "r.html", sections=("dose",))
    assert made.patch is not None
    assert made.crossing is not None
    assert made.dose is not None
    left = {"steering", "locality", "ablation", "decoding", "geometry", "claims"}
    assert {name for name, why in made.absent.items() if why == UNASKED} == left
    assert all(getattr(made, name) is None for name in left)
    with pytest.raises(ValueError, match=r"sections must be some of lens, patch, .* got 'dosis'"):
        build_report(model, task, out=tmp_path / "s.html", sections=("dosis",))  # type: ignore[arg-type]


def test_sections_on_request_are_on_the_page_and_beside_it(
    model: DepthModel, task: Task, tmp_path: Path
) -> None:
    few = task.select(range(16))
    made = build_report(
        model, few, out=tmp_path / "r.html", sections=ON_REQUEST, depths=[1, 2], seed=3
    )
    found = sections(made)
    assert [one.key for one in found[-4:]] == [*ON_REQUEST]
    for one in found[-4:]:
        assert one.absent is None
        assert one.figure is not None
        assert one.caption.endswith(".")
        frame = pd.read_parquet(made.tables / f"{one.key}.parquet")
        pd.testing.assert_frame_equal(frame, getattr(made, one.key).to_frame())
        assert one.key in made.summary
    assert made.subspaces is not None
    assert made.subspaces.provenance.seed == 3
    assert made.subspaces.depths.tolist() == [1, 2]
    assert set(ON_REQUEST).isdisjoint(made.absent)

    words = ("March", "May", "June")
    plain = load_task([{"prompt": f"Two months from {w} is"} for w in words], model)
    asked = build_report(model, plain, out=tmp_path / "p.html", sections=("landmarks",))
    (said,) = (one for one in sections(asked) if one.key == "landmarks")
    assert said.absent is not None
    assert "plain prompts alone" in said.absent
    assert "subspaces" not in [one.key for one in sections(asked)]


def test_no_handover_is_sought_where_the_input_is_the_last_token(
    model: DepthModel, task: Task, tmp_path: Path
) -> None:
    last = {"input_positions": task.prediction_positions,
            "corrupted_input_positions": task.corrupted_prediction_positions}  # fmt: skip
    same = replace(task.select(range(8)), **{k: v[:8] for k, v in last.items()})  # type: ignore[index]
    assert not same.hands_over.any()
    made = build_report(model, same, out=tmp_path / "r.html", sections=())
    assert made.crossing is None
    said = "in 8 of 8 pairs the input is the prompt's own last token"
    assert said in made.absent["crossing"]
    row, *_ = overview(made).keys
    assert (row.label, row.value) == ("Control passes to the last token", "not sought")
    assert row.detail == made.absent["crossing"]
    assert f"No crossing was sought: {said}" in unescape(made.path.read_text())
    half = replace(same, input_positions=task.input_positions[:8] * 0)  # type: ignore[index]
    assert not half.hands_over.any()  # the corrupted prompt's is still its last
    one = replace(same, **{k: torch.zeros_like(v[:8]) for k, v in last.items()})  # type: ignore[index]
    assert one.hands_over.all()
    assert one.no_handover == ""


def test_no_two_pages_share_their_tables() -> None:
    pages = ["r.html", "r.HTML", "r.htm", "r.HTML.html", "r.htm.html", "r.html.html", "r.x.html"]
    folders = [report_place(page)[1].name for page in pages]
    assert folders[:3] == ["r_tables", "r.HTML_tables", "r.htm_tables"]
    assert len({*folders}) == len(pages)


def test_a_report_goes_where_a_link_leads(task: Task, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "latest.html").symlink_to("runs/7.html")
    page, folder = report_place(tmp_path / "latest.html")
    check_output(page, folder, overwrite=False)
    write_report(results.report(task), page, folder)
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["7.html", "7_tables"]
    assert [p.name for p in tmp_path.iterdir() if p.is_symlink()] == ["latest.html"]
    (tmp_path / "s_tables").symlink_to("runs/7_tables")
    with pytest.raises(FileExistsError, match="which is a link"):
        check_output(tmp_path / "s.html", tmp_path / "s_tables", overwrite=True)


def test_the_next_start_completes_what_a_killed_run_had_finished(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, folder = tmp_path / "r.html", tmp_path / "r_tables"
    old = results.report(task, name="old")
    write_report(old, page, folder)
    monkeypatch.setattr("lensdepth.unfinished._go_on", lambda _: None)
    lens = replace(old.lens, provenance=results.provenance(name="new"))
    write_report(replace(old, lens=lens), page, folder)
    monkeypatch.undo()
    assert whole_name(page).is_dir()
    (tmp_path / ".r.html.0123456789abcdef.lensdepth").mkdir()
    with pytest.raises(FileExistsError, match=r"r\.html' exists"):
        check_output(page, folder, overwrite=False)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["provenance"]["model"]["name"] == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r_tables"]


def test_labels_of_mixed_kinds_can_be_stored(task: Task) -> None:
    labels = pd.DataFrame({"odd": [1, "two", None] * 20})
    frames = tables_of(results.report(replace(task, labels=labels)))
    assert frames["task"]["odd"].dtype == "string"


def test_the_same_seed_gives_the_same_numbers(
    model: DepthModel, task: Task, report: Report, tmp_path: Path
) -> None:
    again = build_report(model, task, out=tmp_path / "again.html")
    assert report.patch is not None
    assert again.patch is not None
    torch.testing.assert_close(again.patch.values, report.patch.values)
    for key in ("lens", "patch", "steer", "ablate", "dose", "decoding", "geometry"):
        assert again.summary[key] == report.summary[key]
