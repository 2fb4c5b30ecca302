"""How often right and wrong answers are said to form at different depths, and when rightly so.

    python -m benchmarks.mistakes

Planted: depths with effects of the input word and of the template, wrong answers that go together
by word and template as well, and a delay of the wrong ones, 0 under the null. Printed is the share
of draws with each verdict.
"""

import sys
from collections.abc import Callable

import numpy as np
from numpy import ndarray as Array

from lensdepth.mistakes.compare import compared
from lensdepth.units import Grouping, Units

Draw = tuple[Array, Array, Units]
DRAWS = 400


def clustered(
    n_words: int, n_templates: int, repeats: int, clumping: float, delay: float
) -> Callable[[np.random.Generator], Draw]:
    """Pairs of every word with every template, so often each."""

    def draw(rng: np.random.Generator) -> Draw:
        word = np.repeat(np.arange(n_words), n_templates * repeats)
        template = np.tile(np.repeat(np.arange(n_templates), repeats), n_words)
        groups = [(word, n_words)] + [(template, n_templates)] * (n_templates > 1)
        leaning, depth = np.full(len(word), -0.8), 20 + rng.normal(0, 1.5, len(word))
        for group, n in groups:
            leaning = leaning + clumping * rng.normal(0, 1.5, n)[group]
            depth = depth + rng.normal(0, 1.5, n)[group]
        wrong = rng.random(len(word)) < 1 / (1 + np.exp(-leaning))
        named = {"word": word} | ({"template": template} if n_templates > 1 else {})
        units = tuple(
            Grouping(name=name, values=tuple(map(str, one))) for name, one in named.items()
        )
        return np.round(depth + delay * wrong), wrong, units

    return draw


def verdicts(draw: Callable[[np.random.Generator], Draw], n_draws: int = DRAWS) -> dict[str, float]:
    """Share of draws with each verdict."""
    said: dict[str, int] = {}
    for seed in range(n_draws):
        drawn = draw(np.random.default_rng(seed))
        depth, wrong, units = drawn
        verdict = compared(depth, wrong, units, units, n_permutations=199, seed=seed)[0]
        said[verdict] = said.get(verdict, 0) + 1
    return {verdict: n / n_draws for verdict, n in sorted(said.items())}


def main() -> None:
    """Print them, without a delay and with one."""
    for delay in (0.0, 1.5):
        for design in ((12, 1, 5), (7, 1, 8), (24, 1, 3), (60, 1, 1), (12, 3, 2), (24, 3, 1)):
            for clumping in (0.0, 1.0, 3.0):
                shares = verdicts(clustered(*design, clumping, delay))
                told = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
                sys.stdout.write(
                    f"delay {delay}, {design[0]} words x {design[1]} templates x {design[2]}, "
                    f"clumping {clumping}: {told}\n"
                )


if __name__ == "__main__":
    main()
