"""How often verdicts on the study's claims are wrong, both ways, by kind of model and by statement.

    python -m benchmarks.verdicts --seeds 5 --out out/bench/verdicts.json

Models that nothing should be found on: random weights on a task that they do not do; models trained
until they know shuffled labels by heart, on the true ones; and, harder, random weights on a task
made of their own answers, which they therefore "do". Models with known answers: hand-set weights
(`teaching/planted`) of Llama, GPT-2 (LayerNorm), GPT-NeoX (parallel blocks) and Gemma 2 (soft cap)
in turn. One block moves the input (sharp; with effects of words and fillers besides), the first one
does (copied), six do a part each (gradual), pairs switch at two depths (mixture), the input rests
at a third token (relay) or is read at two (two positions), a later block takes half of it away
(inhibition) or adds as much (amplification), two blocks do the same (redundant), or the norm
decides (gate).

Counted are claims that come out supported in the former, and of what the construction settles in
the latter: verdicts and statements that come out the wrong way, and those left open.
"""

import argparse
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from lensdepth import evaluate_claims, load_model, load_task
from lensdepth.claims.statements import TITLES
from lensdepth.teaching import planted
from lensdepth.teaching.planted.language import tokenizer as word_tokenizer
from lensdepth.writing import write_text

N_LAYERS, D_MODEL = 6, 32
PAIRS = [(a, (a + k) % 12) for a in range(12) for k in (1, 4, 7)]
KINDS = [pair for a in range(6) for b in range(6) for pair in ((a, b + 6), (b + 6, a))]
WITHIN = [(a, (a + k) % 6 + 6 * (a >= 6)) for a in range(12) for k in (1, 2, 4)]
STEPS = 120
YES, NO = "supported", "contradicted"
_SHARP = {
    "C1": YES, "C2": YES, "C5": YES, "C1 handover": YES, "C1 width": YES,
    "C2 input works early": YES, "C2 output works late": YES, "C2 input stops": YES,
    "C2 output starts": YES, "C2 crossing": YES, "C5 beats random": YES,
    "C5 beats a stretch": YES, "C5 norm does nothing": YES, "C5 norm halved or doubled": YES,
}  # fmt: skip
_LOCAL = {"C7a": NO, "C7b": NO, "C7c": NO}
EXPECTED: dict[str, dict[str, str]] = {
    "sharp": _SHARP | _LOCAL | {"C3": NO, "C3 similarity": NO, "C5 selective": YES},
    "sharp, words": _SHARP | {"C7a": NO, "C7c": NO},
    "copied": {"C1": NO, "C2": NO, "C1 handover": NO, "C2 crossing": NO},
    "gradual": {"C1": NO, "C1 width": NO, "C1 handover": YES, "C7 no single depth": YES,
                "C7c": NO},
    "mixture": {"C1 width": YES, "C1": YES, "C5 beats random": YES},
    "gate": {"C5": NO, "C6": NO, "C5 norm does nothing": NO, "C6 norm decides nothing": NO,
             "C1 width": YES},
    "relay": {"C1": NO, "C1 width": NO, "C7a": NO},
    "two positions": {"C1": NO, "C1 width": NO, "C7a": NO},
    "inhibition": {"C1": YES, "C1 width": YES, "C7 through others": YES, "C7 not additive": YES},
    "amplification": {"C1": YES, "C1 width": YES, "C7 through others": YES,
                      "C7 not additive": YES},
    "redundant": {"C1": NO, "C1 width": NO, "C7 no single depth": YES, "C7b": NO, "C7c": NO},
}  # fmt: skip
"""What is right on the planted models, of the claims and statements that their construction
settles."""
NOTHING = ("random", "shuffled labels", "random, own answers")
"""Kinds on which no claim should be supported."""
ARCHITECTURES: tuple[planted.Architecture, ...] = ("llama", "gpt2", "gpt_neox", "gemma2")
WORDS = 0.6
"""Length of what each word's embedding has of its own, where words and fillers have effects."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model with its prompts."""

    kind: str
    folder: Path
    pairs: list[tuple[int, int]]
    outputs: list[int]


def random_model(folder: Path, seed: int, *, train: bool) -> Path:
    """A small model with random weights; `train` teaches it a random answer to each input."""
    torch.manual_seed(seed)
    tokenizer = word_tokenizer()
    size: dict[str, Any] = {"vocab_size": len(tokenizer)}
    if seed % 2:
        model: Any = LlamaForCausalLM(
            LlamaConfig(
                **size, hidden_size=D_MODEL, num_hidden_layers=N_LAYERS, num_attention_heads=4,
                intermediate_size=4 * D_MODEL, max_position_embeddings=32,
                initializer_range=0.2,
            )
        )  # fmt: skip
    else:
        model = GPT2LMHeadModel(
            GPT2Config(
                **size, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=4, n_positions=32,
                initializer_range=0.2,
            )
        )  # fmt: skip
    if train:
        teach(model, tokenizer, np.random.default_rng(seed).permutation(12))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def teach(model: Any, tokenizer: Any, answers: np.ndarray) -> None:
    """Answers by heart, whatever the wording."""
    texts = [w.format(f"in{i}") for w in planted.WORDINGS for i in range(12)]
    tokens = tokenizer(texts, return_tensors="pt").input_ids
    targets = [f"out{answers[i]}" for _ in planted.WORDINGS for i in range(12)]
    wanted = torch.tensor(tokenizer.convert_tokens_to_ids(targets))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(model(tokens).logits[:, -1], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def own_answers(case: Case, path: Path) -> Path:
    """The pairs of prompts that the model answers differently, with its own answers."""
    model = load_model(case.folder)
    texts = [w.format(f"in{i}") for w in planted.WORDINGS for i in range(12)]
    tops = model.logits(texts)[:, 0].argmax(-1).tolist()
    answer = dict(zip(texts, (model.token_text(top) for top in tops), strict=True))
    lines = ["clean,corrupted,target,foil,input,corrupted_input"]
    for wording in planted.WORDINGS:
        for a, b in ((a, b) for a in range(12) for b in range(12) if a != b):
            clean, corrupted = (wording.format(f"in{i}") for i in (a, b))
            if answer[clean] != answer[corrupted] and "<" not in answer[clean] + answer[corrupted]:
                lines.append(f"{clean},{corrupted},{answer[clean]},{answer[corrupted]},in{a},in{b}")
    rows = np.random.default_rng(0).permutation(len(lines) - 1)[:150] + 1
    path.write_text("\n".join([lines[0], *(lines[i] for i in rows)]) + "\n")
    return path


def with_words(folder: Path, seed: int) -> Path:
    """Each word gets something of its own: whatever it does to the answer, its prompts share."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    weight = model.get_input_embeddings().weight.data
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(weight.shape, generator=generator)
    drawn -= drawn.mean(1, keepdim=True)  # which LayerNorm would subtract
    weight += WORDS * weight.norm(dim=1).mean() / 3 * drawn / drawn.norm(dim=1, keepdim=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build(kind: str, folder: Path, seed: int) -> Case:
    """One model of a kind."""
    rng = np.random.default_rng(seed)
    noise = float(rng.choice([0.05, 0.15, 0.3]))
    given: dict[str, Any] = {
        "n_layers": 8, "noise": noise, "seed": seed, "architecture": ARCHITECTURES[seed % 4],
    }  # fmt: skip
    layer = int(rng.integers(2, 6))
    gated: planted.Architecture = "llama" if seed % 2 else "gpt2"
    made: dict[str, Callable[[], Path]] = {
        "random": lambda: random_model(folder, seed, train=False),
        "random, own answers": lambda: random_model(folder, seed, train=False),
        "shuffled labels": lambda: random_model(folder, seed, train=True),
        "sharp": lambda: planted.switch(folder, layer=layer, **given),
        "sharp, words": lambda: with_words(planted.switch(folder, layer=layer, **given), seed),
        "copied": lambda: planted.switch(folder, layer=0, **given),
        "gradual": lambda: planted.gradual(folder, layers=range(1, 7), **given),
        "mixture": lambda: planted.switch(
            folder, layer={i: 2 if i < 6 else 5 for i in range(12)}, **given
        ),
        "gate": lambda: planted.gate(
            folder, n_layers=8, stretch=int(rng.integers(1, 4)), weigh=int(rng.integers(4, 7)),
            architecture=gated,
        ),
    }  # fmt: skip
    if kind == "redundant":
        # With more the second block reads some of what the first wrote: then they do not add up.
        given["noise"] = min(noise, 0.15)
    ways: Any = kind  # those that are not made above
    path = made[kind]() if kind in made else planted.planted_way(folder, ways, **given)
    pairs = {"gate": KINDS, "mixture": WITHIN}.get(kind, PAIRS)
    outputs = [0] * 6 + [1] * 6 if kind == "gate" else list(range(12))
    return Case(kind=kind, folder=path, pairs=pairs, outputs=outputs)


def verdicts_of(case: Case, path: Path, seed: int) -> dict[str, str]:
    """Of claims the verdict, of statements how they stand; none where there are too few pairs."""
    file = path / "prompts.csv"
    if case.kind == "random, own answers":
        own_answers(case, file)
        if len(file.read_text().splitlines()) < 3:
            return dict.fromkeys(TITLES, "cannot tell")
    else:
        framed = case.kind in ("relay", "two positions", "inhibition", "amplification",
                               "redundant", "sharp, words")  # fmt: skip
        wordings = planted.FRAMED if framed else planted.WORDINGS
        planted.prompt_file(file, case.pairs, case.outputs, wordings)
    model = load_model(case.folder)
    task = load_task(file, model, n=None, on_multi_token="drop")
    table = evaluate_claims(model, task, seed=seed)
    found: dict[str, str] = {one.claim: one.verdict for one in table.claims}
    return found | {one.key: one.stands for one in table.findings if one.expect is not None}


def judged(kind: str, seed: int) -> dict[str, str]:
    """Verdicts on one model of a kind."""
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        return verdicts_of(build(kind, path / "model", seed), path, seed)


def share(found: list[dict[str, str]], keys: Mapping[str, str], wrong: bool) -> dict[str, int]:
    """How many models have a verdict the wrong way, or left open, by claim and statement."""
    return {
        key: sum(
            one[key] == "cannot tell" if not wrong else one[key] not in (right, "cannot tell")
            for one in found
        )
        for key, right in keys.items()
    }


def row(kind: str, found: list[dict[str, str]]) -> str:
    """One line of the table."""
    expected = EXPECTED.get(kind)
    if expected is None:
        expected = dict.fromkeys(TITLES, NO)
    wrong, left = share(found, expected, True), share(found, expected, False)
    asked = len(found) * len(expected)
    n_wrong, n_open = sum(wrong.values()), sum(left.values())
    named = ", ".join(f"{key} {n}" for key, n in wrong.items() if n) or "–"
    opened = ", ".join(f"{key} {n}" for key, n in left.items() if n and kind in EXPECTED) or "–"
    return (
        f"| {kind} | {len(found)} | {len(expected)} | {n_wrong / asked:.1%} | {named} | "
        f"{n_open / asked:.1%} | {opened} |"
    )


def main() -> None:
    """Print the table and write every verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="models of each kind")
    parser.add_argument("--kinds", nargs="+", choices=(*NOTHING, *EXPECTED), metavar="KIND")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")
    parser.add_argument("--out", type=Path, help="JSON file of every verdict, kept up to date")
    options = parser.parse_args()
    every: dict[str, list[dict[str, str]]] = {k: [] for k in options.kinds or (*NOTHING, *EXPECTED)}
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        asked = {
            pool.submit(judged, kind, seed): kind for seed in range(options.seeds) for kind in every
        }
        for done in tqdm(as_completed(asked), total=len(asked), disable=None):
            every[asked[done]].append(done.result())
            if options.out is not None:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                write_text(options.out, json.dumps(every, indent=1))
    print(
        "| models | n | settled | wrong | which | left open | which |\n"
        "| --- | ---: | ---: | ---: | --- | ---: | --- |"
    )
    for kind, found in every.items():
        print(row(kind, found))


if __name__ == "__main__":
    main()
