"""Which pairs are kept: by what the model itself answers to both prompts."""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Protocol, runtime_checkable

from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.outside import shown
from lensdepth.tasks.answers import Unanswered
from lensdepth.tasks.task import Keep, Task
from lensdepth.telling.numbers import counted
from lensdepth.tokens import TokenBatch, token_text


@runtime_checkable
class PromptModel(Protocol):
    """What of a `DepthModel` a task needs."""

    tokenizer: Any
    n_ctx: int
    info: Any

    def tokenize(self, prompts: Any) -> TokenBatch: ...

    def logits(self, prompts: Any) -> Tensor: ...


@checked
def answered_rightly(task: Task, model: DepthModel | PromptModel) -> tuple[Tensor, Tensor]:
    """Whether the likeliest next token is target on clean, and foil on corrupted, by pair.

    Raises:
        ValueError: the task has plain prompts alone.
    """
    return answered(task, model, caller="answered_rightly")[0]


@checked
def answered_preferably(task: Task, model: DepthModel | PromptModel) -> tuple[Tensor, Tensor]:
    """Whether target is likelier than foil on clean, and foil than target on corrupted, by pair.

    Raises:
        ValueError: the task has plain prompts alone.
    """
    return answered(task, model, caller="answered_preferably")[1]


def answered(
    task: Task, model: DepthModel | PromptModel, *, caller: str
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Both of these, out of the same passes: right and preferred, on clean and on corrupted."""
    if task.corrupted_tokens is None or task.target_ids is None or task.foil_ids is None:
        raise ValueError(f"{caller}: task {task.name!r} has plain prompts alone, and no answers.")
    right, preferred = [], []
    for tokens, own, other in (
        (task.clean_tokens, task.target_ids, task.foil_ids),
        (task.corrupted_tokens, task.foil_ids, task.target_ids),
    ):
        found = []
        # In parts, so that the logits of all prompts over a large vocabulary never exist at once.
        for part in (slice(start, start + 32) for start in range(0, len(task), 32)):
            logits = model.logits(tokens[part])[:, -1].cpu()
            rows = torch.arange(len(logits))
            likelier = logits[rows, own[part]] > logits[rows, other[part]]
            found.append(torch.stack([logits.argmax(-1) == own[part], likelier]))
        firsts, likeliers = torch.cat(found, 1)
        right.append(firsts)
        preferred.append(likeliers)
    return (right[0], right[1]), (preferred[0], preferred[1])


def is_kept(task: Task, model: DepthModel | PromptModel, keep: Keep) -> Tensor:
    """Whether each pair is answered as asked."""
    if keep == "all":
        return torch.ones(len(task), dtype=torch.bool)
    return _by(keep, _sides(task, model, keep))


def _sides(task: Task, model: DepthModel | PromptModel, keep: Keep) -> tuple[Tensor, Tensor]:
    judge = answered_preferably if keep == "preferred" else answered_rightly
    return judge(task, model)


def _by(keep: Keep, sides: tuple[Tensor, Tensor]) -> Tensor:
    both = sides[0] & sides[1]
    return ~both if keep == "wrong" else both


def _said_instead(task: Task, model: PromptModel) -> str:
    """What a model says most often to prompts of which it answers no pair, and whether it prefers
    the right answers all the same."""
    first = model.logits(task.clean_tokens[slice(0, 32)])[:, -1].argmax(-1).tolist()
    (token, n), *_ = Counter(first).most_common(1)
    said = f"; its first choice is {shown(token_text(model.tokenizer, token))} for {n} of "
    said += f"{len(first)} clean prompts"
    if token_text(model.tokenizer, token).isspace():
        said += ", so these may have to end in that space"
    n_preferred = int(_by("preferred", _sides(task, model, "preferred")).sum())
    if n_preferred:
        said += (
            f"; it prefers the right answers in {counted(n_preferred, 'pair')}, which "
            f"keep='preferred' keeps"
        )
    return said


def kept_pairs(task: Task, model: PromptModel, keep: Keep, caller: str) -> Task:
    """The pairs that are answered as asked.

    Raises:
        ValueError: none is.
    """
    sides = _sides(task, model, keep)
    kept = _by(keep, sides)
    if not kept.any():
        name, n = shown(model.info.name), len(task)
        if keep == "wrong":
            raise ValueError(
                f"{caller}: the model {name} answers all {n} pairs rightly, so that none is left. "
                f"Use keep='all' or keep='correct', a harder task or another model."
            )
        shares = (
            f"(clean prompts {sides[0].float().mean():.0%} right, corrupted ones "
            f"{sides[1].float().mean():.0%})"
        )
        if keep == "preferred":
            raise Unanswered(
                f"{caller}: the model {name} prefers the right answers in none of the {n} pairs "
                f"{shares}. Use keep='all', another task or another model."
            )
        raise Unanswered(
            f"{caller}: the model {name} answers none of the {n} pairs rightly {shares}"
            f"{_said_instead(task, model)}. Use keep='all', another task or another model."
        )
    out = int((~kept).sum())
    counts = {"n_wrong": out} if keep == "correct" else {"n_unkept": out}
    return replace(task.select(kept), keep=keep, **counts)
