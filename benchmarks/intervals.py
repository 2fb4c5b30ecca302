"""How often intervals cover, nulls raise an alarm, and switches are found: simulated profiles.

    python -m benchmarks.intervals --sets 200 --out out/bench/intervals.json

Profiles are drawn, not measured: pairs that each switch at a place of their own (normal, or with
heavy tails), with noise that neighbouring depths share, with lapses, alone or in units (words) that
share most of where they switch. The truth is the same functional of a very large sample. Nulls are
smooth rises of many shapes, bumps, drifts, one random path that all pairs share, and flat noise;
what is called a transition or a change there is a false alarm. The claims' one-sided tests are
tried where the number stands exactly at its threshold, with pairs that share input words (in both
roles) and templates. Couplings of states and predictions are tried on prompts whose words and
templates have effects on both, with nothing between them (the permutation test), and with some (C4,
held against its own mean over all sets).
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from scipy.stats import norm
from tqdm import tqdm

from lensdepth.claims.coupling import coupled_over_deals, late_couplings
from lensdepth.claims.estimate import Estimate, estimate, ratio
from lensdepth.claims.states import Geometry
from lensdepth.claims.zones import N_GROUPS, Zones, deal_groups
from lensdepth.geometry.coupling import couple
from lensdepth.geometry.halves import draw_halves
from lensdepth.transition import find_change_point, find_crossing, find_transition
from lensdepth.units import Grouping, Units

N_LAYERS = 12
DEPTHS = np.arange(N_LAYERS + 1)
X = DEPTHS / N_LAYERS
SIZES = ((8, 1), (15, 1), (30, 1), (60, 1), (7, 8), (12, 5), (24, 3))
"""Units, and pairs in each."""
WITHIN = 0.8
"""Share of the variance of where pairs switch that their unit explains."""
KINDS = ("spread", "heavy tails", "lapses", "depth noise")
Rng = np.random.Generator
Curves = tuple[Float[Array, "pair depth"], Float[Array, "pair depth"]]


def shared_noise(n: int, rng: Rng, rho: float = 0.7) -> Float[Array, "pair depth"]:
    """Unit variance, each depth following the one before."""
    noise = rng.normal(size=(n, len(DEPTHS)))
    for k in range(1, len(DEPTHS)):
        noise[:, k] = rho * noise[:, k - 1] + np.sqrt(1 - rho**2) * noise[:, k]
    return noise


def draw(kind: str, n_units: int, size: int, rng: Rng) -> tuple[Curves, Array]:
    """Curves that lead early and late, and each pair's unit."""
    unit = np.repeat(np.arange(n_units), size)
    draws = rng.standard_t(2, size=n_units + len(unit)) if kind == "heavy tails" else None
    draws = 1.5 * rng.normal(size=n_units + len(unit)) if draws is None else 0.8 * draws
    share = WITHIN if size > 1 else 0.0
    place = 6 + np.sqrt(share) * draws[unit] + np.sqrt(1 - share) * draws[n_units:]
    if kind == "depth noise":
        late = 1 / (1 + np.exp(-(DEPTHS - place[:, None]) / 0.5))
        first, second = (0.2 * shared_noise(len(unit), rng) for _ in range(2))
        return (1 - late + first, late + second), unit
    late = (place[:, None] <= DEPTHS).astype(float)
    early = 1 - late
    if kind == "lapses":
        early, late = (np.where(rng.random(y.shape) < 0.05, 1 - y, y) for y in (early, late))
    return (early, late), unit


def coverage(kind: str, n_units: int, size: int, n_sets: int) -> dict[str, float]:
    """Share of data sets whose intervals hold what a very large sample gives."""
    rng = np.random.default_rng([KINDS.index(kind), n_units, size])
    (early, late), _ = draw(kind, 20_000 // size, size, rng)
    mean_early, mean_late = (torch.from_numpy(y.mean(0, keepdims=True)) for y in (early, late))
    whole = find_transition(mean_late, n_resamples=2)
    crossing = find_crossing(mean_early, mean_late, n_resamples=2)
    truth = {"location": whole.location, "width": whole.width, "crossing": crossing.depth}
    if kind != "depth noise":
        rows = late[:2000]
        truth["median"] = find_transition(torch.from_numpy(rows), n_resamples=2).pairs.median
    hits: dict[str, list[bool]] = {name: [] for name in truth}
    for seed in range(n_sets):
        (early, late), unit = draw(kind, n_units, size, rng)
        units = [unit.tolist()]
        first, second = torch.from_numpy(early), torch.from_numpy(late)
        found = find_transition(second, units=units, n_resamples=400, seed=seed)
        passes = find_crossing(first, second, units=units, n_resamples=400, seed=seed)
        bounds = {
            "location": (found.location_low, found.location_high),
            "width": (found.width_low, found.width_high),
            "crossing": (passes.low, passes.high),
            "median": (found.pairs.low, found.pairs.high),
        }
        for name, at in truth.items():
            low, high = bounds[name]
            hits[name].append(bool(low - 1e-9 <= at <= high + 1e-9))
    return {name: float(np.mean(found)) for name, found in hits.items()}


SHAPES: dict[str, Callable[[Rng], Array]] = {
    "cubic": lambda rng: X**3,
    "cubic S": lambda rng: 3 * X**2 - 2 * X**3,
    "half-cosine": lambda rng: (1 - np.cos(np.pi * X)) / 2,
    "kink": lambda rng: np.maximum(X - 0.5, 0) * 2,
    "late bump": lambda rng: np.exp(-(((X - 0.85) / 0.1) ** 2)),
    "straight line": lambda rng: X,
    "quadratic": lambda rng: X**2,
    "root": lambda rng: np.sqrt(X),
    "wide sigmoid": lambda rng: 1 / (1 + np.exp(-(X - 0.5) / 0.5 * 4.394)),
    "shared path": lambda rng: (path := np.cumsum(rng.normal(size=len(X)))) / np.ptp(path),
    "flat": lambda rng: np.zeros(len(X)),
}
"""Profiles without a switch."""
SWITCHES: dict[str, Callable[[Rng], Array]] = {
    f"width {w}": lambda rng, w=w: 1 / (1 + np.exp(-(DEPTHS - rng.uniform(4, 8)) / w * 4.394))
    for w in (0.5, 1.0, 2.0)
}


def verdicts(shape: Callable[[Rng], Array], n: int, noise: float, n_sets: int) -> Counter[str]:
    """What is said of profiles of one shape, and how often a cut of them is called a change."""
    said: Counter[str] = Counter()
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, n, int(100 * noise)])
        level = 0.2 * rng.normal(size=(n, 1))
        y = torch.from_numpy(shape(rng) + noise * shared_noise(n, rng) + level)
        said[find_transition(y, n_resamples=200, seed=seed).verdict] += 1
        said["change"] += find_change_point(y, n_resamples=99, seed=seed).verdict == "change"
    return said


DESIGNS = ((7, 1, 60), (7, 8, 112), (12, 1, 60), (12, 6, 120), (24, 1, 72), (24, 12, 200))
"""Input words, templates and pairs."""
ONE_ROLE = ((8, 1, 60), (12, 1, 200))
"""The same, of pairs whose other prompts have a word that is no unit."""
EFFECTS = ((0.0, 0.0), (0.5, 0.0), (0.3, 0.3))
"""Shares of the variance that words and templates explain."""
LIKELY = 0.9
"""Of the share that is tested."""


def paired(
    n_words: int,
    n_templates: int,
    n: int,
    effects: tuple[float, float],
    rng: Rng,
    *,
    roles: int = 2,
) -> tuple[Float[Array, "pair 2"], Units]:
    """Two normal numbers a pair with effects of its words and its template, and its units."""
    first = rng.integers(n_words, size=n)
    second = (first + rng.integers(1, n_words, size=n)) % n_words
    template = np.arange(n) % n_templates
    of_words, of_templates = effects if n_templates > 1 else (effects[0], 0.0)
    words = rng.normal(size=(2, n_words, 2))
    both = words[0, first] + words[1, second] if roles == 2 else words[0, first]
    values = np.sqrt(of_words / roles) * both
    values += np.sqrt(of_templates) * rng.normal(size=(n_templates, 2))[template]
    values += np.sqrt(1 - of_words - of_templates) * rng.normal(size=(n, 2))
    written = [tuple(map(str, those)) for those in (first, second, template)]
    other = written[1] if roles == 2 else ()
    units = [Grouping(name="input word", values=written[0], other=other)]
    if n_templates > 1:
        units.append(Grouping(name="template", values=written[2]))
    return values, tuple(units)


TESTS: dict[str, Callable[[Array, Units], tuple[Estimate, float]]] = {
    "mean": lambda x, units: (estimate(x[:, 0], units), 0.0),
    "share": lambda x, units: (
        replace(estimate((x[:, 0] < norm.ppf(LIKELY)).astype(float), units), bounds=(0.0, 1.0)),
        LIKELY,
    ),
    "ratio": lambda x, units: (estimate(0.3 * x + 1, units, ratio), 1.0),
}
"""Numbers of the kinds that claims judge, and what they truly are."""


def alarms(
    design: tuple[int, int, int], effects: tuple[float, float], n_sets: int, *, roles: int = 2
) -> dict[str, tuple[float, float]]:
    """How often a number is called above and below what it truly is, at 2.5 % a side."""
    found: dict[str, list[tuple[bool, bool]]] = {name: [] for name in TESTS}
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, *design])
        values, units = paired(*design, effects, rng, roles=roles)
        for name, test in TESTS.items():
            number, truth = test(values, units)
            found[name].append((number.p_above(truth) < 0.025, number.p_below(truth) < 0.025))
    return {
        name: (float(np.mean([a for a, _ in x])), float(np.mean([b for _, b in x])))
        for name, x in found.items()
    }


GRIDS = ((12, 5, 60), (7, 8, 56), (24, 6, 90), (60, 1, 60))
"""Words, templates and prompts of couplings; drawn where that is not all of them."""
CLOUD = 6
"""Dimensions of states."""


def cloud(
    design: tuple[int, int, int], effects: tuple[float, float], rng: Rng
) -> tuple[Callable[[], Float[Array, "prompt dimension"]], Units]:
    """Draws of states with effects of word and template, and the prompts' units."""
    n_words, n_templates, n = design
    drawn = rng.permutation(n_words * n_templates)[:n]
    word, template = np.divmod(np.sort(drawn), n_templates)

    def states() -> Float[Array, "prompt dimension"]:
        parts = [rng.normal(size=(size, CLOUD)) for size in (n_words, n_templates, n)]
        of_words, of_templates = effects
        return (
            np.sqrt(of_words) * parts[0][word]
            + np.sqrt(of_templates) * parts[1][template]
            + np.sqrt(1 - of_words - of_templates) * parts[2]
        )

    units = tuple(
        Grouping(name=name, values=tuple(map(str, values)))
        for name, values in (("word", word), ("template", template))
        if 1 < len(set(values)) < n
    )
    return states, units


def related_by_chance(
    design: tuple[int, int, int], effects: tuple[float, float], n_sets: int
) -> dict[str, float]:
    """How often unrelated states and predictions are called coupled at 5 %, by rank correlation of
    angles, with prompts exchanged one by one and by whole units."""
    alarms = {"prompts": 0, "units": 0}
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, *design])
        states, units = cloud(design, effects, rng)
        x, y = torch.from_numpy(states())[None], states()
        target = {"y": np.linalg.norm(y[:, None] - y[None], axis=-1)}
        halves = draw_halves(len(y), 1, 0)
        for name, given in (("prompts", None), ("units", {"y": units})):
            found = couple(x, target, halves, units=given, n_permutations=99, seed=seed)
            alarms[name] += bool(found.p[0, 0, 0] <= 0.05)
    return {name: n / n_sets for name, n in alarms.items()}


def coupled_alarms(
    design: tuple[int, int, int], effects: tuple[float, float], n_sets: int, n_deals: int = 8
) -> dict[str, tuple[float, float]]:
    """How often C4's late angle is called above and below its own mean, at 2.5 % a side."""
    readout = np.random.default_rng(0).normal(size=(CLOUD, 20))
    sure = np.ones((N_GROUPS, 1), dtype=bool)
    found: dict[str, list[Estimate]] = {"prompts": [], "units": []}
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, *design])
        states, units = cloud(design, effects, rng)
        z = states()
        nothing = np.zeros((len(z), 1))
        geometry = Geometry(
            states=torch.from_numpy(z + 0.8 * states())[None].float(),
            log_probs=torch.from_numpy(z @ readout).log_softmax(-1).float(),
            norm=nothing, similarity=nothing, curvature=nothing,
        )  # fmt: skip
        prompts = [str(i) for i in range(len(z))]
        deals = []
        for deal in range(n_deals):
            group = deal_groups(prompts, seed=deal)
            zones = Zones(
                group=group, crossing=nothing[:, 0], early=sure[group[:, 0]],
                late=sure[group[:, 0]], group_early=sure, group_late=sure,
            )  # fmt: skip
            deals.append(late_couplings(prompts, geometry, zones))
        for name, given in (("prompts", ()), ("units", units)):
            number = coupled_over_deals(deals, "late angle", prompts, given)
            assert number is not None
            found[name].append(number.found)
    sides = {}
    for name, numbers in found.items():
        mean = float(np.mean([one.value for one in numbers]))
        sides[name] = (
            float(np.mean([one.p_above(mean) < 0.025 for one in numbers])),
            float(np.mean([one.p_below(mean) < 0.025 for one in numbers])),
        )
    return sides


def show(head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    """A table in Markdown."""
    print(f"\n| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _sides(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:.1f} / {100 * ends[1]:.1f} %"


def table_of_coverage(n_sets: int) -> dict[str, dict[str, float]]:
    """How often intervals hold the truth."""
    found = {
        f"{kind}, {n} × {size}": coverage(kind, n, size, n_sets)
        for kind in tqdm(KINDS, disable=None)
        for n, size in SIZES
    }
    names = ("location", "width", "crossing", "median")
    show(
        ("profiles, units × pairs", *names),
        {
            kind: [_percent(one[name]) if name in one else "–" for name in names]
            for kind, one in found.items()
        },
    )
    return found


def table_of_verdicts(n_sets: int) -> dict[str, Any]:
    """What is said of profiles with and without a switch."""
    half = n_sets // 2
    found = {
        f"{name}, {n} pairs, noise {noise:g}": verdicts(shape, n, noise, half)
        for name, shape in tqdm({**SHAPES, **SWITCHES}.items(), disable=None)
        for n in (12, 30)
        for noise in (0.1, 0.3)
    }
    names = ("transition", "rise", "none", "cannot tell", "change")
    show(
        ("profile", *names[:4], "change point: change"),
        {name: [_percent(one[v] / half, 0) for v in names] for name, one in found.items()},
    )
    return found


def table_of_claims(n_sets: int) -> dict[str, Any]:
    """How often the claims' tests call a number that stands at its threshold."""
    found = {
        f"{design}, {roles} roles, {effects}": alarms(design, effects, 5 * n_sets, roles=roles)
        for roles, designs in ((2, DESIGNS), (1, ONE_ROLE))
        for design in tqdm(designs, disable=None)
        for effects in EFFECTS
        if design[1] > 1 or not effects[1]
    }
    show(
        ("(words, templates, pairs), effects of words and templates", *TESTS),
        {name: [_sides(ends) for ends in one.values()] for name, one in found.items()},
    )
    return found


def table_of_coupling(n_sets: int) -> dict[str, Any]:
    """How often unrelated states and predictions are called coupled."""
    found = {
        f"{design}, {of}": (
            related_by_chance(design, of, n_sets),
            coupled_alarms(design, of, n_sets),
        )
        for design in tqdm(GRIDS, disable=None)
        for of in EFFECTS
        if design[1] > 1 or not any(of)
    }
    show(
        ("(words, templates, prompts), effects", "permutation", "C4's late angle"),
        {
            name: [" → ".join(map(_percent, by_chance.values())),
                   " → ".join(map(_sides, sides.values()))]
            for name, (by_chance, sides) in found.items()
        },
    )  # fmt: skip
    return found


TABLES: dict[str, Callable[[int], Any]] = {
    "coverage": table_of_coverage,
    "verdicts": table_of_verdicts,
    "claims": table_of_claims,
    "coupling": table_of_coupling,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it, print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--tables", nargs="+", choices=tuple(TABLES), default=tuple(TABLES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {name: TABLES[name](options.sets) for name in options.tables}
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
