"""Untrained twins of a model, drawn and measured on what its claims are judged on."""

import gc
from collections.abc import Collection

from lensdepth.claims.architecture import Draws
from lensdepth.claims.complete import complete_evidence
from lensdepth.claims.coupling import coupling_numbers
from lensdepth.claims.evidence import OF_CLAIM
from lensdepth.claims.grounds import geometry_of, lay_grounds
from lensdepth.claims.measures import Nothing, Unmeasured, measure
from lensdepth.claims.place import Place
from lensdepth.claims.statements import STATEMENTS, TITLES
from lensdepth.claims.testable import FEWEST_PAIRS
from lensdepth.claims.twins import own_task, unheard
from lensdepth.geometry.reading import read_states
from lensdepth.model import DepthModel
from lensdepth.outside import reason
from lensdepth.progress import counted
from lensdepth.sweep.adaptive import Depths
from lensdepth.tasks.task import Task
from lensdepth.untrained import untrained

MOST_TRIES = 2
"""Twins drawn for each one wanted, at most."""
TWIN_DEALS = 4
"""Deals of a twin's prompts into groups: its numbers are not told more exactly than its draw."""


def draw_twins(
    model: DepthModel,
    task: Task,
    n: int,
    *,
    claims: Collection[str] = tuple(TITLES),
    depths: Depths = None,
    seed: int,
    batch_size: int | None = None,
) -> Draws:
    """The statements' numbers on untrained twins of a model, on the same prompts.

    A twin that answers too few of these pairs in two ways is left out, and another one drawn in its
    place; where there are too few all the same, or none can be made, the note says why.

    Args:
        model: it is left as it is.
        task: pairs that it answers rightly.
        n: twins to draw; the k-th has the weights of seed + k.
        claims: those whose statements are measured; all by default.
        depths: as of the model; each twin finds its own.
        seed: of the weights, the groups and the controls.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
    """
    numbers: list[dict[str, float | None]] = []
    places: list[Place] = []
    notes: dict[str, None] = {}
    with counted(n, "untrained twins") as update:
        for k in range(MOST_TRIES * n):
            if len(numbers) == n:
                break
            try:
                twin = untrained(model, seed=seed + k)
            except ValueError as refusal:  # the next one would fare no better
                notes[reason(refusal)] = None
                break
            try:
                found, place = _measured(
                    twin, task, claims, depths=depths, seed=seed, batch_size=batch_size
                )
                numbers.append(found)
                places.append(place)
                update(1)
            except ValueError as refusal:
                notes[reason(refusal)] = None
            # A model of TransformerLens is a circle of references: there would be several.
            del twin
            gc.collect()
    note = ""
    if len(numbers) < n:
        which = "no untrained twin" if not numbers else f"{len(numbers)} of {n} untrained twins"
        note = f"{which} could be measured: {'; '.join(notes)}"
    return Draws(numbers=tuple(numbers), places=tuple(places), note=note)


def _measured(
    twin: DepthModel,
    task: Task,
    claims: Collection[str],
    *,
    depths: Depths,
    seed: int,
    batch_size: int | None,
) -> tuple[dict[str, float | None], Place]:
    """By key of a statement, None for one that has nothing to be about; and where control passes.

    Raises:
        ValueError: the twin cannot be measured on these prompts.
    """
    own = own_task(twin, task, seed=seed, fewest=FEWEST_PAIRS)
    with unheard():
        whole = complete_evidence(
            twin, own, depths=depths, seed=seed, batch_size=batch_size, lean=True,
            profiles={name for claim in claims for name in OF_CLAIM[claim[:2]]},
        )  # fmt: skip
    grounds = lay_grounds(own, whole, seed=seed, n_deals=TWIN_DEALS)
    if grounds.zones is None:
        raise ValueError(grounds.absent["zones"])
    values: dict[str, float | None] = {}
    for one in STATEMENTS:
        try:
            if one.claim in claims:
                values[one.key] = measure(one.key, grounds).found.value
        except Nothing:  # which passes nothing
            values[one.key] = None
        except Unmeasured:  # which says nothing of it
            continue
    if "C4" in claims:
        # Angles against predictions need no answers: of all prompts, more than the twin has pairs.
        geometry = geometry_of(read_states(twin, task, batch_size=batch_size))
        early, late = grounds.zones.early.mean(0) > 0.5, grounds.zones.late.mean(0) > 0.5
        coupled = coupling_numbers(task.clean, geometry, early, late) or {}
        values |= {f"C4 {word}": value for word, value in coupled.items()}
    assert grounds.place is not None
    return values, grounds.place
