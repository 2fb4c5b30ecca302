"""What holds on real models: SmolLM2 and Gemma 3 over many tasks, measured once, told in docs/.

Each model and task gives one file of docs/findings/, so that a run that is ended goes on where it
was; docs/findings.md is made of these files alone. The design was fixed before anything was seen:
`PAIRS` pairs in the task's few-shot form that the model prefers both ways, seed 0.

    lensdepth fetch smollm2 && lensdepth fetch gemma3-270m
    python -m benchmarks.findings                what is missing, then the page
    python -m benchmarks.findings --twins 3      with untrained twins beside the claims
    python -m benchmarks.findings --write        the page alone
"""

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

from benchmarks.findings_page import page
from lensdepth import (
    evaluate_claims,
    find_crossing,
    find_holder,
    find_steering_crossing,
    find_transition,
    geometry_profile,
    load_model,
    load_task,
    logit_lens,
)
from lensdepth.analyses import analysis
from lensdepth.claims.complete import complete_evidence
from lensdepth.claims.told import by_architecture, reasons
from lensdepth.model import DepthModel
from lensdepth.tasks.keeping import answered_preferably, answered_rightly
from lensdepth.tasks.told import counts
from lensdepth.telling.plain import Json, provenance_json, to_json
from lensdepth.transition.compare import compare_order
from lensdepth.transition.told import NOT_OPEN
from lensdepth.units import count, named
from lensdepth.writing import write_text

MODELS = ("smollm2", "gemma3-270m")
TASKS = (
    "capitals", "languages", "opposites", "next-month", "plurals", "past-tense", "agreement",
    "pronouns", "ioi", "greater-than", "next-number", "months", "weekdays",
)  # fmt: skip
PAIRS = 48
ANSWERED = 60
"""Pairs on which it is counted how many are answered rightly, before any is left out."""
FORM = "few-shot"
PLAIN = ("ioi",)
"""Tasks that need no examples."""
HERE = Path(__file__).parent.parent / "docs"


def answers(model: DepthModel, name: str) -> Json:
    """How many pairs the model answers rightly, and prefers, on both prompts."""
    task = load_task(name, model, form=form_of(name), n=ANSWERED, keep="all")
    shares = {}
    for key, asked in (("right", answered_rightly), ("preferred", answered_preferably)):
        clean, corrupted = asked(task, model)
        shares[key] = float((clean & corrupted).double().mean())
    return {"n": len(task), **shares}


def form_of(name: str) -> Any:
    """The form that a task is asked in."""
    return "plain" if name in PLAIN else FORM


def measure(model: DepthModel, name: str, *, twins: int) -> Json:
    """Everything that the page says of one model on one task; the reason, where nothing can be."""
    started = time.perf_counter()
    found: Json = {"task": name, "form": form_of(name), "answers": answers(model, name)}
    try:
        task = load_task(name, model, form=form_of(name), n=PAIRS, keep="preferred")
    except ValueError as refusal:
        return found | {"refused": str(refusal)}
    found["pairs"] = counts(task)
    found["example"] = [task.clean[0], (task.target or ("",))[0]]
    found["units"] = {"n": count(task.units, len(task)), "of": named(task.units)}
    lens = logit_lens(model, task)
    evidence = complete_evidence(model, task)
    geometry = geometry_profile(model, task, reading=evidence.reading)
    transition = find_transition(lens)
    switches: dict[str, Any] = {"lens": transition}
    if evidence.patch is not None and not task.no_handover:
        switches["patch"] = find_holder(model, task, find_crossing(evidence.patch))
    if evidence.steering is not None and not task.no_handover:
        steering = find_steering_crossing(evidence.steering)
        switches["steering"] = None if steering is None else find_holder(model, task, steering)
    told: dict[str, tuple[Any, ...]] = {
        "lens": (lens, transition),
        "patch": (evidence.patch, switches.get("patch")),
        "steering": (evidence.steering, switches.get("steering"), None),
        "ablation": (evidence.ablation,),
        "geometry": (geometry,),
    }
    for key, (result, *rest) in told.items():
        if result is not None:
            found[key] = analysis(key).summary(result, *rest)
            found[key]["sentences"] = analysis(key).sentences(result, *rest)
    patch = switches.get("patch")
    if patch is not None and patch.verdict == "crossing" and transition.verdict in NOT_OPEN:
        found["order"] = to_json(vars(compare_order(patch, transition)))
    table = evaluate_claims(model, task, evidence=evidence, twins=twins, twins_of="all")
    found["claims"] = {
        "provenance": provenance_json(table.provenance),
        "refused": dict(evidence.refused),
        **analysis("claims").summary(table),
        "statements": to_json(table.to_frame().to_dict("records")),
        "sentences": [*reasons(table), *by_architecture(table)],
    }
    return found | {"seconds": round(time.perf_counter() - started)}


GEOMETRY = ("norm", "step_angle", "effective_rank", "angle_js", "norm_js", "angle_js_given_norm")
STATEMENT = (
    "statement", "expect", "threshold", "effect", "low", "high", "p_for", "p_against", "n",
    "reason", "n_twins", "twin_median", "twin_low", "twin_high", "twin_passing",
)  # fmt: skip


def kept(found: Json) -> Json:
    """What is written: what the page says and `tests/real` recomputes, to six digits."""
    if "claims" in found:
        origin = found["claims"]["provenance"]
        found["provenance"] = {
            name: origin[name] for name in ("model", "prompts_fingerprint", "versions", "created")
        }
        del found["claims"]["provenance"]
        found["claims"]["statements"] = [
            {name: one.get(name) for name in STATEMENT} for one in found["claims"]["statements"]
        ]
        found["geometry"] = {
            name: found["geometry"][name]
            for name in (*GEOMETRY, "sentences")
            if name in found["geometry"]
        }
    return rounded(found)


def rounded(value: Any) -> Any:
    """Every number to six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--twins", type=int, default=0, help="untrained twins beside the claims")
    parser.add_argument("--write", action="store_true", help="write the page alone")
    parser.add_argument("--out", type=Path, default=HERE, help="where findings.md is written")
    options = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    folder = options.out / "findings"
    folder.mkdir(parents=True, exist_ok=True)
    for name in () if options.write else options.models:
        model = None
        for task in options.tasks:
            path = folder / f"{name}-{task}.json"
            if path.exists() and _twins_of(path) >= options.twins:
                continue
            model = model or load_model(name)
            found = {"model": name, **measure(model, task, twins=options.twins)}
            write_text(path, json.dumps(kept(found), ensure_ascii=False) + "\n")
            print(f"{name} {task}: {found.get('seconds', 'refused')}", flush=True)
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    write_text(options.out / "findings.md", page(records))


def _twins_of(path: Path) -> float:
    """How many twins stand beside the claims of a file; of a refused task more would not help."""
    found = json.loads(path.read_text())
    return found["claims"]["n_twins"] if "claims" in found else float("inf")


if __name__ == "__main__":
    main()
