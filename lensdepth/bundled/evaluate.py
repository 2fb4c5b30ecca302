"""Accuracy of the bundled model, task by task, on what it saw and on what was held out."""

import random
from collections import defaultdict
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lensdepth.bundled import corpus
from lensdepth.tasks import calendar, graded


@torch.inference_mode()
def next_log_probs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]
) -> torch.Tensor:
    """Next-token log-probabilities `[prompt, d_vocab]`, without any padding."""
    encoded = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, ids in enumerate(encoded):
        by_length[len(ids)].append(i)
    out = torch.empty(len(prompts), model.config.vocab_size)
    for rows in by_length.values():
        for start in range(0, len(rows), 256):
            chunk = rows[start : start + 256]
            tokens = torch.tensor([encoded[i] for i in chunk])
            out[chunk] = model(tokens).logits[:, -1].float().log_softmax(-1)
    return out


def sentence_sets(*, n: int | None = None, seed: int = 0) -> dict[str, list[corpus.Sentence]]:
    """Test sentences by task; `n` bounds the number of each (None: all, or 1000 where endless)."""
    rng = random.Random(f"evaluate {seed}")
    sets: dict[str, list[corpus.Sentence]] = defaultdict(list)
    for unit, name in (("month", "months"), ("day", "weekdays")):
        for template, alpha, beta in calendar.combinations(unit):
            held_out = corpus.calendar_held_out(template.name, unit, alpha, beta)
            prompt = calendar.fill(template, unit=unit, alpha=alpha, beta=beta)
            answer = calendar.answer(template, unit=unit, alpha=alpha, beta=beta)
            sets[f"{name} {'held out' if held_out else 'seen'}"].append((prompt, answer))
        sets[f"nested {name}, 1 level"] = [
            corpus.nested(rng, unit, levels=1) for _ in range(n or 1000)
        ]
        sets[f"nested {name}, 2 levels"] = [
            corpus.nested(rng, unit, levels=2) for _ in range(n or 1000)
        ]
    sets["ioi seen"] = [corpus.ioi_sentence(rng, held_out=False) for _ in range(n or 1000)]
    sets["ioi held out"] = [corpus.ioi_sentence(rng, held_out=True) for _ in range(n or 1000)]
    sets["capitals"] = corpus.capital_sentences()
    sets["opposites"] = corpus.opposite_sentences()
    sets["colours"] = corpus.colour_sentences()
    for _ in range(n or 1000):
        sequence = corpus.copy_sequence(rng)
        at = rng.randrange(1, len(sequence))
        prompt = f"{' '.join(sequence)}; {' '.join(sequence[:at])}"
        sets["in-context copying"].append((prompt, sequence[at]))
    sets["entity binding"] = [corpus.bind_sentence(rng) for _ in range(n or 1000)]
    sets["two-hop stories"] = [corpus.story_sentence(rng) for _ in range(n or 1000)]
    return {
        name: rng.sample(items, n) if n is not None and len(items) > n else items
        for name, items in sets.items()
    }


def accuracies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    n: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Share of prompts whose most likely next token is the answer, by task."""
    result = {}
    for name, items in sentence_sets(n=n, seed=seed).items():
        top = next_log_probs(model, tokenizer, [prompt for prompt, _ in items]).argmax(-1)
        expected = torch.tensor([tokenizer.convert_tokens_to_ids(answer) for _, answer in items])
        result[name] = (top == expected).float().mean().item()
    return result


def graded_divergences(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """Mean KL(true || model) in nats over each family of prompts with known odds."""
    result = {}
    for family, items in graded.all_graded().items():
        log_probs = next_log_probs(model, tokenizer, [prompt for prompt, _ in items])
        total = 0.0
        for row, (_, odds) in zip(log_probs, items, strict=True):
            for word, p in odds.items():
                total += (
                    p * (torch.tensor(p).log() - row[tokenizer.convert_tokens_to_ids(word)]).item()
                )
        result[family] = total / len(items)
    return result
