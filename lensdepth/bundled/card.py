"""Write a bundled model's card from what is measured on it: `python -m lensdepth.bundled.card`.

Accuracy per task, divergence from the true odds on graded prompts, and the depth tables, as
measured, whatever they show.
"""

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from lensdepth import stats
from lensdepth.ablation import ablation_sweep
from lensdepth.bundled import checkpoint_steps
from lensdepth.bundled.evaluate import accuracies, graded_divergences
from lensdepth.geometry import geometry_profile
from lensdepth.lens import logit_lens
from lensdepth.loading import load_model
from lensdepth.patching import patch_sweep
from lensdepth.tasks import load_task
from lensdepth.telling.curves import mean_curve
from lensdepth.telling.numbers import listed
from lensdepth.transition import find_crossing, find_transition
from lensdepth.transition.told import read_by
from lensdepth.writing import write_text

INTRODUCTION = """\
---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [interpretability]
---

# {name}

A decoder-only model in Llama architecture, trained from scratch on a small synthetic language:
calendar arithmetic in twelve wordings, plain and nested; indirect object identification;
capitals, opposites, colours; copying and entity binding; and prompts with several right answers
of known probability ("A month near May is"). One token a word, {d_vocab} words, `<bos>` in front.

It is made for teaching and testing interpretability tools: small enough to measure whole in
seconds, trained well enough to have something to find. It knows no other words, and nothing else.

## How it was made

`python -m lensdepth.bundled.train --design {name} --seed {seed} --out FOLDER`, {steps} steps of
{tokens} tokens: {minutes} minutes on a shared machine (threads: {threads}, torch {torch}).
{n_layers} layers, d_model {d_model}, d_mlp {d_mlp}, {n_heads} heads, embedding and unembedding
untied, weights stored in float16. No layer was inserted, copied or frozen. A tenth of all
(wording, start, count) combinations and 15 % of the name pairs were held out of training.
{kept}"""
KEPT = """
The same run left its weights behind after {steps} steps, in float16: `load_model("{name}@STEP")`.
Step 0 has learned nothing, the last one is this model.
"""


def introduction(folder: Path) -> str:
    """What the model is and how it was made, from the facts that training wrote down."""
    facts = json.loads((folder / "training.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    design, steps = facts["design"], checkpoint_steps(folder.name)
    told = listed(steps)
    return INTRODUCTION.format(
        name=folder.name,
        d_vocab=config["vocab_size"],
        tokens=f"{design['rows'] * design['n_ctx']:,}",
        minutes=facts["minutes"],
        threads=facts["threads"],
        torch=facts["torch"].split("+")[0],
        kept=KEPT.format(name=folder.name, steps=told) if steps else "",
        **{
            key: design[key] for key in ("seed", "steps", "n_layers", "d_model", "d_mlp", "n_heads")
        },
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A GitHub table; numbers are written by the caller."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def accuracy_section(folder: Path) -> str:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    accuracy = markdown_table(
        ("task", "top-1 accuracy"),
        [(name, f"{value:.1%}") for name, value in accuracies(model, tokenizer).items()],
    )
    graded = markdown_table(
        ("prompts with known odds", "KL(true ‖ model), nats"),
        [(name, f"{value:.3f}") for name, value in graded_divergences(model, tokenizer).items()],
    )
    chance = "Entity binding: guessing among the values that the prompt names gives 44 %."
    return f"## Accuracy\n\n{accuracy}\n\n{chance}\n\n{graded}\n"


def depth_section(folder: Path, *, task_name: str, n: int, seed: int) -> str:
    """What the lens, patching, ablation and geometry give by depth on one task."""
    model = load_model(folder)
    task = load_task(task_name, model, n=n, seed=seed, keep="correct")
    lens = logit_lens(model, task)
    patch = patch_sweep(model, task, seed=seed)
    ablation = ablation_sweep(model, task, seed=seed)
    geometry = geometry_profile(model, task, seed=seed)
    transition, crossing = find_transition(lens, seed=seed), find_crossing(patch, seed=seed)

    def swap(edit: str) -> list[float | None]:
        return mean_curve(ablation.of("success", edit=edit, scope="local", position="prediction"))

    curves = {
        "lens contrast": mean_curve(lens.reading("contrast")),
        "lens KL, nats": mean_curve(lens.reading("kl")),
        "lens top-1": mean_curve(lens.reading("top1_agreement")),
        "patch at the input": mean_curve(patch.efficacy("input")),
        "patch at the prediction": mean_curve(patch.efficacy("prediction")),
        "direction swap": swap("direction"),
        "norm swap": swap("norm"),
        "random direction": swap("random_direction"),
        "angle–JS Spearman": geometry.angle_js.tolist(),
        "norm–JS Spearman": geometry.norm_js.tolist(),
        "effective rank": geometry.effective_rank.tolist(),
        "norm": stats.mean_interval(geometry.norm.T.numpy())[0].tolist(),
    }
    table = markdown_table(
        ("depth", *map(str, range(model.n_layers + 1))),
        [
            (name, *("–" if v is None or math.isnan(v) else f"{v:.2f}" for v in values))
            for name, values in curves.items()
        ],
    )
    return (
        f"### {task_name}: {len(task)} pairs that the model gets right\n\n{table}\n\n"
        f"Crossing of the two patching curves: {crossing.verdict}, depth {crossing.depth:.2f} "
        f"[{crossing.low:.2f}, {crossing.high:.2f}]. Sigmoid through the lens"
        f"{read_by(transition)}: {transition.verdict}, depth {transition.location:.2f} "
        f"[{transition.location_low:.2f}, {transition.location_high:.2f}], 10–90 % width "
        f"{transition.width:.2f} [{transition.width_low:.2f}, {transition.width_high:.2f}].\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder that training wrote")
    parser.add_argument("--tasks", nargs="*", default=["months", "weekdays", "ioi"])
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    depth = [
        depth_section(arguments.folder, task_name=name, n=arguments.n, seed=arguments.seed)
        for name in arguments.tasks
    ]
    card = "\n".join(
        [
            introduction(arguments.folder),
            accuracy_section(arguments.folder),
            "## Depth tables, as measured\n\nDepth 0 enters block 0, depth d leaves block d − 1. "
            "Patching and swaps: share of pairs whose top-1 becomes the source run's answer.\n",
            *depth,
        ]
    )
    write_text(arguments.folder / "README.md", card)


if __name__ == "__main__":
    main()
