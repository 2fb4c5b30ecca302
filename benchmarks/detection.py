"""How often the transition detector is right, on models whose switch was planted.

    python -m benchmarks.detection --models 240 --out out/bench/detection.json

Each model is a real Hugging Face folder of Llama or GPT-2 architecture with hand-set weights
(`teaching/planted`): its input moves to the last token in one block (sharp), in several blocks
(spread), in the first block alone (copied: nothing of the depth lies before it) or never (deaf);
every block adds noise besides. Three profiles are read from each: the efficacy of patching at the
prediction position, and the logit lens's contrast of the answers and its KL to the final
distribution. A data set is a sample of
prompts, drawn with replacement from all there are, so that the profile of the population is known
exactly and the interval's coverage can be counted.
"""

import argparse
import json
import logging
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lensdepth import load_model, load_task, logit_lens, patch_sweep
from lensdepth.teaching import planted
from lensdepth.transition import compare_widths, find_change_point, find_transition
from lensdepth.transition.sigmoid import fit_sigmoids

Kind = Literal["sharp", "spread", "copied", "deaf"]
KINDS: tuple[Kind, ...] = ("sharp", "spread", "spread", "sharp", "copied", "deaf")
N_LAYERS = 12
NOISES = (0.0, 0.15, 0.3)
N_PROMPTS = 48
"""Prompts of a data set."""
N_SETS = 5
"""Data sets of a model."""
TOLERANCE = 0.5


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What one model is."""

    kind: Kind
    architecture: planted.Architecture
    noise: float
    layers: tuple[int, ...]
    """The block that moves each input."""
    seed: int

    def build(self, folder: Path) -> Path:
        """Its Hugging Face folder."""
        shared = {
            "n_layers": N_LAYERS,
            "noise": self.noise,
            "seed": self.seed,
            "architecture": self.architecture,
        }
        if self.kind == "deaf":
            return planted.deaf(folder, **shared)  # type: ignore[arg-type]
        return planted.switch(folder, layer=dict(enumerate(self.layers)), **shared)  # type: ignore[arg-type]


def draw(index: int, seed: int) -> Planted:
    """A model: kinds, noises and architectures in turn, where it switches at random."""
    rng = np.random.default_rng([seed, index])
    kind = KINDS[index % len(KINDS)]
    if kind == "sharp":
        blocks = [int(rng.integers(2, N_LAYERS - 1))]
    elif kind == "spread":
        reach = int(rng.integers(3, 6))
        first = int(rng.integers(2, N_LAYERS - reach))
        blocks = list(range(first, first + reach))
    else:
        blocks = [0]
    layers = np.resize(blocks, len(planted.INPUTS))
    return Planted(
        kind=kind,
        architecture="llama" if index // len(KINDS) % 2 else "gpt2",
        noise=NOISES[index // (2 * len(KINDS)) % len(NOISES)],
        layers=tuple(int(x) for x in rng.permutation(layers)),
        seed=int(rng.integers(10_000)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Every prompt of a model that it answers rightly."""

    location: float
    """Mean depth of the planted switch: half a depth after the moving block's input."""
    profiles: dict[str, Tensor]
    """`[prompt, depth]`."""


def population(model: Planted, folder: Path) -> Population:
    """All profiles of every prompt there is."""
    loaded = load_model(model.build(folder / "model"))
    # Both inputs of a pair move in the same block, so that its switch is one step.
    by_block = defaultdict(list)
    for i, block in enumerate(model.layers):
        by_block[block].append(i)
    pairs = [
        (given, mine[(k + 1) % len(mine)])
        for mine in by_block.values()
        if len(mine) > 1
        for k, given in enumerate(mine)
    ]
    path = planted.prompt_file(
        folder / "p.csv", pairs, list(range(len(planted.INPUTS))), planted.WORDINGS
    )
    keep = "all" if model.kind == "deaf" else "correct"
    task = load_task(path, loaded, n=None, keep=keep)
    patched = patch_sweep(loaded, task, positions=("prediction",), controls=(), also=("success",))
    lens = logit_lens(loaded, task)
    assert task.inputs is not None
    blocks = [model.layers[planted.INPUTS.index(word)] for word in task.inputs]
    return Population(
        location=float(np.mean(blocks)) + 0.5,
        profiles={
            "patching": patched.efficacy("prediction").double(),
            "lens contrast": lens.reading("contrast").double(),
            "lens KL": lens.reading("kl").double(),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the detector said of one data set."""

    kind: Kind
    architecture: str
    noise: float
    profile: str
    planted: float
    population: float
    """Where the sigmoid through the population's profile lies."""
    verdict: str
    location: float
    low: float
    high: float
    width: float
    cut: float
    """The change point's location."""
    seed: int


def sample(values: Tensor, rng: np.random.Generator) -> Tensor:
    """One data set."""
    return values[torch.from_numpy(rng.integers(len(values), size=N_PROMPTS))]


def outcomes(model: Planted, whole: Population, rng: np.random.Generator) -> list[Outcome]:
    """What is found in a few data sets of one model."""
    found = []
    for name, values in whole.profiles.items():
        at = np.arange(values.shape[1], dtype=float)
        exact = float(fit_sigmoids(values.mean(0, keepdim=True).numpy(), at)["location"][0])
        for _ in range(N_SETS):
            drawn, seed = sample(values, rng), int(rng.integers(2**31))
            one = find_transition(drawn, n_resamples=500, seed=seed)
            cut = find_change_point(drawn, n_resamples=2, seed=seed)
            found.append(
                Outcome(
                    kind=model.kind,
                    architecture=model.architecture,
                    noise=model.noise,
                    profile=name,
                    planted=whole.location,
                    population=exact,
                    verdict=one.verdict,
                    location=one.location,
                    low=one.location_low,
                    high=one.location_high,
                    width=one.width,
                    cut=cut.location,
                    seed=seed,
                )
            )
    return found


def told_apart(
    sharp: Sequence[Population], spread: Sequence[Population], rng: np.random.Generator
) -> dict[str, float]:
    """How often the widths tell a sharp model from a spread one, on as many prompts of each."""
    right: dict[str, list[bool]] = defaultdict(list)
    for first, second in zip(sharp, spread, strict=False):
        for name in first.profiles:
            pair = [
                find_transition(sample(whole.profiles[name], rng), n_resamples=2)
                for whole in (first, second)
            ]
            right[name].append(compare_widths(*pair).verdict == "first is sharper")
    return {name: float(np.mean(verdicts)) for name, verdicts in right.items()}


def table(found: Sequence[Outcome]) -> str:
    """Markdown: a row a profile, kind and noise."""
    lines = [
        "| profile | kind | noise | data sets | located within ½ | by the change point | "
        "interval covers | called a transition |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    groups: dict[tuple[str, str, float], list[Outcome]] = defaultdict(list)
    for one in found:
        groups[one.profile, one.kind, one.noise].append(one)
        groups[one.profile, "all " + ("with" if _has(one) else "without"), -1.0].append(one)
    for (profile, kind, noise), mine in sorted(groups.items()):
        shares = [
            np.mean([abs(one.location - one.planted) <= TOLERANCE for one in mine]),
            np.mean([abs(one.cut - one.planted) <= TOLERANCE for one in mine]),
            np.mean([one.low - 1e-9 <= one.population <= one.high + 1e-9 for one in mine]),
            np.mean([one.verdict == "transition" for one in mine]),
        ]
        cells = [f"{100 * share:.1f} %" for share in shares]
        if not _has(mine[0]):
            cells[:3] = ["–"] * 3
        shown = "all" if noise < 0 else f"{noise:g}"
        lines.append(f"| {profile} | {kind} | {shown} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _has(one: Outcome) -> bool:
    return one.kind in ("sharp", "spread")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it, print the table, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.getLogger("lensdepth").setLevel(logging.ERROR)
    rng = np.random.default_rng(options.seed)
    found: list[Outcome] = []
    by_kind: dict[str, list[Population]] = defaultdict(list)
    for index in tqdm(range(options.models), disable=None):
        model = draw(index, options.seed)
        with tempfile.TemporaryDirectory() as folder:
            whole = population(model, Path(folder))
        by_kind[model.kind].append(whole)
        found += outcomes(model, whole, rng)
    print(table(found))
    for name, share in told_apart(by_kind["sharp"], by_kind["spread"], rng).items():
        print(f"{name}: sharp told from spread in {share:.1%} of the pairs of models")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([asdict(one) for one in found]))


if __name__ == "__main__":
    main()
