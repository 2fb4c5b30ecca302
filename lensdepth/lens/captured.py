"""`captured_lens`: the logit lens, or a tuned one, of a capture, without its model."""

import torch
from jaxtyping import Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.captures.opened import Capture
from lensdepth.lens.profile import LensProfile
from lensdepth.lens.read import Source, lens_of
from lensdepth.lens.tuned import TunedLens
from lensdepth.outside import shown
from lensdepth.prompts import origin_of
from lensdepth.tokens import TokenBatch

CALLER = "captured_lens"


@checked
def captured_lens(
    capture: Capture, *, top_k: int = 5, translators: TunedLens | None = None
) -> LensProfile:
    """What `logit_lens` reads, of states that were captured with the model's readout.

    The same numbers at the positions that were kept, without the contrast with corrupted prompts,
    whose states are another capture's.

    Args:
        capture: of all depths, with its readout.
        top_k: how many of the most likely tokens to keep.
        translators: a lens fitted on the model.
    Raises:
        ValueError: depths or the readout were not kept, `top_k` out of range, or translators of
            another model.
    Example:
        >>> captured_lens(ResidualStream.open("states")).kl.shape
    """
    info = capture.info
    capture.check_whole(CALLER)
    ending = capture.ending
    if not 1 <= top_k <= info.d_vocab:
        raise ValueError(
            f"{CALLER}: top_k must be between 1 and d_vocab ({info.d_vocab}), got {top_k}."
        )
    if translators is not None:
        translators.check_model(capture, caller=CALLER)

    def states_of(_: TokenBatch, __: Int[Tensor, "prompt pos"], rows: slice) -> Tensor:
        return capture.read(prompts=rows)

    def explain(_: TokenBatch, row: int, depth: int) -> ValueError:
        return ValueError(
            f"{CALLER}: the logits of a prompt of {shown(str(capture.folder))} are not finite at "
            f"depth {depth}."
        )

    task = capture.task if capture.side == "clean" else None
    return lens_of(
        CALLER,
        Source(
            info=info,
            readout=ending.readout,
            states_of=states_of,
            token_text=capture.token_text,
            device=torch.device("cpu"),
            explain=explain,
        ),
        capture.tokens,
        capture.positions,
        None,
        task,
        origin_of(task, list(capture.prompts)),
        top_k=top_k,
        translators=translators,
        settings={},
    )
