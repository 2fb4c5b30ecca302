"""Counts what the inputs of every target came to, for the end of `make fuzz`."""

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from fuzz.judge import TALLY


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # Hundreds of lines of log; and what is no UTF-8 in them ends a worker of pytest-xdist.
    report.sections.clear()
    if call.when == "call":  # the process that runs a test need not be the one that reports
        report.user_properties.append(("fuzz", dict(TALLY)))
        TALLY.clear()
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    total: Counter[str] = Counter()
    terminalreporter.section("what the inputs came to")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            found = dict(report.user_properties).get("fuzz", {})
            total.update(found)
            if not found and outcome == "passed":
                continue
            said = ", ".join(f"{n:,} {what}" for what, n in sorted(found.items()))
            terminalreporter.line(f"{report.nodeid.partition('fuzz/')[2]} {outcome}: {said}")
    said = ", ".join(f"{n:,} {what}" for what, n in sorted(total.items()))
    terminalreporter.line(f"{total.total():,} inputs: {said}")
