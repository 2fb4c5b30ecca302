"""How often landmarks are said to come before or after a switch, and when rightly so.

    python -m benchmarks.landmarks --draws 200
    python -m benchmarks.landmarks --models tiny,calendar,smollm2 --tasks capitals,months

Planted: curves of pairs whose switch lies in one block, and landmarks a number of depths from it.
Words go together: noise of a pair is its word's and its own. The dip of the dimension is that of
clouds of states, which fill few dimensions at one depth and more the further from it; the peak of
the curvature and the rise of the readability are those of means. In `flat` nothing has a landmark.
Counted: how often a landmark is said to be before, at, after or not there, and how often the
interval of the difference holds the planted one. Measured: real models on tasks, and what their
landmarks say together.
"""

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from lensdepth import find_crossing, load_model, load_task
from lensdepth.landmarks import Landmarks, find_landmarks
from lensdepth.landmarks.drawn import Curves, Sets, cloud_in, drawn_curves, means_in
from lensdepth.landmarks.find import ordered
from lensdepth.landmarks.told import sentences
from lensdepth.transition.landmark import Landmark
from lensdepth.units import Grouping

L, SWITCH, D_MODEL = 16, 8, 24
"""Blocks; the block in which control passes, between depths 8 and 9; width of the states."""
PER_WORD = 4
NAMES = ("dimension", "curvature", "readability")
WIDTHS = {"sharp": 1.0, "broad": 3.0}
"""Depths from a landmark in which its curve has gone most of the way back."""


def planted(
    apart: float | None, *, n_words: int, width: str, noise: float, seed: int, n_halves: int = 200
) -> dict[str, Landmark]:
    """What is said of landmarks that lie so many depths from the switch; None: there are none."""
    rng = np.random.default_rng([seed, n_words, int(10 * noise)])
    n = n_words * PER_WORD
    word = np.repeat(np.arange(n_words), PER_WORD)
    depth = np.arange(L + 1)

    def own(size: float, n_depths: int) -> np.ndarray:
        """Noise of words, of pairs, and of both at single depths."""
        drift = rng.normal(size=(n_words, 1))[word] + rng.normal(size=(n, 1))
        single = rng.normal(size=(n_words, n_depths))[word] + rng.normal(size=(n, n_depths))
        return size * (drift + single) / 2

    # Each pair hands over a little before or after, some of it with its word.
    place = SWITCH + 0.5 + 0.7 * (rng.normal(size=n_words)[word] + rng.normal(size=n)) / 2**0.5
    late = (depth[None, :-1] > place[:, None]).astype(float)
    at = np.nan if apart is None else SWITCH + 0.5 + apart
    # As high at the two depths on either side of the place.
    gap = np.maximum(np.abs(depth - at) - 0.5, 0) / WIDTHS[width]
    bump = np.zeros(L + 1) if apart is None else np.exp(-(gap**2))
    rise = np.zeros(L + 1) if apart is None else 1 / (1 + np.exp(-(depth - at) / 0.5))
    pairs = {
        "input": 1 - late,
        "prediction": late,
        "moved input": 1 - late,
        "moved prediction": late,
        "curvature": 2 + 0.3 * bump + own(noise, L + 1),
        "readability": rise + own(noise, L + 1),
    }
    # Coordinates beyond the first two shrink where the dimension dips; words share a part.
    shrunk = 1 - 0.95 * bump
    points = rng.normal(size=(n_words, D_MODEL))[word] + 2 * rng.normal(size=(n, D_MODEL))
    turned = 0.3 * noise * rng.normal(size=(L + 1, n, D_MODEL))
    scale = np.ones((L + 1, 1, D_MODEL))
    scale[:, 0, 2:] = shrunk[:, None]
    states = torch.tensor((points[None] + turned) * scale, dtype=torch.float32)

    def curves_of(sets: Sets) -> Curves:
        means = {name: means_in(values, sets) for name, values in pairs.items()}
        return means | dict(cloud_in(states, np.arange(n), None, sets))

    units = (Grouping(name="word", values=tuple(map(str, word))),)
    crossing = find_crossing(
        torch.tensor(1 - late, dtype=torch.float32), torch.tensor(late, dtype=torch.float32),
        units=units, n_resamples=200, seed=seed,
    )  # fmt: skip
    drawn = drawn_curves(curves_of, n, units=units, n_halves=n_halves, seed=seed)
    missing = {"turn": np.zeros(L), "alignment": np.zeros(L + 1)}
    for name, curve in missing.items():
        drawn.curves[name] = curve
        drawn.strayed[name] = np.zeros((n_halves, len(curve)))
    return {one.name: one for one in ordered(drawn, crossing, L) if one.name in NAMES}


def counted(
    apart: float | None, *, n_words: int, width: str, noise: float, n_draws: int
) -> dict[str, dict[str, float]]:
    """By landmark: share of draws with each verdict, and whose interval holds the planted place."""
    said = {name: Counter[str]() for name in NAMES}
    held = {name: [] for name in NAMES}  # type: dict[str, list[bool]]
    for seed in range(n_draws):
        found = planted(apart, n_words=n_words, width=width, noise=noise, seed=seed)
        for name, one in found.items():
            said[name][one.verdict] += 1
            if apart is not None and one.difference_low == one.difference_low:
                # An extremum is a depth of the grid: of two that are as near, either.
                slack = 0.0 if name == "readability" else 0.5
                held[name].append(
                    one.difference_low - slack <= apart <= one.difference_high + slack
                )
    return {
        name: {verdict: round(n / n_draws, 3) for verdict, n in sorted(said[name].items())}
        | ({"interval holds it": round(float(np.mean(held[name])), 3)} if held[name] else {})
        for name in NAMES
    }


def measured(names: Sequence[str], tasks: Sequence[str], n: int, *, twin: bool) -> None:
    """Print the landmarks of real models on tasks, one by one and together."""
    found: dict[str, Landmarks] = {}
    for name in names:
        model = load_model(name)
        for task_name in tasks:
            try:
                task = load_task(task_name, model, n=n, keep="preferred")
            except ValueError as error:
                print(f"{name}, {task_name}: {error}", flush=True)
                continue
            one = find_landmarks(model, task, twin=twin)
            found[f"{name}, {task_name}"] = one
            print(f"\n{name}, {task_name}, {len(task)} pairs")
            print("\n".join(sentences(one)), flush=True)
    from lensdepth.landmarks import compare_landmarks
    from lensdepth.landmarks.across_told import sentences as together

    print("\n" + "\n".join(together(compare_landmarks(list(found.values())))))


def main() -> None:
    """Print the simulations, or the landmarks of named models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--models", default="")
    parser.add_argument("--tasks", default="months,capitals,ioi")
    parser.add_argument("--n", type=int, default=48)
    parser.add_argument("--twin", action="store_true")
    given = parser.parse_args()
    if given.models:
        measured(given.models.split(","), given.tasks.split(","), given.n, twin=given.twin)
        return
    for n_words, width, noise in ((12, "sharp", 0.3), (12, "broad", 0.6), (30, "broad", 0.6)):
        for apart in (None, 0.0, -1.0, 1.0, -3.0, 3.0):
            shares = counted(apart, n_words=n_words, width=width, noise=noise, n_draws=given.draws)
            place = "flat" if apart is None else f"{apart:+g}"
            print(f"{place}, {n_words} words, {width}, noise {noise}:", flush=True)
            for name, found in shares.items():
                print(f"    {name}: {found}", flush=True)


if __name__ == "__main__":
    main()
