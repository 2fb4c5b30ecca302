"""docs/findings.md says what docs/findings holds, and nothing else."""

import json
from pathlib import Path

from benchmarks.findings_page import page

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_is_what_the_files_say() -> None:
    records = [json.loads(path.read_text()) for path in sorted((DOCS / "findings").glob("*.json"))]
    assert records
    assert (DOCS / "findings.md").read_text() == page(records)


def test_a_task_that_could_not_be_measured_is_said_with_its_reason() -> None:
    one = {
        "model": "m", "task": "months", "answers": {"n": 60, "right": 0.0, "preferred": 0.05},
        "refused": "load_task: too few.",
    }  # fmt: skip
    assert "Nothing has been measured yet." in page([one])
    (path,) = sorted((DOCS / "findings").glob("smollm2-capitals.json"))
    told = page([json.loads(path.read_text()), one])
    assert "*months* was not measured: load_task: too few." in told
    assert "| months | 0% | 5% | – | – |" in told
