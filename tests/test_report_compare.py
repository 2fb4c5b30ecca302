"""Two reports beside each other: planted differences are found, a report differs from itself in
nothing, and what cannot be told is not."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import results
import torch

from lensdepth import compare_reports, load, load_model, load_task
from lensdepth.report.build import write_report
from lensdepth.report.compare import names_of, shared_pairs
from lensdepth.report.comparison import ReportComparison
from lensdepth.report.measure import measure
from lensdepth.report.measured import PENDING, Measured
from lensdepth.report.quantities import area
from lensdepth.report.sections import sections
from lensdepth.report.side import comparison_part
from lensdepth.tasks import Task
from lensdepth.teaching import planted
from lensdepth.transition import find_crossing
from lensdepth.units import Grouping

pytestmark = pytest.mark.long

DIFFERENT = [(a, (a + 1 + a % 3) % len(planted.INPUTS)) for a in range(len(planted.INPUTS))]


def planted_report(folder: Path, *, n_layers: int, layer: int, seed: int = 0) -> Measured:
    """Lens, patching and swaps of a model in which one block moves the answer."""
    made = planted.switch(folder / f"m{n_layers}_{layer}", n_layers=n_layers, layer=layer)
    model = load_model(made)
    path = planted.prompt_file(folder / "p.csv", DIFFERENT, list(range(12)), planted.WORDINGS)
    task = load_task(path, model, keep="correct")
    return measure(model, task, sections=("ablation",), twins=0, seed=seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def early(folder: Path) -> Measured:
    return planted_report(folder, n_layers=6, layer=1)


@pytest.fixture(scope="module")
def late(folder: Path) -> Measured:
    return planted_report(folder, n_layers=8, layer=6)


@pytest.fixture(scope="module")
def both(early: Measured, late: Measured) -> ReportComparison:
    return compare_reports(early, late, n_resamples=100)


@pytest.fixture(scope="module")
def task(folder: Path, early: Measured) -> Task:
    return early.task


def test_planted_switches_lie_as_far_apart_as_they_were_planted(both: ReportComparison) -> None:
    """In block 1 of 6 and in block 6 of 8: at 1.5 of 6 and 6.5 of 8 depths."""
    (place,) = (one for one in both.differences if one.key == "patching place")
    assert (place.first.value, place.second.value) == (1.5 / 6, 6.5 / 8)
    assert place.difference.value == pytest.approx(1.5 / 6 - 6.5 / 8)
    assert place.difference.low == pytest.approx(place.difference.high)
    assert (place.verdict, place.how) == ("second is larger", "paired")
    assert place.n_pairs == (48, 48)
    assert place.told(both.names).endswith("later in m8_6 (difference −0.56).")
    assert both.on == "paired over 48 prompts"


def test_it_is_saved_whole(both: ReportComparison, tmp_path: Path) -> None:
    both.save(tmp_path / "both.safetensors")
    again = load(tmp_path / "both.safetensors")
    assert isinstance(again, ReportComparison)
    assert again.differences == both.differences
    assert again.claims == both.claims
    for key, panels in both.panels.items():
        pd.testing.assert_frame_equal(again.curves_frame(key), both.curves_frame(key))
        assert [panel.title for panel in again.panels[key]] == [panel.title for panel in panels]
        assert again.plot(key) == both.plot(key)
    assert again.summary() == both.summary()


def test_means_over_the_depth_are_those_of_the_planted_steps(both: ReportComparison) -> None:
    """The input's success is 1 to depth 1 of 6 and then 0: a line between, half a step."""
    mean = {one.key: one for one in both.differences if not one.is_place}
    assert mean["input mean"].first.value == pytest.approx(1.5 / 6, abs=1e-6)
    assert mean["input mean"].second.value == pytest.approx(6.5 / 8, abs=1e-6)
    assert mean["input mean"].verdict == "second is larger"
    assert mean["prediction mean"].difference.value == pytest.approx(6.5 / 8 - 1.5 / 6, abs=1e-6)
    assert mean["norm mean"].verdict in ("cannot tell", "the same")


def test_a_report_differs_from_itself_in_nothing(early: Measured) -> None:
    found = compare_reports(early, early, n_resamples=100)
    told = [one for one in found.differences if one.verdict != "not in both"]
    assert len(told) >= 5
    for one in told:
        assert (one.difference.value, one.difference.low, one.difference.high) == (0, 0, 0)
        assert one.verdict == "the same"
    assert found.names == ("m6_1, first", "m6_1, second")


def test_the_same_switch_of_two_models_cannot_be_told_apart(early: Measured, folder: Path) -> None:
    """Block 1 of 6 and block 2 of 8 are planted in depths that overlap: 1/6 to 2/6, 2/8 to 3/8."""
    other = planted_report(folder, n_layers=8, layer=2)
    found = compare_reports(early, other, n_resamples=100)
    (place,) = (one for one in found.differences if one.key == "patching place")
    assert place.difference.value == pytest.approx(1.5 / 6 - 2.5 / 8)
    assert place.difference.high < 0
    assert place.verdict == "cannot tell"
    assert place.reason == "both lie between measured depths that overlap"


def test_other_prompts_are_drawn_by_themselves(task: Task) -> None:
    first = results.report(task)
    moved = replace(first.task, clean=tuple(f"{text} too" for text in first.task.clean))
    found = compare_reports(first, replace(first, task=moved), n_resamples=200)
    assert (found.how, found.n_shared) == ("independent", 0)
    (place,) = (one for one in found.differences if one.key == "lens place")
    assert place.difference.value == 0
    assert place.difference.low < 0 < place.difference.high
    assert place.verdict == "cannot tell"
    assert "independent: 30 prompts and 30" in found.on


def test_noise_is_paired_out_where_the_prompts_are_the_same(task: Task) -> None:
    """Both curves stray together: the difference is known better than either place."""
    first = results.report(task)
    shift = torch.linspace(-1.5, 1.5, results.N)
    at = torch.arange(results.N_LAYERS + 1) - 4.0
    own = (at[None] < shift[:, None]).float(), (at[None] >= shift[:, None]).float()
    later = (at[None] - 1 < shift[:, None]).float(), (at[None] - 1 >= shift[:, None]).float()
    made = []
    for early, late in (own, later):
        curves = torch.stack([early, late])
        patch = first.patch
        assert patch is not None
        values = patch.outcome.values.clone()
        success = patch.outcome.metrics.index("success")
        values[success, 0] = curves.permute(1, 2, 0)[..., None]
        patch = replace(patch, outcome=replace(patch.outcome, values=values))
        made.append(replace(first, patch=patch, crossing=find_crossing(patch, n_resamples=200)))
    found = compare_reports(made[0], made[1], n_resamples=400)
    (mean,) = (one for one in found.differences if one.key == "prediction mean")
    apart = replace(made[1], task=replace(task, clean=tuple(f"{t} " for t in task.clean)))
    apart = replace(apart, task=apart.task.select([i % len(task) for i in range(results.N)]))
    alone = compare_reports(made[0], apart, n_resamples=400)
    (loose,) = (one for one in alone.differences if one.key == "prediction mean")
    assert mean.difference.value == pytest.approx(1 / 8, abs=0.02)
    wide = [one.difference.high - one.difference.low for one in (mean, loose)]
    assert wide[0] < wide[1] / 3
    assert mean.verdict == "first is larger"


def test_pairs_are_matched_whatever_their_order(task: Task) -> None:
    order = [3, 1, 0, 2]
    mine, theirs = shared_pairs(task.select(range(4)), task.select(order))
    assert [order[i] for i in theirs] == mine == [0, 1, 2, 3]
    twice = task.select([0, 0, 1])
    assert shared_pairs(twice, task.select([0, 1])) == ([0, 2], [0, 1])


def test_what_one_report_lacks_is_said(early: Measured, task: Task) -> None:
    found = compare_reports(early, replace(early, crossing=None), n_resamples=50)
    (place,) = (one for one in found.differences if one.key == "patching place")
    assert place.verdict == "not in both"
    assert place.reason == "in m6_1, second it was not measured"
    assert not [one for one in found.differences if one.analysis == "steering"]
    few = results.report(task)
    lens = few.lens.provenance
    assert compare_reports(few, few).names == (f"{lens.model.name}, first", "toy, second")


def test_few_units_have_no_difference(early: Measured) -> None:
    word = tuple("abcd"[i % 4] for i in range(len(early.task)))
    units = (Grouping(name="word", values=word),)
    lens = early.lens
    known = replace(lens, provenance=replace(lens.provenance, units=units))
    few = replace(early, lens=known)
    moved = replace(few, lens=replace(known, top1_agreement=known.top1_agreement * 0))
    found = compare_reports(few, moved, n_resamples=50)
    (mean,) = (one for one in found.differences if one.key == "lens mean")
    assert not mean.difference.known
    assert (mean.verdict, mean.reason) == ("too few", "4 independent units")


def test_area_is_the_mean_along_straight_lines() -> None:
    at, rows = np.array([0.0, 0.25, 1.0]), np.array([[0.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    assert area(rows, at=at, start=0, end=1) == pytest.approx([0.125 + 0.75, 2])
    assert area(rows, at=at, start=0, end=0.25) == pytest.approx([0.5, 2])
    assert area(rows, at=at, start=0.25, end=0.5) == pytest.approx([1, 2])


def test_the_page_has_both_beside_each_other(task: Task, tmp_path: Path) -> None:
    claims = results.claims(**{"C1 width": 0.6})
    first = results.report(task)
    other = results.report(task, name="other", claims=claims)
    lens = replace(other.lens, provenance=results.provenance(name="other"))
    found = compare_reports(first, replace(other, lens=lens), n_resamples=50)
    findings = replace(first, comparison=found)
    written = write_report(findings, tmp_path / "r.html", tmp_path / "r_tables")
    text = unescape(written.path.read_text(encoding="utf-8"))
    section = text[text.index('<section id="comparison"') : text.index('<section id="claims"')]
    assert "toy beside other" in section
    row = section[section.index("<b>C1</b> sharp causal transition") :]
    verdicts = re.findall(r"</i> ([a-z ]+)</b>", row[: row.index("</tr>")])
    assert verdicts == ["supported", "contradicted"]
    part = comparison_part(findings)
    assert part is not None
    assert [one.number for one in part.exhibits] == [1, 2, 3]
    assert all(f"<b>Figure {n}.</b>" in section for n in (1, 2, 3))
    assert "does not say that they differ" in section
    assert (written.tables / "comparison.parquet").is_file()
    assert written.summary["comparison"]["how"] == "paired"
    assert "comparison" not in [one.key for one in sections(findings)]
    pending = replace(first, absent={"comparison": PENDING})
    again = write_report(pending, tmp_path / "s.html", tmp_path / "s_tables")
    assert f"Not measured: {PENDING}" in unescape(again.path.read_text(encoding="utf-8"))


def test_names_tell_both_apart(early: Measured, late: Measured) -> None:
    assert names_of(early, late) == ("m6_1", "m8_6")
    weekdays = replace(early, task=replace(early.task, name="weekdays"))
    assert names_of(early, weekdays) == (early.task.name, "weekdays")
