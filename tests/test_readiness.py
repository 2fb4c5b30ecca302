"""What is said before any sweep: answers, claims that can be judged, and what the others lack."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from lensdepth.claims import evaluate_claims, readiness
from lensdepth.claims.readiness import CLAIMS, Readiness, check_readiness
from lensdepth.claims.testable import FEWEST_PAIRS
from lensdepth.cli import main
from lensdepth.model import DepthModel, load_model
from lensdepth.tasks import Task, load_task

pytestmark = pytest.mark.long


def ready(model: DepthModel, frame: Any, **options: Any) -> Readiness:
    return check_readiness(model, load_task(frame, model, n=None), probe=False, **options)


@pytest.fixture(scope="module")
def calendar() -> DepthModel:
    return load_model("calendar")


@pytest.fixture(scope="module")
def months(calendar: DepthModel) -> pd.DataFrame:
    return load_task("months", calendar, n=160).to_frame()


def test_enough_pairs_lack_nothing(calendar: DepthModel, months: pd.DataFrame) -> None:
    found = ready(calendar, months)
    assert (found.n_drawn, found.n_one_token, sum(found.right)) == (160, 160, 160)
    assert found.judged == CLAIMS
    assert found.lacks == ()
    assert found.n_units == 12
    assert found.plan is None  # no probe


def test_too_few_pairs_say_how_many_more(calendar: DepthModel, months: pd.DataFrame) -> None:
    found = ready(calendar, months[:20])
    assert not found.judged
    assert (
        f"10 more pairs that the model answers rightly: there are 20, and {FEWEST_PAIRS}"
        in (found.missing("C3")[0])
    )


def test_a_claim_that_lacks_nothing_has_its_numbers(
    calendar: DepthModel, months: pd.DataFrame
) -> None:
    bare = ["clean", "corrupted", "target", "foil", "input", "corrupted_input"]
    task = load_task(months.loc[:35, bare], calendar, n=None)
    found = check_readiness(calendar, task, probe=False)
    table = evaluate_claims(calendar, task, twins=0)
    unmeasured = {one.key.split()[0] for one in table.findings if one.effect is None}
    assert unmeasured == {"C4", "C6"} == set(CLAIMS) - set(found.judged)
    assert "within 5 groups of 8 or more; there are" in found.missing("C4")[0]
    assert "a label of the context" in found.missing("C6")[0]


def test_labels_and_inputs_are_asked_for(calendar: DepthModel, months: pd.DataFrame) -> None:
    bare = months[["clean", "corrupted", "target", "foil", "input", "corrupted_input"]]
    assert ready(calendar, bare).missing("C4") == ()
    two = months[
        months["gamma"].isin(["May", "June"]) & months["corrupted_gamma"].isin(["May", "June"])
    ]
    found = ready(calendar, two.reset_index(drop=True))
    assert any("4 are needed at least" in text for text in found.missing("C5"))
    pairs = [{"clean": "Two months from March is", "corrupted": "One month from May is",
              "target": "May", "foil": "June"}]  # fmt: skip
    found = ready(calendar, pairs)
    assert found.lacks[0].claims == CLAIMS
    assert "the columns input and corrupted_input" in found.lacks[0].missing


def test_preference_counts_where_it_is_asked_for(calendar: DepthModel) -> None:
    task = load_task("weather-days", calendar, n=None)
    by_choice = check_readiness(calendar, task, probe=False)
    assert sum(by_choice.preferred) > sum(by_choice.right)
    liked = check_readiness(calendar, task, keep="preferred", probe=False)
    assert "pairs that the model prefers" in liked.missing("C1")[0]
    assert "it prefers the right answers" not in by_choice.missing("C1")[0]  # too few of them too
    both = by_choice.to_frame()
    assert both["preferred"].sum() == sum(by_choice.preferred)


def test_where_preference_would_do_it_says_so(
    calendar: DepthModel, months: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real models prefer the right answer in many pairs in which another word comes first."""

    def answered(task: Task, model: DepthModel, *, caller: str) -> Any:
        right = torch.arange(len(task)) < 20
        return (right, right), (right | True, right | True)

    monkeypatch.setattr(readiness, "answered", answered)
    found = ready(calendar, months[:60]).missing("C1")
    assert found[0] == (
        "pairs that the model answers rightly: there are 20 of 60, and half are needed, 10 more; "
        "of 60 it prefers the right answers, which keep='preferred' judges by"
    )


def test_what_is_lacking_comes_in_the_order_of_the_claims(
    calendar: DepthModel, months: pd.DataFrame
) -> None:
    bare = ["clean", "corrupted", "target", "foil", "input", "corrupted_input"]
    lacks = ready(calendar, months.loc[:35, bare]).lacks
    assert [one.claims[0] for one in lacks] == sorted(one.claims[0] for one in lacks)
    assert len(lacks) > 1


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_check_says_it_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", "--n", "24")
    assert code == 0, err
    text = " ".join(out.split())
    assert "24 of 24 pairs have answers of one token" in text
    assert "No claim can be judged: what is lacking is 6 more pairs" in text
    assert re.search(r"Time for the claims on these pairs: about \d+ (s|min)", text)
    assert "Memory: weights" in text


def test_check_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", "--n", "60", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert set(found) == {"provenance", "summary", "rows"}
    summary = found["summary"]
    assert [one["claim"] for one in summary["claims"]] == list(CLAIMS)
    assert all(one["can_be_judged"] for one in summary["claims"])
    assert (summary["right"], summary["by"]) == (60, "right")
    assert 0 < summary["seconds"] < 10_000
    assert found["rows"] == [{"template": "from", "pairs": 60, "right": 60, "preferred": 60}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "--keep", "correct"], "--keep preferred judges the claims by preference"),
        (["check", "--task", "graded"], "plain prompts alone"),
        (["check", "--task", "ioi", "--form", "few-shot"], "has no form 'few-shot'"),
        (["check", "--task", "agreement"], "tokenizer does not know"),
        (["tasks", "--n", "5"], "--n goes with --model"),
    ],
)
def test_what_cannot_be_checked(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_all_tasks_are_tried(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "tasks", "--model", "calendar", "--n", "3", "--json")
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    assert rows["months"]["share_right"] == 1
    assert rows["months"]["pairs_for_claims"] == FEWEST_PAIRS
    assert rows["binding"]["pairs_for_claims"] is None
    assert "does not know" in rows["agreement"]["refused"]
    assert "plain prompts" in rows["graded"]["refused"]
    code, out, _ = run(capsys, "tasks", "--model", "calendar", "--n", "2")
    assert code == 0
    assert re.search(r"months +plain +2 of 2 +2 \(100%\) +2 \(100%\) +30 +report", out)
    assert re.search(r"binding +plain +2 of 2 +0 \(0%\) .* no +lens", out)
    assert "lensdepth report --model calendar --task months" in " ".join(out.split())


def test_prompts_without_one_varying_part_have_one_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And claims say what they lack before they run."""
    pair = {"clean": "Two months from March is", "corrupted": "One month from May is",
            "target": "May", "foil": "June"}  # fmt: skip
    file = tmp_path / "two.jsonl"
    file.write_text(json.dumps(pair))
    tiny = ("--model", "tiny", "--prompts", str(file), "--keep", "all")
    code, _, err = run(capsys, "patch", "--curves", *tiny)
    assert code == 0, err
    assert "one curve, at the prediction position" in err
    code, _, err = run(capsys, "claims", *tiny, "--twins", "0")
    assert code == 0, err
    assert "is run: No claim can be judged: what is lacking is an input position" in err
