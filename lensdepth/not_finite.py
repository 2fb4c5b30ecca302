"""The story of a run that gave NaN or infinite numbers: where they begin, in words."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lensdepth.finite import NotFinite, advice
from lensdepth.hooks import SiteEdit
from lensdepth.interface import ReadModel
from lensdepth.outside import shown
from lensdepth.tokens import TokenBatch, token_text


def not_finite(
    model: ReadModel,
    batch: TokenBatch,
    row: int,
    *,
    edits: Sequence[SiteEdit] = (),
    reading: int | None = None,
) -> NotFinite:
    """The error about such a run. The prompt is run once more by itself, without edits.

    Args:
        model: of the run.
        batch: the prompts of the run.
        row: the first prompt concerned.
        edits: what was changed in that run.
        reading: the depth at which logits, and not states, came out so.
    """
    passes, tokenizer = model.passes, model.tokenizer
    hooks, n_layers = passes.depth_hooks, passes.n_layers
    one = batch[torch.tensor([row])]
    ids = one.row(0)
    text = str(ids) if tokenizer is None else tokenizer.decode(ids)
    of = f"of the prompt {shown(text)}"
    kept = passes.capture(one, hooks, torch.arange(len(ids))[None])
    wrong = torch.stack([~kept[hook][0].isfinite().all(-1) for hook in hooks])
    if wrong.any():
        depth, at = wrong.nonzero()[0].tolist()
        where = (
            f"the residual stream is not finite from depth {depth} of {n_layers} on, "
            f"first at token {at} ({shown(token_text(tokenizer, ids[at]))}) {of}"
        )
    elif edits:
        where = (
            f"what is put in at {edits[0].hook} makes the run {of} not finite, which is finite "
            f"without; look for NaN in what is put in, or change less"
        )
    elif len(ids) < batch.tokens.shape[1] and not _overflows(model, kept[hooks[-1]]):
        # A weight of 0 in attention does not keep NaN out: 0 times NaN is NaN.
        where = (
            f"the run {of} is finite by itself and not beside longer prompts, since what pads "
            f"it is not; give it one at a time, or pad with another token"
        )
    elif reading is not None and reading < n_layers:
        where = f"the logits read at depth {reading} are not finite {of}"
    else:
        where = f"the states are finite and the logits read from depth {n_layers} are not, {of}"
    dtype = str(passes.dtype).removeprefix("torch.")
    return NotFinite(f"{model.info.name!r} in {dtype}: {where}. {advice(passes.dtype)}", row=row)


def _overflows(model: ReadModel, states: Tensor) -> bool:
    """Whether logits of finite last states are not finite."""
    try:
        model.ending.unchecked(states)
    except NotFinite:
        return True
    return False
