"""A task of one pair: two prompts that somebody typed.

>>> pair_task("Two months from January is", "Two months from May is", model).target
('March',)
"""

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.tasks.rows import Row
from lensdepth.tasks.task import PromptModel, Task, build_task


@runtime_checkable
class SpeakingModel(PromptModel, Protocol):
    """What of a `DepthModel` a pair needs: its answers become text."""

    def token_text(self, token: int) -> str: ...


@checked
def pair_task(
    clean: str,
    corrupted: str,
    model: DepthModel | SpeakingModel,
    *,
    target: str | None = None,
    foil: str | None = None,
    name: str = "pair",
) -> Task:
    """Make a task of two prompts, by default with the model's own answers to them.

    Args:
        clean: the prompt that the target answers.
        corrupted: the prompt that the foil answers.
        model: a `DepthModel`.
        target: one token; None takes what the model itself says next after `clean`.
        foil: the same for `corrupted`.
        name: what the task is called in results.
    Raises:
        ValueError: a prompt is empty or too long, both are the same, or both have one answer.
    """
    row = Row(clean=clean, corrupted=corrupted, target=target, foil=foil, where="the pair")
    if target is None:
        row = replace(row, **_own_answer(clean, model, "target"))
    if foil is None:
        row = replace(row, **_own_answer(corrupted, model, "foil"))
    if row.target == row.foil and clean != corrupted:
        raise ValueError(
            f"pair_task: both prompts are answered by {row.target!r}, so nothing tells one from "
            f"the other; choose a prompt with another answer, or name target and foil."
        )
    return build_task([row], model, name=name)


def _own_answer(prompt: str, model: SpeakingModel, side: str) -> dict[str, Any]:
    """What the model says next, as text and as the token that it is."""
    token = int(model.logits(prompt)[0, -1].argmax())
    text = model.token_text(token)
    return {side: text.strip() or repr(text), f"{side}_id": token}
