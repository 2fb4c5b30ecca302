"""Numbers of docs/findings.md once more, by transformers and plain hooks alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lensdepth.conversion import has_hooked_transformer
from lensdepth.model import DepthModel
from lensdepth.provenance import Backend
from lensdepth.tasks import load_task
from real.plain import Plain

FILE = Path(__file__).parents[2] / "docs" / "findings" / "smollm2-capitals.json"
PATCHED = (("input", 10), ("input", 24), ("prediction", 22), ("prediction", 24))
ABLATED, READ, NORMS = 25, (20, 23, 24), 15


def test_the_findings_on_capitals(load_real: Callable[[Backend], DepthModel], plain: Plain) -> None:
    told: dict[str, Any] = json.loads(FILE.read_text())
    model = load_real("hooked" if has_hooked_transformer() else "bridge")
    task = load_task("capitals", model, form="few-shot", n=48, keep="preferred")
    assert len(task) == told["pairs"]["used"]
    assert task.corrupted is not None
    assert task.target_ids is not None
    assert task.foil_ids is not None
    assert task.input_positions is not None
    assert task.corrupted_input_positions is not None
    found: dict[str, list[float]] = {}
    for i, (clean, corrupted) in enumerate(zip(task.clean, task.corrupted, strict=True)):
        answers = [int(task.target_ids[i]), int(task.foil_ids[i])]
        own, other = int(task.input_positions[i]), int(task.corrupted_input_positions[i])
        source, base = plain.states(clean), plain.states(corrupted)

        def odds(log_probs: torch.Tensor, answers: list[int] = answers) -> torch.Tensor:
            return log_probs[..., answers[0]] - log_probs[..., answers[1]]

        there, here = (odds(plain.log_probs(text)) for text in (clean, corrupted))
        end = len(plain.ids(corrupted)) - 1
        edits = {
            f"{place} {depth}": {
                (depth, other if place == "input" else end): source[depth][
                    own if place == "input" else -1
                ]
            }
            for place, depth in PATCHED
        }
        a, b = base[ABLATED, -1], source[ABLATED, -1]
        edits["direction"] = {(ABLATED, end): b / b.norm() * a.norm()}
        edits["norm"] = {(ABLATED, end): a / a.norm() * b.norm()}
        numbers = {}
        for name, edit in edits.items():
            edited = odds(plain.log_probs(corrupted, edit))
            numbers[name] = float((edited - here) / (there - here))
            numbers[f"{name}, success"] = float(edited > 0)
        lens = [odds(plain.lens(text, READ)).sigmoid() for text in (clean, corrupted)]
        numbers |= {f"contrast {d}": float(x) for d, x in zip(READ, lens[0] - lens[1], strict=True)}
        numbers["norm of the state"] = float(source[NORMS, -1].norm())
        numbers["preferred"] = float(there > 0 > here)
        for name, number in numbers.items():
            found.setdefault(name, []).append(number)
    means = {name: sum(values) / len(values) for name, values in found.items()}
    patch, at = told["patch"], told["patch"]["depths"].index
    expected = {"preferred": 1.0}
    for place, depth in PATCHED:
        expected[f"{place} {depth}"] = patch["transferred"][place][at(depth)]
        expected[f"{place} {depth}, success"] = patch["efficacy"][place][at(depth)]
    for part in ("direction", "norm"):
        ablated = told["ablation"]
        expected[part] = ablated["transferred"][part][ablated["depths"].index(ABLATED)]
        expected[f"{part}, success"] = ablated["success"][part][ablated["depths"].index(ABLATED)]
    expected |= {f"contrast {depth}": told["lens"]["contrast"][depth] for depth in READ}
    expected["norm of the state"] = told["geometry"]["norm"]["value"][NORMS]
    assert len(expected) == len(means) == 17
    # The norms are over different clean prompts, each once; shares may lack one pair of 48.
    for name, value in expected.items():
        most = 0.021 if name.endswith("success") else 0.5 if name.startswith("norm of") else 2e-3
        assert means[name] == pytest.approx(value, abs=most), name
