"""How often places of several models are said to be one, or several, and when rightly so.

    python -m benchmarks.places --draws 400
    python -m benchmarks.places --models tiny,calendar,smollm2,gemma3-270m --task capitals --twins 5

Planted: models of growing depth, whose pairs each hand over in one step. In `anywhere` each model's
place is drawn from all its depths; in `one` it is the same fraction in all; in `near` fractions
stray by a few hundredths, in `apart` by more. Words go together: the place of a pair is its
model's, and its word's, and its own. Crossings are found by `find_crossing` as in any analysis.
Measured: patching curves of real models on one task, and of untrained twins on their own answers.
"""

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from lensdepth import find_crossing, load_model, load_task, patch_sweep
from lensdepth.claims.models import compare_depths
from lensdepth.claims.place import Place, place_of
from lensdepth.claims.places import compared
from lensdepth.claims.places_told import sentences
from lensdepth.claims.twins import in_a_twin, unheard
from lensdepth.model import DepthModel
from lensdepth.tasks import Task
from lensdepth.transition import Crossing
from lensdepth.units import Grouping

LAYERS = (12, 18, 24, 28, 32, 40, 48, 60)
STRAYS = {"one": 0.0, "near": 0.03, "apart": 0.15}
"""Standard deviation of the models' places, as a fraction of the depth."""


def planted(
    rng: np.random.Generator, n_layers: int, at: float, *, n_words: int, step: int
) -> Place:
    """The place that is found in one model whose control passes at a fraction of its depth."""
    word = np.repeat(np.arange(n_words), 4)
    own = n_layers * (
        at + 0.05 * rng.normal(size=n_words)[word] + 0.03 * rng.normal(size=len(word))
    )
    depths = torch.arange(0, n_layers, step)
    later = (depths[None] > torch.tensor(own)[:, None]).float()
    found = find_crossing(
        1 - later, later, depths=depths.tolist(), n_resamples=200,
        units=[Grouping(name="word", values=tuple(map(str, word)))],
    )  # fmt: skip
    return place_of(found)


def simulated(kind: str, n_models: int, n_words: int, step: int, n_draws: int) -> dict[str, float]:
    """Share of draws in which either test rejects at 5 %, and with each verdict; of draws in which
    enough models have a place, for near the ends of the depth none is found."""
    told: Counter[str] = Counter()
    for seed in range(n_draws):
        rng = np.random.default_rng([seed, n_models, n_words, step])
        layers = rng.permutation(LAYERS)[:n_models].tolist()
        # Anywhere between the first depth and the last that is judged, or well within.
        middle = rng.uniform(0.35, 0.65)
        at = (
            [rng.uniform(0, n - 1) / n for n in layers]
            if kind == "anywhere"
            else np.clip(rng.normal(middle, STRAYS[kind], len(layers)), 0.1, 0.9)
        )
        found = compared(
            {
                str(n): (n, planted(rng, n, float(x), n_words=n_words, step=step), ())
                for n, x in zip(layers, at, strict=True)
            },
            seed=seed,
        )
        told[found.verdict] += 1
        told["p closer < 0.05"] += found.p_closer < 0.05
        told["p different < 0.05"] += found.p_different < 0.05
    judged = n_draws - told["too few"]
    shares = {name: round(n / judged, 3) for name, n in sorted(told.items()) if name != "too few"}
    return shares | {"draws with enough places": judged}


def measured(names: Sequence[str], task_name: str, n: int, n_twins: int) -> None:
    """Print where control passes in these models, and what is said of them together."""
    crossings: dict[str, Crossing] = {}
    twins: dict[str, list[Crossing]] = {}
    for name in names:
        model = load_model(name)
        task = load_task(task_name, model, n=n, keep="preferred")
        crossings[name], twins[name] = crossing_of(model, task), []
        for seed in range(n_twins):
            with unheard():
                found, note = in_a_twin(model, task, crossing_of, seed=seed)
            if found is None:
                print(f"{name}: {note}")
                break
            twins[name].append(found)
        print(f"{name}: {len(task)} pairs, {crossings[name].verdict}", flush=True)
    together = compare_depths(crossings, twins=twins if n_twins else None)
    print(together.to_frame().round(3).to_string())
    print("\n".join(sentences(together)))


def crossing_of(model: DepthModel, task: Task) -> Crossing:
    """Where control passes in the whole states at input and prediction position."""
    positions = ("input", "prediction")
    return find_crossing(patch_sweep(model, task, positions=positions, controls=()))


def main() -> None:
    """Print the simulations, or the places of named models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--models", default="")
    parser.add_argument("--task", default="capitals")
    parser.add_argument("--n", type=int, default=48)
    parser.add_argument("--twins", type=int, default=0)
    given = parser.parse_args()
    if given.models:
        measured(given.models.split(","), given.task, given.n, given.twins)
        return
    for kind in ("anywhere", *STRAYS):
        for n_models, n_words, step in ((4, 12, 1), (4, 12, 3), (8, 12, 1), (8, 30, 3)):
            said = simulated(kind, n_models, n_words, step, given.draws)
            print(kind, f"{n_models} models, {n_words} words, every {step}:", said, flush=True)


if __name__ == "__main__":
    main()
