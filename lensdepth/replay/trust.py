"""Whether the engine does on this model what plain hooks do."""

from collections import defaultdict
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.finite import NotFinite
from lensdepth.generation import TOLERANCE
from lensdepth.hooks import SiteEdit, acting_functions
from lensdepth.polar import Edit
from lensdepth.replay.copies import Unreplayable
from lensdepth.replay.plan import Plan
from lensdepth.replay.ways import Replayed, by_hooks, by_replay
from lensdepth.site import block_site


def check_blocks(plan: Plan, replayed: Replayed) -> None:
    """Compare the engine with the plain way on one prompt, at sites of the sweep itself.

    What a model has passed is not asked again, unless for longer prompts. For each stream one
    set is drawn; its sites are patched with the states found there, which must change nothing,
    and with those states turned round, which must do what it does by hooks.

    Raises:
        Unreplayable: they differ.
    """
    model = plan.model
    generator = torch.Generator().manual_seed(0)
    with model.passes.lock:
        n_hooks = len(acting_functions(model.passes.hook_points))
    known = model.known
    if known.replay_checked.get("n_hooks") != n_hooks:
        known.replay_checked = {"n_hooks": n_hooks}
    longest = plan.batch.tokens.shape[1]
    by_stream: dict[str, list[int]] = defaultdict(list)
    for i, edits in enumerate(plan.edit_sets):
        for edit in edits:
            place = block_site(edit.hook)
            if place is None or known.replay_checked.get(place.stream, 0) >= longest:
                continue
            if plan.only[i].any():
                by_stream[place.stream].append(i)
    drawn = [
        int(sets[int(torch.randint(len(sets), (1,), generator=generator))])
        for sets in map(torch.tensor, by_stream.values())
    ]
    if not drawn:
        return
    # The longest prompt that is run: windows and rescaled positions show on it, if anywhere.
    lengths = torch.where(plan.only[drawn].any(0), plan.batch.lengths, 0)
    row = lengths.argmax()[None]
    probes = [[], *([_with(e, row, _turned) for e in plan.edit_sets[i]] for i in drawn)]
    selves = [[_with(e, row, _same) for e in plan.edit_sets[i]] for i in drawn]
    one = replace(
        plan,
        batch=plan.batch[row],
        asked=plan.asked[row],
        read=plan.read[row],
        columns=plan.columns[row],
        only=plan.only[:, row],
        depths=[model.passes.n_layers],
    )
    try:
        by_hooks = _all_logits(one, probes, None)
        by_replay = _all_logits(one, probes + selves, replayed)
    except NotFinite as error:
        # Of the probes' doing, or of the model's, which the plain way then says.
        raise Unreplayable("the comparison with plain hooks is not finite") from error
    tolerance = TOLERANCE.get(model.dtype, 1e-4) * float(by_hooks.abs().max().clamp_min(1.0))
    error = float((by_replay[: len(probes)] - by_hooks).abs().max())
    if not error <= tolerance:
        raise Unreplayable(
            "the replayed logits differ from the model's",
            f"by {error:.1e}, where {tolerance:.1e} is allowed",
        )
    moved = float((by_replay[len(probes) :] - by_replay[0]).abs().amax()) if selves else 0.0
    # In half precision a matrix product of another shape rounds by as much as anything else does.
    exact = model.dtype in (torch.float32, torch.float64)
    if not moved <= (tolerance / 10 if exact else tolerance):
        raise Unreplayable("putting a run's own states back changes its logits", f"by {moved:.1e}")
    known.replay_checked |= dict.fromkeys(by_stream, int(lengths.max()))


def _all_logits(
    plan: Plan, edit_sets: list[list[SiteEdit]], replayed: Replayed | None
) -> Float[Tensor, "set pos d_vocab"]:
    everywhere = torch.ones(len(edit_sets), 1, dtype=torch.bool)
    plan = replace(plan, edit_sets=edit_sets, only=everywhere)
    parts = (
        by_hooks(plan, grad=False) if replayed is None else by_replay(plan, replayed, grad=False)
    )
    done = list(parts)
    states = torch.cat([part.resid[:, 0] for part in done])[:, plan.asked[0] >= 0]
    order = torch.cat([part.sets for part in done]).argsort()
    return plan.model.readout(states[order.to(states.device)]).cpu()


def _same(found: Tensor, source: Tensor | None) -> Tensor:
    return found


def _turned(found: Tensor, source: Tensor | None) -> Tensor:
    return found.flip(-1)


def _with(edit: SiteEdit, row: Tensor, function: Edit) -> SiteEdit:
    return replace(edit.of(row), edit=function, source=None)
