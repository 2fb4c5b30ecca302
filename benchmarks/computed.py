"""What a report costs on large models, counted and not measured: a table for the documentation.

    python -m benchmarks.computed

How much goes through a model depends on its blocks, the prompts and the depths, and on no width: so
each analysis of a report is rehearsed (`lensdepth.tally`) on a narrow model with as many blocks,
and what was counted is multiplied by the operations of the large one's blocks and unembedding.
Seconds are those operations at a share of the card's rate by its data sheet; nothing was run on any
of these cards here. What the processor does beside (intervals, permutations) is left out.
"""

import argparse
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.large import Count, Sizes, counted, depth_model
from lensdepth import (
    ablation_sweep,
    compare_local_global,
    dose_response,
    load_task,
    logit_lens,
    patch_sweep,
    steering_sweep,
)
from lensdepth.plain_runs import apart
from lensdepth.progress import unwatched
from lensdepth.sweep.adaptive import coarse_grid
from lensdepth.tasks.load import draw_rows
from lensdepth.telling.numbers import duration

CARDS = {"A100": 312.0, "H100": 989.0}
"""TFLOP/s in bfloat16 without sparsity, by the data sheets of the SXM cards with 80 GB."""
MEMORY = 80e9
SHARE = 0.4
"""Of that rate: what large products reach."""
WORKING = 10e9
"""Bytes on a card beside the weights: states, keys and values, packed runs, logits."""
FOUND = 8
"""Depths that are measured beside the coarse grid, where curves move."""
MODELS = {"1B": "llama-1b", "8B": "llama-8b", "70B": "llama-70b"}
PAIRS, FORM, SEED = 200, "few-shot", 0


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a report puts through one model."""

    sizes: Sizes
    parts: dict[str, Count]
    context: float
    """Tokens that a token looks back at, on the average."""

    @property
    def flops(self) -> float:
        """Operations of all parts."""
        return sum(count.flops(self.sizes, self.context) for count in self.parts.values())

    @property
    def weights(self) -> int:
        """Bytes in bfloat16."""
        return 2 * self.sizes.parameters

    @property
    def cards(self) -> int:
        """Cards that one copy of the model takes."""
        return math.ceil(self.weights / (MEMORY - WORKING))

    def seconds(self, rate: float, n_cards: int = 1) -> float | None:
        """On so many cards of a rate in TFLOP/s, as many copies side by side as fit, each with
        pairs of its own; blocks on several cards work one after the other. None: it does not
        fit."""
        copies = n_cards // self.cards
        return self.flops / (SHARE * rate * 1e12) / copies if copies else None


def cost(shape: str) -> Cost:
    """Rehearse a report on a narrow model with as many blocks."""
    sizes = Sizes.of(shape)
    rows = draw_rows("months", n=PAIRS, seed=SEED, form=FORM)  # type: ignore[arg-type]
    texts = [f"{text} {answer}" for row in rows for text, answer in
             ((row.clean, row.target), (row.corrupted, row.foil))]  # fmt: skip
    narrow = depth_model(
        "tiny", "cpu", torch.float32, texts, num_hidden_layers=sizes.n_layers, hidden_size=16,
        intermediate_size=16, num_attention_heads=2, num_key_value_heads=2, vocab_size=128,
    )  # fmt: skip
    task = load_task("months", narrow, n=PAIRS, seed=SEED, form=FORM)  # type: ignore[arg-type]
    logit_lens(narrow, task.clean_tokens[:1])  # what is found out about a model once
    middle = sizes.n_layers // 2
    near = range(middle - FOUND // 2, middle + FOUND // 2)
    at: dict[str, Any] = {"depths": sorted({*coarse_grid(sizes.n_layers), *near})}
    analyses: dict[str, Callable[[], Any]] = {
        "lens": partial(logit_lens, narrow, task),
        "patch": partial(patch_sweep, narrow, task, **at),
        "steering": partial(steering_sweep, narrow, task, **at),
        "locality": partial(compare_local_global, narrow, task, stream="attn_out"),
        "ablation": partial(ablation_sweep, narrow, task, **at),
        "dose": partial(dose_response, narrow, task, **at),
    }
    parts = {}
    for name, analyse in analyses.items():
        with unwatched(), apart(), counted(narrow, rehearsed=True) as count:
            analyse()
        # What is read in a rehearsal is the base run over and over; what would be is counted.
        lens = (sizes.n_layers + 1) * len(task) if name == "lens" else 0
        parts[name] = Count(tally=count.tally, whole=lens + count.tally.reads, ends=count.ends)
    context = float(task.clean_tokens.lengths.float().mean()) / 2
    return Cost(sizes=sizes, parts=parts, context=context)


def table(costs: dict[str, Cost]) -> str:
    """As Markdown: a row a model."""
    heads = ["model", "weights", "edited runs", "operations"]
    heads += [f"{n} {card}" for n in ("one", "eight") for card in CARDS]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name, found in costs.items():
        runs = sum(count.tally.runs for count in found.parts.values())
        cells = [name, f"{found.weights / 2**30:,.0f} GiB", f"{runs:,}"]
        cells += [f"{found.flops / 1e15:,.1f} PFLOP"]
        for n in (1, 8):
            for rate in CARDS.values():
                took = found.seconds(rate, n)
                small = took is not None and took < 1
                cells.append(
                    "does not fit" if took is None else "< 1 s" if small else duration(took)
                )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Count and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--model", action="append", choices=list(MODELS), default=[])
    parser.add_argument("--out", type=Path, help="Markdown file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    costs = {name: cost(MODELS[name]) for name in options.model or MODELS}
    found = table(costs)
    print(found)
    for name, one in costs.items():
        shares = {
            part: count.flops(one.sizes, one.context) / one.flops
            for part, count in one.parts.items()
        }
        print(name, ", ".join(f"{part} {share:.0%}" for part, share in shares.items()))
    if options.out is not None:
        options.out.write_text(found + "\n")


if __name__ == "__main__":
    main()
