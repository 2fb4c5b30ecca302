"""When in training the switch appears, over seeds of one design; and how often a course is misread.

    python -m benchmarks.dynamics seed FOLDER --task months --out docs/training/tiny-0.json
    python -m benchmarks.dynamics table docs/training/*.json
    python -m benchmarks.dynamics alarms

`seed` takes a folder that `python -m lensdepth.bundled.train --seed S --keep N --out FOLDER` wrote,
measures its checkpoints, and writes what came of it; weights are not kept. `table` prints several.
`alarms` draws planted courses of 12 words with four pairs each and prints the share of draws with
each verdict: places that stay, that jitter from checkpoint to checkpoint, that wander, drift, or
jump by so many depths.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray as Array

from lensdepth.analyses import analysis
from lensdepth.dynamics import TrainingDynamics, training_dynamics
from lensdepth.dynamics.course import course
from lensdepth.loading import load_model
from lensdepth.tasks import load_task
from lensdepth.telling.numbers import Interval
from lensdepth.units import Grouping
from lensdepth.writing import write_text

N_PAIRS = 60
DRAWS = 100
COURSES: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "stays": lambda rng, x: 0 * x,
    "jitters": lambda rng, x: rng.normal(0, 0.5, len(x)),
    "wanders": lambda rng, x: rng.normal(0, 0.5, len(x)).cumsum(),
    "drifts by 2": lambda rng, x: 2 * x,
    "drifts by 2 and wanders": lambda rng, x: 2 * x + rng.normal(0, 0.2, len(x)).cumsum(),
    "jumps by 2": lambda rng, x: 2.0 * (x > rng.uniform(0.3, 0.7)),
    "jumps by 1 and jitters": lambda rng, x: (
        1.0 * (x > rng.uniform(0.3, 0.7)) + rng.normal(0, 0.15, len(x))
    ),
}
"""Places by how far the training is, from 0 to 1."""


def verdicts(place: Callable[..., Array], n: int, n_draws: int = DRAWS) -> Counter[str]:
    """How often each verdict is given."""
    word = np.arange(48) % 12
    units = (Grouping(name="word", values=tuple(map(str, word))),)
    steps = [int(step) for step in np.geomspace(100, 10_000, n)]
    said: Counter[str] = Counter()
    for draw in range(n_draws):
        rng = np.random.default_rng(draw)
        means = 4 + place(rng, np.linspace(0, 1, n))
        y = means + rng.normal(0, 0.3, (12, 1))[word] + rng.normal(0, 0.3, (48, n))
        found = course(torch.from_numpy(y).float(), steps, units=units, n_draws=100, seed=draw)
        said[found.verdict] += 1
    return said


def alarms() -> None:
    """Print the shares."""
    for name, place in COURSES.items():
        for n in (8, 14):
            said = verdicts(place, n)
            told = ", ".join(f"{verdict} {k / DRAWS:.3f}" for verdict, k in said.most_common())
            sys.stdout.write(f"{name}, {n} checkpoints: {told}\n")


def row_of(folder: Path, result: TrainingDynamics) -> dict[str, Any]:
    """One seed: when it answers, when the switch appears, and where it is."""
    facts = json.loads((folder / "model" / "training.json").read_text())
    told = analysis("dynamics").summary(result)
    last = told["checkpoints"][-1]
    return {
        "seed": facts["design"]["seed"],
        "steps": facts["design"]["steps"],
        "n_layers": facts["design"]["n_layers"],
        "torch": facts["torch"],
        "fingerprint": last["fingerprint"],
        "n_checkpoints": told["n_checkpoints"],
        "appears": told["appears"],
        "course": {k: v for k, v in told["course"].items() if k not in ("steps", "location")},
        "last": {key: last[key] for key in ("kind", "reason", "depth", "width")},
        "kinds": dict(Counter(one["kind"] for one in told["checkpoints"])),
        "checkpoints": [
            {key: one[key] for key in ("step", "kind", "depth")} | {"right": one["right"]["value"]}
            for one in told["checkpoints"]
            if one["kind"] != "not learned"
        ],
        "coupling": last["coupling"],
        "sentences": analysis("dynamics").sentences(result),
    }


def seed(folder: Path, task_name: str, out: Path) -> None:
    """Measure the checkpoints of one training, and write what came of it."""
    task = load_task(task_name, load_model(folder / "model"), n=N_PAIRS, keep="all")
    row = row_of(folder, training_dynamics(folder / "checkpoints", task))
    found = {"task": task_name, "n_pairs": N_PAIRS} | row
    rounded = json.loads(json.dumps(found), parse_float=lambda text: float(f"{float(text):.6g}"))
    write_text(out, json.dumps(rounded) + "\n")
    sys.stdout.write(f"{out}: {' '.join(row['sentences'])}\n")


def table(files: list[Path]) -> None:
    """Print the trainings that were measured, one a row, in Markdown."""
    heads = ("seed", "answers from", "switch not by", "from", "appears", "crossings",
             "depth at the first", "at the last", "course", "strays by, depths")  # fmt: skip
    lines = [heads, ["---"] * len(heads)]
    for file in files:
        one = json.loads(file.read_text())
        placed = [row["depth"] for row in one["checkpoints"] if row["kind"] == "crossing"]
        ends = [Interval(**row) for row in placed[:1] + placed[-1:]] or ["–", "–"]
        appears, course = one["appears"], one["course"]
        stray = {key: math.nan if x is None else x for key, x in course["stray"].items()}
        lines.append(
            [
                "–" if x is None else str(x)
                for x in (
                    one["seed"], appears["learned"], appears["after"], appears["by"],
                    appears["verdict"], len(placed), *ends, course["verdict"], Interval(**stray),
                )
            ]
        )  # fmt: skip
    sys.stdout.write("\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n")


def main() -> None:
    """One of the three."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("seed", "table", "alarms"))
    parser.add_argument("places", nargs="*", type=Path)
    parser.add_argument("--task", default="months")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.what == "alarms":
        alarms()
    elif asked.what == "table":
        table(asked.places)
    else:
        (folder,) = asked.places
        seed(folder, asked.task, asked.out or Path(f"docs/training/{folder.name}.json"))


if __name__ == "__main__":
    main()
