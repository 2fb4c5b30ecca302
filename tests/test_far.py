"""A model whose blocks lie on two devices, which are made up: numbers, and who waits for them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils import backend_registration

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch makes up no devices",
)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """In a process of its own: a device that is made up is there for good."""
    return json.loads(run("-m", "tests.far"))


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("what", ["states", "logits", "lens", "hooks", "replay", "sweep"])
def test_numbers_are_those_of_one_device(found: dict[str, Any], what: str) -> None:
    assert found["devices"] == ["far:0", "far:1"]
    assert found["off"][what] <= 16 * torch.finfo(torch.float32).eps


def test_nothing_waits_between_the_blocks(found: dict[str, Any]) -> None:
    """All of 40 sets on 12 prompts go through in one chunk; who waits does so once for it."""
    assert found["runs"] == 40
    assert found["waits"] == {
        "to the CPU": 3,  # whether weights are still finite, on two devices; the numbers read
        "equal": 2,  # whether the mask of the base run is causal, on two devices
        "_local_scalar_dense": 3,  # transformers' mask; whether states and logits are finite
    }


MEETING = """
import torch
from tests.far import FAR, Far, far
a, b = (Far(torch.ones(2), device) for device in FAR)
with far() as waits:
    said = []
    for other in (b, torch.ones(2)):
        try:
            a + other
        except RuntimeError as error:
            said.append(str(error))
    assert said == ["add: tensors on far:0 and far:1 meet", "add: tensors on cpu and far:0 meet"]
    assert (a + b.to(a.device)).device == FAR[0] and (a + torch.tensor(1.0)).device == FAR[0]
    assert not waits
    float(a[0]), a[a > 0], a[torch.tensor([0])], a.cpu()
    assert waits == ["_local_scalar_dense", "index", "index by the CPU's indices", "to the CPU"]
print("held")
"""


def test_devices_that_are_made_up_keep_apart() -> None:
    assert run("-c", MEETING) == "held"
