"""SmolLM2, fetched once, on every backend; and the lines that say so where it cannot be had."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lensdepth.fetched import fetch_model
from lensdepth.loading import load_model
from lensdepth.model import DepthModel
from lensdepth.provenance import Backend
from real.plain import Plain

HERE = Path(__file__).parent
NOT_TO_BE_HAD = "cannot be had from the package index"
WHY = "real-model tests were skipped"


@pytest.hookimpl(tryfirst=True)  # before those are left out that are not asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say aloud that nothing was shown of a real model: skipped tests look green."""
    said = {
        report.longrepr[2]
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple) and WHY in report.longrepr[2]
    }
    for line in sorted(said):
        terminalreporter.section(WHY, yellow=True)
        terminalreporter.line(line)


@pytest.fixture(scope="session")
def folder() -> Path:
    """Where SmolLM2 lies as plain weights: the user's cache, which all runs share."""
    try:
        return fetch_model("smollm2")
    except ValueError as refusal:
        if NOT_TO_BE_HAD not in str(refusal):
            raise
        pytest.skip(f"{WHY}: {refusal}")


@pytest.fixture(scope="session")
def plain(folder: Path) -> Plain:
    return Plain(folder)


@pytest.fixture(scope="session")
def load_real(folder: Path) -> Callable[[Backend], DepthModel]:
    """SmolLM2 by backend, each loaded once."""
    return cache(lambda backend: load_model("smollm2", backend=backend))


@pytest.fixture
def real(load_real: Callable[[Backend], DepthModel], backend: Backend) -> DepthModel:
    """On each backend of the installed TransformerLens in turn."""
    return load_real(backend)
