"""Answers that take longer ways, in four architectures: a small form of `benchmarks.verdicts`."""

from pathlib import Path

import pytest

from lensdepth import evaluate_claims, load_model, load_task, patch_sweep
from lensdepth.teaching import planted

pytestmark = pytest.mark.long

PAIRS = [(a, (a + k) % 12) for a in range(12) for k in (1, 7)]
ARCHITECTURES: tuple[planted.Architecture, ...] = ("llama", "gpt2", "gpt_neox", "gemma2")
YES, NO, OPEN = "supported", "contradicted", "cannot tell"
STANDS: dict[planted.Mechanism, dict[str, str]] = {
    "relay": {"C1 width": NO, "C7 no single depth": NO, "C2 crossing": OPEN},
    "two positions": {"C1 width": NO, "C7 no single depth": NO},
    "inhibition": {"C1 width": YES, "C7 through others": YES, "C7 not additive": YES},
    "amplification": {"C1 width": YES, "C7 through others": YES, "C7 not additive": YES},
    "redundant": {"C1 width": NO, "C7 no single depth": YES, "C7 through others": NO},
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_relay_rests_at_a_third_token(architecture: planted.Architecture, tmp_path: Path) -> None:
    folder = planted.planted_way(
        tmp_path / "m", "relay", n_layers=6, first=1, second=4, architecture=architecture
    )
    model = load_model(folder)
    file = planted.prompt_file(tmp_path / "p.csv", PAIRS, list(range(12)), planted.FRAMED)
    found = patch_sweep(model, load_task(file, model), positions=(1, 2, 3), controls=())
    at_input, at_filler, at_end = found.of("success").mean(0).T.tolist()
    assert at_input == [1, 1, 0, 0, 0, 0, 0]
    assert at_filler == [0, 0, 1, 1, 1, 0, 0]
    assert at_end == [0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("mechanism", STANDS)
def test_statements_stand_as_the_construction_says(
    mechanism: planted.Mechanism, tmp_path: Path
) -> None:
    architecture = ARCHITECTURES[list(STANDS).index(mechanism) % 4]
    folder = planted.planted_way(tmp_path / "m", mechanism, noise=0.15, architecture=architecture)
    model = load_model(folder)
    file = planted.prompt_file(tmp_path / "p.csv", PAIRS, list(range(12)), planted.FRAMED)
    found = evaluate_claims(model, load_task(file, model), twins=0)
    assert {key: found.finding(key).stands for key in STANDS[mechanism]} == STANDS[mechanism]
