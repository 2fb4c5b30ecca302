"""Do intervals and verdicts hold where measuring stops as soon as it is clear?

    python -m benchmarks.stopping --sets 200 --out out/bench/stopping.json

Profiles as in `benchmarks.intervals`, pair by pair in an order of chance, looked at after 24, 48,
96 ... of them by `lensdepth.until`: at a share of the error each, and, to see what that is for, at
the whole 5 % each. Coverage is of what a very large sample gives. *No handover*: both positions
bring half of the answers about at all depths, so that they change places by chance alone.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray as Array
from tqdm import tqdm

from benchmarks.intervals import KINDS, Curves, Rng, draw, shared_noise, show
from lensdepth import stats
from lensdepth.transition import find_crossing
from lensdepth.until import FIRST_LOOK, Look, draws_at, is_clear, look_sizes, until_clear

DESIGNS = ((96, 1), (24, 4), (12, 8))
"""Units, and pairs in each."""
PRECISION = 0.5
"""Depths to either side."""


def no_handover(n_units: int, size: int, rng: Rng) -> tuple[Curves, Array]:
    """Both at a half everywhere, with noise that neighbouring depths and pairs of a unit share."""
    unit = np.repeat(np.arange(n_units), size)
    curves = [
        0.5 + 0.2 * shared_noise(n_units, rng)[unit] + 0.2 * shared_noise(len(unit), rng)
        for _ in range(2)
    ]
    return (curves[0], curves[1]), unit


NULLS: dict[str, Callable[[int, int, Rng], tuple[Curves, Array]]] = {
    "no handover": no_handover,
}


def measured(curves: Curves, unit: Array, *, level: float, precision: float | None) -> Look:
    """The look at which it stopped."""
    first, second = (torch.from_numpy(one) for one in curves)

    def look(n: int) -> Any:
        return find_crossing(
            first[:n], second[:n], units=[unit[:n].tolist()], level=level,
            n_resamples=draws_at(level),
        )  # fmt: skip

    sizes = look_sizes(len(unit), FIRST_LOOK)
    found = until_clear(sizes, lambda rows: None, look, lambda one: is_clear(one, precision))
    return found[1][-1]


def stops(make: Callable[[Rng], tuple[Curves, Array]], n_sets: int, levels: Sequence[float],
          precision: float | None) -> dict[float, list[Look]]:  # fmt: skip
    """Where it stopped, by level, on data sets whose pairs come in an order of chance."""
    found: dict[float, list[Look]] = {level: [] for level in levels}
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, 17])
        (early, late), unit = make(rng)
        order = rng.permutation(len(unit))
        for level in levels:
            found[level].append(
                measured((early[order], late[order]), unit[order], level=level, precision=precision)
            )
    return found


def truth_of(kind: str) -> float:
    """Where a very large sample crosses."""
    rng = np.random.default_rng([KINDS.index(kind), 5])
    (early, late), _ = draw(kind, 20_000, 1, rng)
    means = (torch.from_numpy(one.mean(0, keepdims=True)) for one in (early, late))
    return find_crossing(*means, n_resamples=2).depth


def of_design(n_units: int, size: int, n_sets: int) -> dict[str, list[str]]:
    """Coverage and false alarms of data sets with so many units and pairs."""
    n_looks = len(look_sizes(n_units * size, FIRST_LOOK))
    levels = (1 - (1 - stats.LEVEL) / n_looks, stats.LEVEL)
    rows: dict[str, list[str]] = {}

    def keep(name: str, found: dict[float, list[Look]], hit: Callable[[Look], bool]) -> None:
        shares = [np.mean([hit(one) for one in found[level]]) for level in levels]
        pairs = np.mean([one.n_pairs for one in found[levels[0]]])
        rows[name] = [f"{100 * share:.1f} %" for share in shares] + [
            f"{pairs:.0f} of {n_units * size}"
        ]

    for kind in KINDS:
        at = truth_of(kind)
        make = partial(draw, kind, n_units, size)
        keep(
            f"{kind}, {n_units} × {size}",
            stops(make, n_sets, levels, PRECISION),
            lambda one, at=at: one.low - 1e-9 <= at <= one.high + 1e-9,
        )
    for name, null in NULLS.items():
        keep(
            f"{name}, {n_units} × {size}: false alarms",
            stops(partial(null, n_units, size), n_sets, levels, None),
            lambda one: one.verdict in ("crossing", "gap"),
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it, print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows: dict[str, list[str]] = {}
    for design in tqdm(DESIGNS, disable=None):
        rows |= of_design(*design, options.sets)
    show(("profiles, units × pairs", "error shared out", "5 % at each look", "pairs"), rows)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
