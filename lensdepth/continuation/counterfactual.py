"""Where the tokens of a written text are settled by patching, beside another prompt."""

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth.generation import continued_text
from lensdepth.model import DepthModel
from lensdepth.settled import settled_by_patching
from lensdepth.tasks.task import Task


def settled_beside(
    model: DepthModel,
    prompt: str,
    other: str,
    written: list[int],
    *,
    first_choice: Bool[Tensor, " token"],
    seed: int,
    batch_size: int | None,
    max_memory: int | None,
) -> Float[Tensor, " token"]:
    """The depth from which on the last token's state, put into the run behind the other prompt and
    the same text, makes the token come first there.

    Args:
        model: which wrote it.
        prompt: that it continued.
        other: the counterfactual prompt.
        written: its tokens.
        first_choice: whether each is the model's own first choice; one that was drawn against it is
            settled nowhere.
        seed: as for `generation_profile`, like the bounds.
    Returns:
        A depth a token; NaN also where the other prompt has it come first by itself.
    """
    task = _as_pairs(model, prompt, other, written)
    own = torch.tensor(written)
    depths = settled_by_patching(
        model, task, own, seed=seed, batch_size=batch_size, max_memory=max_memory
    )
    return torch.where(first_choice, depths, torch.nan)


def _as_pairs(model: DepthModel, prompt: str, other: str, written: list[int]) -> Task:
    """A pair for each token: what stands before it, behind either prompt."""
    sides = []
    for text in (prompt, other):
        ids = model.tokenize(text).row(0)
        rows = [written[:n] for n in range(len(written))]
        texts = tuple(text + continued_text(model, ids, row) for row in rows)
        sides.append((texts, model.tokenize([[*ids, *row] for row in rows])))
    (clean, clean_tokens), (corrupted, corrupted_tokens) = sides
    answers, names = torch.tensor(written), tuple(map(model.token_text, written))
    return Task(
        name="a written text", clean=clean, corrupted=corrupted, target=names, foil=names,
        joining=None, clean_tokens=clean_tokens, corrupted_tokens=corrupted_tokens,
        target_ids=answers, foil_ids=answers, input_positions=None,
        corrupted_input_positions=None, inputs=None, corrupted_inputs=None,
        where=tuple(f"token {i}" for i in range(len(written))),
        labels=pd.DataFrame(index=range(len(written))), n_drawn=len(written), n_multi_token=0,
        n_wrong=0, seed=0,
    )  # fmt: skip
