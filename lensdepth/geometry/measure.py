"""`geometry_profile`: the options, the pass over the prompts, and the measures put together."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.geometry.anisotropy import measure_anisotropy
from lensdepth.geometry.context import context_distances
from lensdepth.geometry.coupling import couple, coupling_names
from lensdepth.geometry.dimension import measure_dimension
from lensdepth.geometry.halves import Halves, half_interval, halve_units
from lensdepth.geometry.pairs import distribution_distances, state_distances, upper
from lensdepth.geometry.profile import GeometryProfile
from lensdepth.geometry.reading import Reading, read_prompts
from lensdepth.geometry.similarity import linear_cka, procrustes
from lensdepth.model import DepthModel
from lensdepth.prompts import gather_prompts, origin_of
from lensdepth.provenance import ModelInfo, make_provenance, other_than
from lensdepth.tasks.task import Task
from lensdepth.tokens import Positions, Prompts, TokenBatch, resolve_positions
from lensdepth.units import Units, take

DRAWN_PAIRS = 1000
"""Most pairs that are kept for a figure."""
Bounds = tuple[Array, Array, Array, Array]
"""Value, low, high and p, `[depth]`."""


@renamed(prompts="task")
@checked
@bounded
def geometry_profile(
    model: DepthModel,
    task: Task | Prompts,
    *,
    positions: Positions = "last",
    include_first: bool = False,
    sample: int = 160,
    n_resamples: int = 200,
    n_permutations: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
    reading: Reading | None = None,
) -> GeometryProfile:
    """Measure the residual states at one position of each prompt, depth by depth.

    What a state says by itself is measured for every prompt, and so are the mean and the variance
    of every coordinate, in one pass. What lies between prompts is measured on a random sample of
    those that differ up to the token read: equal ones have equal states, and are no pair.

    Args:
        model: any wrapped model.
        task: a task (its clean prompts, and its labels as contexts), or at least three different
            prompts as text or token ids.
        positions: "last", or one index per prompt.
        include_first: allow position 0, the attention sink, and let it into the curvature.
        sample: most prompts between which pairs are measured; memory and time grow with its square.
        n_resamples: halves of the sample behind each interval, by each grouping of its units
            (resamples, for Procrustes).
        n_permutations: of the Mantel tests, by each grouping of its units. None takes 400, or 40
            for each depth and context where that is more: a p-value cannot fall below
            1 / (1 + n_permutations), and Holm's correction multiplies it by the number of tests.
        seed: of the sample, the halves and the permutations.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
        reading: what `lensdepth.geometry.reading.read_states` read of this task already; no prompt
            is run again.
    Returns:
        GeometryProfile.
    Raises:
        ValueError: before any forward pass: an option below its least value, fewer than three
            different prompts, more than one position a prompt, position 0, or a reading of other
            prompts, positions or weights.
    Source: the measures' own are with their fields and functions.
    Example:
        >>> geometry_profile(model, load_task("months", model)).angle_js
    """
    check_options(sample=sample, n_resamples=n_resamples, n_permutations=n_permutations)
    known, texts, batch = gather_prompts(model, task)
    position = _one_position(batch, positions, include_first)
    chosen = draw_sample(batch, position, sample, seed)
    model.check_weights()
    given = reading is not None
    if reading is None:
        reading = read_prompts(
            model, batch, position, chosen, include_first=include_first, batch_size=batch_size
        )
    else:
        _check_reading(reading, model, texts, torch.equal(position, batch.last), include_first)
        reading = reading.of(chosen)
    return profile_of(
        "geometry_profile",
        reading,
        origin_of(known, texts),
        known,
        context_distances(model.token_text, known, batch, chosen.numpy()),
        info=model.info,
        n_resamples=n_resamples,
        n_permutations=n_permutations,
        seed=seed,
        settings={
            "positions": positions if isinstance(positions, str) else "given",
            "include_first": include_first,
            "batch_size": batch_size,
            "max_memory": max_memory,
            "reading": "given" if given else None,
        },
    )


def profile_of(
    analysis: str,
    reading: Reading,
    origin: dict[str, Any],
    known: Task | None,
    contexts: dict[str, Float[Array, "sample sample"]],
    *,
    info: ModelInfo,
    n_resamples: int,
    n_permutations: int | None,
    seed: int,
    settings: dict[str, Any],
) -> GeometryProfile:
    """What is measured of states that were read.

    Args:
        analysis: name of the public function.
        reading: the states of the sample, and what is known of every prompt.
        origin: of the prompts, for the provenance.
        known: the task; None of prompts by themselves.
        contexts: distances of the sample's prompts by label.
        info: the model.
        n_resamples: see `geometry_profile`.
        n_permutations: likewise.
        seed: likewise.
        settings: further ones, for the provenance.
    """
    if n_permutations is None:
        n_permutations = permutations_for(info.n_layers, len(contexts))
    chosen = reading.sample
    units = take(origin["units"], chosen.numpy())
    halves = halve_units(units, len(chosen), n_resamples, seed)
    predicted = distribution_distances(reading.log_probs)
    targets = predicted | contexts
    measured = _measure_clouds(reading, halves)
    asked = _without_answers(units, known, chosen.tolist())
    coupling = couple(
        reading.states, targets, halves,
        units={name: asked if name in predicted else units for name in targets},
        n_permutations=n_permutations, seed=seed,
    )  # fmt: skip
    for i, target in enumerate(targets):
        for j, name in enumerate(coupling_names(target)):
            at = j, i
            measured[name] = coupling.value[at], coupling.low[at], coupling.high[at], coupling.p[at]
    stacked = torch.tensor(np.array(list(measured.values())), dtype=torch.float32)
    counts = {
        "sample": len(chosen), "n_resamples": n_resamples, "n_permutations": n_permutations,
    }  # fmt: skip
    return GeometryProfile(
        provenance=make_provenance(analysis, info, **origin, settings=settings | counts, seed=seed),
        **{"attn_write": None, "mlp_write": None} | reading.per_prompt,
        coupling_prompts=chosen,
        contexts=tuple(contexts),
        measures=tuple(measured),
        value=stacked[:, 0],
        low=stacked[:, 1],
        high=stacked[:, 2],
        p=stacked[:, 3],
        **_maps(reading.states, halves, units, n_resamples, seed),
        **_draw_pairs(reading.states, predicted["js"], seed),
    )


def permutations_for(n_layers: int, n_contexts: int) -> int:
    """As many as Holm's correction over depths and contexts leaves something of."""
    return max(400, 40 * (n_layers + 1) * max(1, n_contexts))


def check_options(*, caller: str = "geometry_profile", **options: int | None) -> None:
    """Refuse numbers below their least value.

    Raises:
        ValueError: which one.
    """
    least = {"sample": 3, "n_resamples": 1, "n_permutations": 1}
    for name, value in options.items():
        if value is not None and value < least[name]:
            raise ValueError(f"{caller}: {name} must be at least {least[name]}, got {value}.")


def _one_position(
    batch: TokenBatch, positions: Positions, include_first: bool
) -> Int[Tensor, " prompt"]:
    if len(batch) < 3:
        raise ValueError(
            f"geometry_profile: a cloud needs at least 3 prompts, got {len(batch)}; pass more."
        )
    position = resolve_positions(batch, positions)
    if position.shape[1] != 1:
        raise ValueError(
            f"geometry_profile: one position a prompt is needed, got {position.shape[1]}; "
            f"pass 'last' or one index per prompt."
        )
    at_first = (position == 0).flatten().nonzero().flatten().tolist()
    if at_first and not include_first:
        raise ValueError(
            f"geometry_profile: prompt {at_first[0]} would be read at position 0, an attention "
            f"sink; use longer prompts or pass include_first=True."
        )
    return position[:, 0]


def draw_sample(
    batch: TokenBatch,
    position: Int[Tensor, " prompt"],
    sample: int,
    seed: int,
    *,
    caller: str = "geometry_profile",
) -> Int[Tensor, " sample"]:
    """Prompts that differ up to the token read, in ascending order; at most so many."""
    first: dict[tuple[int, ...], int] = {}
    for prompt, at in enumerate(position.tolist()):
        first.setdefault(tuple(batch.row(prompt)[: at + 1]), prompt)
    if len(first) < 3:
        raise ValueError(
            f"{caller}: a cloud needs at least 3 prompts that differ up to the token read, "
            f"got {len(first)} among {len(batch)}; pass other ones."
        )
    different = np.array(list(first.values()))
    drawn = np.random.default_rng(seed).permutation(len(different))[:sample]
    return torch.from_numpy(np.sort(different[drawn]))


def _check_reading(
    reading: Reading, model: DepthModel, texts: list[str], at_last: bool, include_first: bool
) -> None:
    """Refuse what was read elsewhere, or of other prompts."""
    if reading.provenance is None or include_first or not at_last:
        wrong = "not the one of a task's last tokens that read_states makes"
    else:
        wrong = other_than(reading.provenance, model.info, prompts=texts)
    if wrong:
        raise ValueError(
            f"geometry_profile: the reading is {wrong}; leave it out, and the prompts are read."
        )


def _without_answers(units: Units, task: Task | None, sample: list[int]) -> Units:
    """Without labels that name the answer: whether predictions differ between answers is what is
    asked, and no likeness of prompts beside it."""
    if task is None or task.target is None:
        return units
    answers = [task.target[i] for i in sample]

    def names_answer(values: tuple[str, ...]) -> bool:
        return len(set(zip(values, answers, strict=True))) == len(set(values)) == len(set(answers))

    labels = set(task.labels.columns)
    return tuple(one for one in units if one.name not in labels or not names_answer(one.values))


def _measure_clouds(reading: Reading, halves: Halves) -> dict[str, Bounds]:
    """How the cloud of each depth lies: value, interval, and no p."""
    by_depth = [
        measure_anisotropy(x, mean, variance, halves) | measure_dimension(x, halves)
        for x, mean, variance in zip(reading.states, reading.mean, reading.variance, strict=True)
    ]
    measured: dict[str, Bounds] = {}
    for name in by_depth[0]:
        value = np.array([found[name][0] for found in by_depth])
        drawn = np.stack([found[name][1] for found in by_depth], axis=1)
        low, high = half_interval(value, drawn, halves)
        measured[name] = value, low, high, np.full(len(value), np.nan)
    return measured


def _maps(
    states: Float[Tensor, "depth sample d_model"],
    halves: Halves,
    units: Units,
    n_resamples: int,
    seed: int,
) -> dict[str, Tensor]:
    cka = dict(zip(("cka", "cka_low", "cka_high"), linear_cka(states, halves), strict=True))
    names = ("procrustes", "procrustes_low", "procrustes_high", "procrustes_chance")
    turned = procrustes(states, units=units, n_resamples=n_resamples, seed=seed)
    found = cka | dict(zip(names, turned, strict=True))
    return {name: torch.tensor(values, dtype=torch.float32) for name, values in found.items()}


def _draw_pairs(
    states: Float[Tensor, "depth sample d_model"], js: Float[Array, "sample sample"], seed: int
) -> dict[str, Tensor]:
    """Some pairs of the sample with their angles and their divergence."""
    i, j = np.triu_indices(len(js), 1)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(i))[:DRAWN_PAIRS])
    angle = np.stack([upper(state_distances(x)[0])[drawn] for x in states])
    return {
        "pairs": torch.from_numpy(np.stack([i[drawn], j[drawn]], axis=1)),
        "pair_angle": torch.tensor(angle, dtype=torch.float32),
        "pair_js": torch.tensor(js[i[drawn], j[drawn]], dtype=torch.float32),
    }
