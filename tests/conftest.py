"""Tiny random models, built once per session, offline, for every backend that is installed."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import architectures
import pytest
import torch
import typechecked  # noqa: F401  before the package
from hypothesis import settings

from lensdepth.conversion import has_hooked_transformer
from lensdepth.model import DepthModel, load_model
from lensdepth.provenance import Backend
from lensdepth.tasks import Task, load_task

torch.set_num_threads(1)
# Of the terminal that the tests were started from, or of none: tables are as wide as it says.
os.environ.pop("COLUMNS", None)
# A busy machine is no fault, and a change lands or not whatever examples are drawn that day.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
BACKENDS = ("hooked", "bridge") if has_hooked_transformer() else ("bridge",)
Load = Callable[[str, str], DepthModel]


FIRST = ("test_replay.py", "test_circuit.py", "test_cli.py")
"""What takes longest, so that nobody waits for it alone in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the others stay in their order."""
    items.sort(key=lambda i: FIRST.index(i.path.name) if i.path.name in FIRST else len(FIRST))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend of the installed TransformerLens in turn."""
    return request.param


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny random model by architecture; see `architectures.CONFIGS`."""
    root = tmp_path_factory.mktemp("models")
    return cache(lambda architecture: architectures.build(architecture, root / architecture))


@pytest.fixture(scope="session")
def load_tiny(model_folder: Callable[[str], Path]) -> Load:
    """Load a tiny model by architecture and backend, each once."""
    return cache(
        lambda architecture, backend: load_model(model_folder(architecture), backend=backend)
    )


@pytest.fixture
def tiny_llama(load_tiny: Load, backend: Backend) -> DepthModel:
    """Word-level tokenizer with BOS, grouped attention."""
    return load_tiny("llama", backend)


@pytest.fixture
def tiny_gpt2(load_tiny: Load, backend: Backend) -> DepthModel:
    """Byte-level tokenizer without BOS, learned positions, layer norms with biases."""
    return load_tiny("gpt2", backend)


@pytest.fixture(scope="session")
def trained() -> DepthModel:
    """The small bundled model, which answers the built-in tasks."""
    return load_model("tiny")


@pytest.fixture(scope="session")
def capitals(trained: DepthModel) -> Task:
    """A dozen pairs that it gets right."""
    return load_task("capitals", trained, n=12, keep="correct")
