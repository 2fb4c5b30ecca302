"""Train the bundled model from scratch: `python -m lensdepth.bundled.train --out FOLDER`.

A Llama-architecture decoder on the synthetic language of `corpus.py`. Muon for the matrices
inside the blocks, AdamW for embeddings, head and norms, one cosine schedule; the answer token
of a sentence weighs four times as much as the others. Plain calendar sentences come first and
nested ones after 40 % of the steps, because nested ones from the start keep the model at
chance. Every step's data depend on the seed and the step alone, so an interrupted run picks up
at its last checkpoint and ends in the same weights. On the way, models of some steps are kept
(`keep.py`), which changes nothing in what follows.

Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
"""

import argparse
import json
import math
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lensdepth.bundled import corpus
from lensdepth.bundled.evaluate import accuracies
from lensdepth.bundled.keep import KEEP, check_kept, keep_checkpoint, kept_steps


@dataclass(frozen=True, kw_only=True)
class Design:
    """Everything that decides what the trained weights will be."""

    n_layers: int = 10
    d_model: int = 128
    d_mlp: int = 320
    n_heads: int = 4
    steps: int = 6000
    rows: int = 32
    """Rows of `n_ctx` tokens in a batch."""
    n_ctx: int = 64
    stage_two: float = 0.4
    """Share of the steps after which nested sentences join."""
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    weight_decay: float = 0.1
    answer_weight: float = 4.0
    embedding_std: float = 0.5
    seed: int = 0


DESIGNS = {
    "calendar": Design(),
    "tiny": Design(n_layers=3, d_model=32, d_mlp=64, steps=8000, rows=16),
}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; `<bos>` in front of every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    vocabulary = {word: i for i, word in enumerate(corpus.vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side="right",
        model_max_length=256,
    )


def build_model(design: Design, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(design.seed)
    ids = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=design.d_model,
        intermediate_size=design.d_mlp,
        num_hidden_layers=design.n_layers,
        num_attention_heads=design.n_heads,
        num_key_value_heads=design.n_heads,
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=ids["<bos>"],
        eos_token_id=ids["<eos>"],
        pad_token_id=ids["<pad>"],
    )
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        std = weight.shape[1] ** -0.5
        if "embed_tokens" in name:
            std = design.embedding_std
        elif "lm_head" in name:
            std = 0.02
        elif "o_proj" in name or "down_proj" in name:
            std *= (2 * design.n_layers) ** -0.5
        torch.nn.init.normal_(weight, std=std)
    return model


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Documents packed into rows; a document sees itself alone, its positions start at 0."""

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    mask: Tensor


def make_batch(design: Design, step: int, ids: dict[str, int]) -> Batch:
    """The batch of one step: a function of the seed and the step, of nothing else."""
    rng = random.Random(f"{design.seed} {step}")
    mixture = corpus.PLAIN if step < design.stage_two * design.steps else corpus.FULL
    shape = (design.rows, design.n_ctx)
    tokens = torch.zeros(shape, dtype=torch.long)
    targets, weights, positions = tokens.clone(), torch.zeros(shape), tokens.clone()
    owner = torch.full(shape, -1)
    for row in range(design.rows):
        at = misses = n_documents = 0
        while misses < 3:
            listed, is_answer = corpus.document(rng, mixture)
            end = at + len(listed) + 1
            if end > design.n_ctx:
                misses += 1
                continue
            document = torch.tensor([ids["<bos>"], *(ids[w] for w in listed), ids["<eos>"]])
            tokens[row, at:end], targets[row, at:end] = document[:-1], document[1:]
            answer_weights = [design.answer_weight if a else 1.0 for a in is_answer]
            weights[row, at:end] = torch.tensor([*answer_weights, 1.0])
            positions[row, at:end] = torch.arange(end - at)
            owner[row, at:end] = n_documents
            at, n_documents = end, n_documents + 1
    causal = torch.ones(design.n_ctx, design.n_ctx, dtype=torch.bool).tril()
    mask = (owner[:, :, None] == owner[:, None, :]) & causal
    return Batch(
        tokens=tokens, targets=targets, weights=weights, positions=positions, mask=mask[:, None]
    )


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised; equal shapes are stacked into one product.

    torch.optim.Muon works in bfloat16, one matrix at a time, which is slow on a CPU.
    """

    def __init__(self, params: Iterable[Tensor], *, lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                by_shape[p.shape].append(p)
            for shape, params in by_shape.items():
                updates = []
                for p in params:
                    momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    assert p.grad is not None
                    momentum.lerp_(p.grad, 0.05)
                    updates.append(p.grad.lerp(momentum, 0.95))
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                for p, update in zip(params, orthogonalise(torch.stack(updates)), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update, alpha=-group["lr"] * scale)


def orthogonalise(stack: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrices, roughly: five Newton-Schulz steps."""
    x = stack / (stack.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.mT if tall else x


def build_optimizers(model: LlamaForCausalLM, design: Design) -> list[torch.optim.Optimizer]:
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and ".layers." in n]
    inside = {id(p) for p in matrices}
    embedding = model.get_input_embeddings().weight
    rest = [p for p in model.parameters() if id(p) not in inside and p is not embedding]
    return [
        Muon(matrices, lr=design.muon_lr, weight_decay=design.weight_decay),
        torch.optim.AdamW(
            [
                {"params": [embedding], "lr": 2 * design.adam_lr},
                {"params": rest, "lr": design.adam_lr},
            ],
            betas=(0.9, 0.95),
            weight_decay=0.0,
        ),
    ]


def schedule(step: int, steps: int) -> float:
    """Linear warm-up over 60 steps, then a cosine down to 2 %."""
    warm_up = min(1.0, (step + 1) / 60)
    return warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def save_checkpoint(
    folder: Path,
    step: int,
    model: LlamaForCausalLM,
    optimizers: list[torch.optim.Optimizer],
    design: Design,
    minutes: float,
) -> None:
    """Write model, optimizer state and progress to one file, whole or not at all."""
    tensors = {f"model.{n}": p.detach() for n, p in model.named_parameters()}
    for k, optimizer in enumerate(optimizers):
        for i, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{k}.{i}.{n}": torch.as_tensor(v) for n, v in state.items()}
    header = {"step": str(step), "minutes": str(minutes), "design": json.dumps(asdict(design))}
    partial = folder / "checkpoint.partial"
    save_file(tensors, partial, header)
    os.replace(partial, folder / "checkpoint.safetensors")


def load_checkpoint(
    folder: Path,
    model: LlamaForCausalLM,
    optimizers: list[torch.optim.Optimizer],
    design: Design,
) -> tuple[int, float]:
    """Restore what `save_checkpoint` wrote: the step to go on from, and the minutes spent."""
    from safetensors import safe_open

    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0, 0.0
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    if json.loads(metadata["design"]) != asdict(design):
        raise ValueError(
            f"train: {path} belongs to another design; choose another --out or delete it."
        )
    tensors = load_file(path)
    model.load_state_dict(
        {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    )
    for k, optimizer in enumerate(optimizers):
        whole = optimizer.state_dict()
        state: dict[int, dict[str, Any]] = defaultdict(dict)
        for name, tensor in tensors.items():
            if name.startswith(f"optimizer.{k}."):
                _, _, i, key = name.split(".")
                state[int(i)][key] = tensor
        optimizer.load_state_dict({**whole, "state": dict(state)})
    return int(metadata["step"]), float(metadata["minutes"])


def train(
    design: Design, out: Path, *, checkpoint_every: int = 200, keep: int = 0
) -> LlamaForCausalLM:
    """Train to the end, or on from the last checkpoint in `out`, and export to `out/model`.

    Args:
        design: what decides the weights.
        out: folder of everything that is written.
        checkpoint_every: steps from one checkpoint to go on from to the next, which replaces it.
        keep: models of earlier steps that stay, in `out/checkpoints`; see `kept_steps`.
    """
    kept = kept_steps(design.steps, keep)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    ids = tokenizer.get_vocab()
    model = build_model(design, tokenizer)
    optimizers = build_optimizers(model, design)
    first, spent = load_checkpoint(out, model, optimizers, design)
    check_kept(out, kept, first)
    base_lrs = [[group["lr"] for group in o.param_groups] for o in build_optimizers(model, design)]
    log = out / "log.jsonl"
    total, started, minutes = 0.0, time.monotonic(), spent
    if first == 0 and kept:
        keep_checkpoint(out, 0, model, tokenizer, design)
    for step in track(range(first, design.steps), "training", total=design.steps, completed=first):
        batch = make_batch(design, step, ids)
        logits = model(
            batch.tokens,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            use_cache=False,
        ).logits
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), reduction="none"
        )
        loss = (losses * batch.weights.flatten()).sum() / batch.weights.sum()
        loss.backward()
        for optimizer, lrs in zip(optimizers, base_lrs, strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group["lr"] = lr * schedule(step, design.steps)
            optimizer.step()
            optimizer.zero_grad()
        total += loss.item()
        if step + 1 in kept:
            keep_checkpoint(out, step + 1, model, tokenizer, design)
        if (step + 1) % checkpoint_every == 0 or step + 1 == design.steps:
            minutes = spent + (time.monotonic() - started) / 60
            save_checkpoint(out, step + 1, model, optimizers, design, minutes)
            record = {
                "step": step + 1,
                "loss": total / checkpoint_every,
                "minutes": minutes,
                **accuracies(model, tokenizer, n=150),
            }
            with log.open("a") as file:
                file.write(json.dumps(record) + "\n")
            total = 0.0
    model.half().save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    facts = {
        "design": asdict(design),
        "minutes": round(minutes),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    (out / "model" / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--design", choices=DESIGNS, default="calendar")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=int, default=KEEP, help="models of earlier steps that stay")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    design = Design(**{**asdict(DESIGNS[arguments.design]), "seed": arguments.seed})
    train(design, arguments.out, keep=arguments.keep)


if __name__ == "__main__":
    main()
