"""The outcome of many interventions, exactly, from one base run.

Layers before an edit, positions before an edit and positions after what is read cannot change, so
they are taken from the base run and not computed again; the keys and values of the base run stand
for the positions before an edit; in the last block only the asked queries are computed. What is
left of many interventions goes through each block in one sequence. The result equals the plain
hook-by-hook run (`DepthModel.run_edits`) up to the rounding of float32.

    >>> sets = [[SiteEdit(hook=depth_hook(d, model.n_layers), positions=batch.last,
    ...                   edit=polar.full_swap, source=states[d])] for d in range(11)]
    >>> replay_measure(model, batch, sets, lambda logits, prompts: {"top": logits.argmax(-1)})
"""

from collections.abc import Generator, Iterator, Sequence

from jaxtyping import Bool
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.replay.copies import Unreplayable
from lensdepth.replay.plan import Engine, Part, Plan, make_plan
from lensdepth.replay.trust import check_blocks
from lensdepth.replay.ways import by_hooks, by_replay, fitting_blocks
from lensdepth.tokens import Positions, Prompts


@checked
def replay(
    model: DepthModel,
    base: Prompts,
    edit_sets: Sequence[Sequence[SiteEdit]],
    *,
    positions: Positions = "last",
    depths: Sequence[int] | None = None,
    only: Bool[Tensor, "set batch"] | None = None,
    engine: Engine = "auto",
    check: bool = True,
    grad: bool = False,
    max_memory: int | None = None,
) -> Iterator[Part]:
    """Residual states of the base prompts under many sets of edits, a part at a time.

    All edits of a set act in one run, later ones on what earlier ones produced. An edit treats
    each state by itself: what differs from prompt to prompt belongs in its `source`.

    Args:
        model: any wrapped model.
        base: the prompts that are edited.
        edit_sets: what to change in each run; an empty set is the base run.
        positions: where to read.
        depths: which depths to read, ascending; None reads depth L, from which the logits come.
        only: which prompts each set runs on; all by default.
        engine: `"replay"` insists on the fast way, `"hooks"` on the plain one; `"auto"` takes the
            fast one wherever the model allows it, and says once where it does not.
        check: compare one self-patch and one run of the sweep with the plain way first.
        grad: keep the graph, so that results can be differentiated; otherwise everything runs in
            inference mode.
        max_memory: bytes to plan with; None takes a sensible share of what there is. Where memory
            runs out all the same, the work is halved and goes on.
    Raises:
        ValueError: before any forward pass: an edit does not fit, or an option is unknown.
        RuntimeError: an edit never ran, or with `engine="replay"` the check failed or the model
            cannot be replayed.
    """
    plan = make_plan(model, base, edit_sets, positions, depths, only, engine, max_memory)
    return run_plan(plan, engine, check, grad)


def run_plan(plan: Plan, engine: Engine, check: bool, grad: bool) -> Generator[Part, None, None]:
    """What `replay` does once its options are checked."""
    blocks = None
    if engine != "hooks":
        try:
            blocks = fitting_blocks(plan)
            if check:
                check_blocks(plan, blocks)
        except Unreplayable as reason:
            if engine == "replay":
                raise RuntimeError(
                    f"replay: {plan.model.info.name!r} cannot be replayed: {reason}. "
                    f"Use engine='auto' or engine='hooks'."
                ) from reason
            message = f"interventions run hook by hook, since {reason}."
            plan.model.warn_once(reason.what, message)
            blocks = None
    if blocks is None:
        yield from by_hooks(plan, grad=grad)
    else:
        yield from by_replay(plan, blocks, grad=grad)
