"""How often verdicts on the study's claims are wrong, both ways.

    python -m benchmarks.verdicts --seeds 60 --out out/bench/verdicts.json

Models that nothing should be found on: random weights on a task that they do not do; models trained
until they know shuffled labels by heart, on the true ones; and, harder, random weights on a task
made of their own answers, which they therefore "do". Models with known answers: hand-set weights
(`teaching/planted`) in which one block moves the input (sharp), the first one does (copied), six do
(spread), or the norm decides (gate). Counted are verdicts "supported" in the former and wrong
verdicts in the latter.
"""

import argparse
import json
import logging
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lensdepth import evaluate_claims, load_model, load_task
from lensdepth.teaching import planted
from lensdepth.teaching.planted.language import tokenizer as word_tokenizer

N_LAYERS, D_MODEL = 6, 32
PAIRS = [(a, (a + k) % 12) for a in range(12) for k in (1, 4, 7)]
KINDS = [pair for a in range(6) for b in range(6) for pair in ((a, b + 6), (b + 6, a))]
STEPS = 120
EXPECTED: dict[str, dict[str, str]] = {
    "sharp": {"C1": "supported", "C2": "supported", "C5": "supported", "C3": "contradicted",
              "C7": "contradicted"},
    "copied": {"C1": "contradicted", "C2": "contradicted"},
    "spread": {"C1": "contradicted", "C2": "supported"},
    "gate": {"C5": "contradicted", "C6": "contradicted"},
}  # fmt: skip
"""What is right on the planted models, of the claims that their construction settles."""


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


def build(kind: str, folder: Path, seed: int) -> Case:
    """One model of a kind."""
    rng = np.random.default_rng(seed)
    architecture: planted.Architecture = "llama" if seed % 2 else "gpt2"
    noise = float(rng.choice([0.05, 0.15, 0.3]))
    made: dict[str, Callable[[], Path]] = {
        "random": lambda: random_model(folder, seed, train=False),
        "random, own answers": lambda: random_model(folder, seed, train=False),
        "shuffled labels": lambda: random_model(folder, seed, train=True),
        "sharp": lambda: planted.switch(
            folder, n_layers=8, layer=int(rng.integers(2, 6)), noise=noise, seed=seed,
            architecture=architecture,
        ),
        "copied": lambda: planted.switch(
            folder, n_layers=8, layer=0, noise=noise, seed=seed, architecture=architecture
        ),
        "spread": lambda: planted.switch(
            folder, n_layers=8, layer={i: 1 + i % 6 for i in range(12)}, noise=noise, seed=seed,
            architecture=architecture,
        ),
        "gate": lambda: planted.gate(
            folder, n_layers=8, stretch=int(rng.integers(1, 4)), weigh=int(rng.integers(4, 7)),
            architecture=architecture,
        ),
    }  # fmt: skip
    gated = kind == "gate"
    return Case(
        kind=kind,
        folder=made[kind](),
        pairs=KINDS if gated else PAIRS,
        outputs=[0] * 6 + [1] * 6 if gated else list(range(12)),
    )


def verdicts_of(case: Case, path: Path, seed: int) -> dict[str, str]:
    """The verdicts; none where there are too few pairs to make a task of."""
    file = path / "prompts.csv"
    if case.kind == "random, own answers":
        own_answers(case, file)
        if len(file.read_text().splitlines()) < 3:
            return dict.fromkeys((f"C{i}" for i in range(1, 8)), "cannot tell")
    else:
        planted.prompt_file(file, case.pairs, case.outputs, planted.WORDINGS)
    model = load_model(case.folder)
    table = evaluate_claims(model, load_task(file, model, on_multi_token="drop"), seed=seed)
    return {one.claim: one.verdict for one in table.claims}


def run(kind: str, n: int) -> list[dict[str, str]]:
    """Verdicts on so many models of a kind."""
    found = []
    for seed in tqdm(range(n), desc=kind, disable=None):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            found.append(verdicts_of(build(kind, path / "model", seed), path, seed))
    return found


def row(kind: str, found: list[dict[str, str]]) -> str:
    """One line of the table."""
    counts = Counter(verdict for one in found for verdict in one.values())
    total = sum(counts.values())
    by_claim = defaultdict(int)
    for one in found:
        for claim, verdict in one.items():
            by_claim[claim] += verdict == "supported"
    most = max(by_claim, key=lambda claim: by_claim[claim])
    often = f"{most} {by_claim[most] / len(found):.0%}" if by_claim[most] else "–"
    expected = EXPECTED.get(kind, {})
    wrong = sum(
        one[claim] not in (right, "cannot tell")
        for one in found
        for claim, right in expected.items()
    )
    missed = sum(one[claim] == "cannot tell" for one in found for claim in expected)
    asked = len(found) * len(expected)
    settled = f"{wrong / asked:.1%} | {missed / asked:.1%}" if asked else "– | –"
    return (
        f"| {kind} | {len(found)} | {counts['supported'] / total:.1%} | "
        f"{counts['contradicted'] / total:.1%} | {often} | {settled} |"
    )


def main() -> None:
    """Print the table and write every verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="models of each kind")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    kinds = ("random", "shuffled labels", "random, own answers", *EXPECTED)
    print(
        "| models | n | supported | contradicted | most often supported | wrong | cannot tell |\n"
        "| --- | ---: | ---: | ---: | --- | ---: | ---: |"
    )
    every = {}
    for kind in kinds:
        every[kind] = run(kind, options.seeds)
        print(row(kind, every[kind]), flush=True)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(every, indent=1))


if __name__ == "__main__":
    main()
