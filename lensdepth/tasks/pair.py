"""A task of one pair: two prompts that somebody typed.

>>> pair_task("Two months from January is", "Two months from May is", model).target
('March',)
"""

from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.outside import shown
from lensdepth.tasks.build import build_task
from lensdepth.tasks.joining import Joining
from lensdepth.tasks.judging import PromptModel
from lensdepth.tasks.memory import pair_record
from lensdepth.tasks.records import rows_of
from lensdepth.tasks.rows import Pair
from lensdepth.tasks.task import Task
from lensdepth.tokens import token_text


@checked
def pair_task(
    clean: str,
    corrupted: str,
    model: DepthModel | PromptModel,
    *,
    target: str | None = None,
    foil: str | None = None,
    target_id: int | None = None,
    foil_id: int | None = None,
    joining: Joining = "auto",
    name: str = "pair",
) -> Task:
    """Make a task of two prompts, by default with the model's own answers to them.

    Args:
        clean: the prompt that the target answers.
        corrupted: the prompt that the foil answers.
        model: a `DepthModel`.
        target: one token as text, with the space in front that it has; without target and
            target_id it is what the model itself says next after `clean`.
        foil: the same for `corrupted`.
        target_id: the target as a token id.
        foil_id: the foil as a token id.
        joining: as in `load_task`.
        name: what the task is called in results.
    Raises:
        ValueError: a prompt is empty or too long, both are the same, or both have one answer.
    """
    if target is None and target_id is None:
        target_id = int(model.logits(clean)[0, -1].argmax())
    if foil is None and foil_id is None:
        foil_id = int(model.logits(corrupted)[0, -1].argmax())
    if clean != corrupted and (target, target_id) == (foil, foil_id):
        answer = target if target_id is None else token_text(model.tokenizer, target_id)
        raise ValueError(
            f"pair_task: both prompts are answered by {shown(answer)}, so nothing tells one from "
            f"the other; choose a prompt with another answer, or name target and foil."
        )
    pair = Pair(
        clean=clean,
        corrupted=corrupted,
        target=target,
        foil=foil,
        target_id=target_id,
        foil_id=foil_id,
    )
    caller = f"task {shown(name)}"
    rows = rows_of([("the pair", pair_record(pair, caller))], caller)
    return build_task(rows, model, name=name, joining=joining)
