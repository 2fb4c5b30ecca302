"""`find_landmarks`: what is measured of the pairs, and landmarks put in order with the switch."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.claims.twins import in_a_twin
from lensdepth.geometry.halves import FEWEST
from lensdepth.geometry.measure import draw_sample
from lensdepth.geometry.reading import Reading, read_states
from lensdepth.landmarks.drawn import (
    Curves,
    Drawn,
    Sets,
    cloud_in,
    drawn_curves,
    halved_units,
    means_in,
)
from lensdepth.landmarks.kinds import KINDS, Kind
from lensdepth.landmarks.profile import Landmarks
from lensdepth.landmarks.read_space import CARRIED, ReadSpace, read_space
from lensdepth.lens.profile import LensProfile
from lensdepth.lens.read import logit_lens
from lensdepth.model import DepthModel
from lensdepth.patching.profile import PatchProfile
from lensdepth.patching.sweep import patch_sweep
from lensdepth.provenance import make_provenance
from lensdepth.replay.plan import Engine
from lensdepth.sweep.adaptive import Depths
from lensdepth.tasks.task import Task
from lensdepth.telling.depths import at_depth
from lensdepth.transition.crossing import ENDS, find_crossing
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.find import too_few
from lensdepth.transition.handover import last_crossing, lead
from lensdepth.transition.landmark import PRECISION, Landmark, put_in_order

CALLER = "find_landmarks"
PATCHED = ("input", "prediction", "moved input", "moved prediction")
"""Curves of patching: success, and what is moved."""


@checked
@bounded
def find_landmarks(
    model: DepthModel,
    task: Task,
    *,
    depths: Depths = None,
    carried: float = CARRIED,
    sample: int = 160,
    n_halves: int = 400,
    twin: bool = False,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> Landmarks:
    """Do landmarks of geometry and lens come before, at or after the depth where control passes?

    The switch is where patching's two curves cross (`find_crossing`). Beside it, of the clean
    prompts of the same pairs at their last token:

    - `dimension`: the dip of the intrinsic dimension of the cloud (two nearest neighbours);
    - `curvature`: the peak of the mean angle between the steps from token to token;
    - `turn`: the block that turns the last token's state most;
    - `readability`: where the lens's contrast of the answers has risen half of its way;
    - `alignment`: where the share of squared distances between states that lies in the leading
      directions of the unembedding has risen, or fallen, half of its way.

    Args:
        model: any wrapped model.
        task: pairs with an input position.
        depths: at which is patched: some, `"all"`, or `"auto"`, the default in models of more than
            16 blocks (see `patch_sweep`). Curves are of all depths.
        carried: share of the unembedding's squared singular values that the leading directions
            carry.
        sample: most prompts whose cloud is measured; memory and time grow with its square.
        n_halves: halves of the units behind each interval, by each grouping.
        twin: measure an untrained twin of the model as well, on its own answers to these prompts.
        seed: of sample, halves and twin.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        Landmarks. Each has a verdict: "before" or "after" where the 95 % interval of its depth
        less the switch's lies beyond one depth (the step of the grid, where that is more), "at the
        same depth" where it lies within; "none" where there is no such landmark, "no switch" where
        control passes nowhere, "too few" below five units, else "not settled".
    Raises:
        ValueError: before any forward pass: plain prompts, a task without input position, an
            option out of range, or fewer than three different prompts.
    Source: curvature, Hosseini & Fedorenko 2023, arXiv 2311.04930; dimension, Facco et al. 2017;
        alignment after Xu 2026, arXiv 2605.17084.
    Example:
        >>> find_landmarks(model, load_task("months", model)).of("readability").verdict
    """
    if not 0 < carried <= 1:
        raise ValueError(f"{CALLER}: carried is a share above 0, up to 1; got {carried}.")
    for name, value, least in (("sample", sample, 3), ("n_halves", n_halves, 20)):
        if value < least:
            raise ValueError(f"{CALLER}: {name} must be at least {least}, got {value}.")
    if not task.has_pairs or task.no_handover:
        why = task.no_handover or "its prompts have no pairs"
        raise ValueError(f"{CALLER}: control passes from no input to no answer here: {why}.")
    if bool((task.clean_tokens.last == 0).any()):
        raise ValueError(
            f"{CALLER}: some prompts are one token long, whose state is an attention sink; use "
            f"longer ones."
        )
    chosen = draw_sample(task.clean_tokens, task.clean_tokens.last, sample, seed, caller=CALLER)
    patch = patch_sweep(
        model, task, depths=depths, positions=ENDS, controls=(), seed=seed, engine=engine,
        batch_size=batch_size, max_memory=max_memory,
    )  # fmt: skip
    in_twin: tuple[tuple[str, str], ...] = ()
    note = ""
    if twin:

        def again(other: DepthModel, own: Task) -> Landmarks:
            return find_landmarks(
                other, own, depths=depths, carried=carried, sample=sample, n_halves=n_halves,
                seed=seed, engine=engine, batch_size=batch_size, max_memory=max_memory,
            )  # fmt: skip

        there, note = in_a_twin(model, task, again, seed=seed)
        if there is not None:
            in_twin = tuple((one.name, one.verdict) for one in there.landmarks)
    return landmarks_of(
        model,
        task,
        patch,
        find_crossing(patch, seed=seed),
        logit_lens(model, task, batch_size=batch_size, max_memory=max_memory),
        read_states(model, task, batch_size=batch_size),
        chosen.numpy(),
        space=read_space(model, carried),
        n_halves=n_halves,
        seed=seed,
        settings={
            "depths": depths, "carried": carried, "sample": sample, "n_halves": n_halves,
            "twin": twin, "engine": engine, "batch_size": batch_size, "max_memory": max_memory,
        },
        twin=in_twin,
        twin_note=note,
    )  # fmt: skip


def landmarks_of(
    model: DepthModel,
    task: Task,
    patch: PatchProfile,
    crossing: Crossing,
    lens: LensProfile,
    reading: Reading,
    chosen: Array,
    *,
    space: ReadSpace | None,
    n_halves: int,
    seed: int,
    settings: dict[str, Any],
    twin: tuple[tuple[str, str], ...] = (),
    twin_note: str = "",
) -> Landmarks:
    """The landmarks of what was measured of a task's pairs.

    Args:
        model: that was measured.
        task: its pairs.
        patch: at input and prediction position, without which depths are lost.
        crossing: of that.
        lens: of the pairs.
        reading: the clean prompts' states, of all of them.
        chosen: prompts that differ, as indices.
        space: what the unembedding reads most.
        n_halves: see `find_landmarks`.
        seed: likewise.
        settings: for the provenance.
        twin: verdicts of a twin.
        twin_note: why there is none.
    """
    of_pairs = per_pair(patch, crossing, lens, reading)
    states = reading.states[:, torch.from_numpy(chosen)]

    def curves_of(sets: Sets) -> Curves:
        means = {name: means_in(values, sets) for name, values in of_pairs.items()}
        return means | dict(cloud_in(states, chosen, space, sets))

    drawn = drawn_curves(
        curves_of, crossing.n_pairs, units=crossing.units, n_halves=n_halves, seed=seed
    )
    n_layers = model.n_layers
    curves = [_banded(drawn, one, n_layers) for one in KINDS]
    value, low, high = (
        torch.tensor(np.stack(x), dtype=torch.float32) for x in zip(*curves, strict=True)
    )
    return Landmarks(
        provenance=make_provenance(CALLER, model.info, **task.origin, settings=settings, seed=seed),
        crossing=crossing,
        landmarks=ordered(drawn, crossing, n_layers),
        value=value,
        low=low,
        high=high,
        read_dims=0 if space is None else space.dim,
        read_share=float("nan") if space is None else space.expected,
        twin=twin,
        twin_note=twin_note,
    )


def per_pair(
    patch: PatchProfile, crossing: Crossing, lens: LensProfile, reading: Reading
) -> dict[str, Float[Array, "pair depth"]]:
    """Curves of single pairs by name; those of patching at the depths that are judged."""
    judged = np.isin(patch.depths.numpy(), crossing.depths.numpy())

    def plain(values: Tensor) -> Float[Array, "pair depth"]:
        return values.detach().cpu().double().numpy()

    found = {"input": plain(crossing.first), "prediction": plain(crossing.second)}
    found |= {f"moved {name}": plain(patch.moved(name))[:, judged] for name in ENDS}
    found["readability"] = plain(lens.reading("contrast"))
    for name, measure in (("curvature", "curvature"), ("turn", "step_angle")):
        found[name] = plain(reading.per_prompt[measure].T)
    return found


def ordered(drawn: Drawn, crossing: Crossing, n_layers: int) -> tuple[Landmark, ...]:
    """Each landmark beside the switch of the same draws.

    Args:
        drawn: curves of landmarks and of patching, the latter at the crossing's depths.
        crossing: the switch.
        n_layers: of the model.
    """
    at = crossing.depths.double().numpy()
    control = [drawn.curves[name] + drawn.strayed[name] for name in PATCHED]
    # Nothing that is moved decides nothing.
    switch_draws = last_crossing(lead(*map(np.nan_to_num, control)), at)
    is_there = crossing.verdict == "crossing"
    before, after = crossing.between
    no_switch = "" if is_there else f"control passes at no one depth: {crossing.reason}"
    if not len(switch_draws):
        no_switch = f"{crossing.n_pairs} pairs; halves are drawn from {FEWEST} on"
        if crossing.n_pairs >= FEWEST:
            no_switch = too_few(halved_units(crossing.units, crossing.n_pairs), crossing.units)
    return tuple(
        put_in_order(
            one.key,
            one.shape,
            drawn.curves[one.key],
            drawn.strayed[one.key],
            _columns(one, n_layers),
            switch=crossing.depth if is_there else np.nan,
            switch_draws=switch_draws if is_there else np.full(len(switch_draws), np.nan),
            no_switch=no_switch,
            margin=max(PRECISION, after - before if is_there else 0.0),
            named_end=lambda depth: _end(depth, n_layers),
        )
        for one in KINDS
        if one.key in drawn.curves
    )


def _columns(kind: Kind, n_layers: int) -> Float[Array, " depth"]:
    """Depths of a curve: a turn lies between two of them."""
    return np.arange(n_layers) + 0.5 if kind.key == "turn" else np.arange(n_layers + 1.0)


def _end(depth: float, n_layers: int) -> str:
    if depth == int(depth):
        return at_depth(int(depth), n_layers)
    return f"the turn from depth {int(depth)} to {int(depth) + 1}"


def _banded(
    drawn: Drawn, kind: Kind, n_layers: int
) -> tuple[Float[Array, " depth"], Float[Array, " depth"], Float[Array, " depth"]]:
    """A curve at depths 0 ... L with its band, in its own unit."""
    if kind.key not in drawn.curves:
        nothing = np.full(n_layers + 1, np.nan)
        return nothing, nothing, nothing
    value, strayed = drawn.curves[kind.key], drawn.strayed[kind.key]
    low = high = np.full(len(value), np.nan)
    if len(strayed):
        low, high = (value + end for end in stats.percentile_interval(strayed))
    found = [np.exp(x) if kind.key == "dimension" else x for x in (value, low, high)]
    missing = np.full(n_layers + 1 - len(value), np.nan)
    first, second, third = (np.concatenate([missing, x]) for x in found)
    return first, second, third
