"""Run the analyses that a task allows, and say why the others are absent."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch

from lensdepth.ablation.decoding import decode_parts
from lensdepth.ablation.dose import FACTORS, dose_response
from lensdepth.ablation.sweep import ablation_sweep
from lensdepth.analyses import ANALYSES, analysis
from lensdepth.claims import evidence
from lensdepth.claims.architecture import N_TWINS
from lensdepth.claims.evaluate import TwinsOf, evaluate_claims
from lensdepth.claims.evidence import PROFILES, Evidence, reason_of
from lensdepth.confidence.response import confidence_response
from lensdepth.gap import find_holder
from lensdepth.geometry.measure import geometry_profile
from lensdepth.geometry.reading import Reading, read_states
from lensdepth.landmarks.find import find_landmarks
from lensdepth.lens.profile import LensProfile
from lensdepth.lens.read import logit_lens
from lensdepth.lens.told import MEASURES
from lensdepth.lens.tuned import TunedLens
from lensdepth.locality.choice import choose_depths
from lensdepth.locality.compare import compare_local_global
from lensdepth.mistakes.compare import mistakes_in
from lensdepth.mistakes.profile import MistakeProfile
from lensdepth.model import DepthModel
from lensdepth.patching.profile import PatchProfile
from lensdepth.patching.sweep import patch_sweep
from lensdepth.progress import counted
from lensdepth.report.measured import (
    ALWAYS,
    MAY_REFUSE,
    ON_REQUEST,
    PENDING,
    RESULTS,
    SECTIONS,
    UNASKED,
    USUAL,
    Measured,
    Section,
)
from lensdepth.report.story import switches_of
from lensdepth.steering.sweep import steering_sweep
from lensdepth.subspaces.sweep import subspace_sweep
from lensdepth.sweep.adaptive import Depths, as_setting
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs
from lensdepth.sweep.spans import named_positions
from lensdepth.tally import tallied
from lensdepth.tasks.task import Task
from lensdepth.tasks.told import counts, noun
from lensdepth.telling.plain import Json, provenance_json, to_json
from lensdepth.transition.change_point import ChangePoint, find_change_point
from lensdepth.transition.commitment import find_commitment
from lensdepth.transition.compare import compare_definitions
from lensdepth.transition.crossing import find_crossing, find_steering_crossing
from lensdepth.transition.find import FEWEST_DEPTHS, find_transition, why_not_sought
from lensdepth.transition.result import Transition

TOKENS_SHOWN = 32
"""Most tokens of the first prompt that are mapped."""


def why_absent(task: Task, sections: Collection[str]) -> dict[str, str]:
    """Which analyses this task cannot have, known before anything is run."""
    absent = {}
    if not task.has_pairs:
        reason = (
            "the task has plain prompts alone; interventions need pairs of prompts with the "
            "columns clean, corrupted, target and foil"
        )
        causal = ("patch", "steering", "locality", "ablation", "dose", "crossing", "claims")
        asked = (name for name in ON_REQUEST if name in sections)
        absent |= dict.fromkeys((*causal, *asked), reason)
    elif task.no_handover:
        absent["crossing"] = task.no_handover
    batch = task.clean_tokens
    n_different = len({tuple(batch.row(i)) for i in range(len(batch))})
    if n_different < 3:
        absent["geometry"] = (
            f"a cloud of states needs at least 3 different prompts, and there are {n_different}"
        )
    elif bool((task.prediction_positions == 0).any()):
        absent["geometry"] = (
            "some prompts are one token long, and the first token's state is an attention sink"
        )
    return absent


def measure(model: DepthModel, task: Task, **options: Any) -> Measured:
    """What `stages` has measured when it is done."""
    *_, last = stages(model, task, **options)
    return last


def stages(
    model: DepthModel,
    task: Task,
    *,
    sections: Collection[Section] = USUAL,
    translators: TunedLens | None = None,
    twins: int = N_TWINS,
    twins_of: TwinsOf = "supported",
    depths: Depths = None,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    batch_size: int | None = None,
) -> Iterator[Measured]:
    """Run each analysis by its public function, with a bar over the sections; after each, what
    there is so far, of which the rest says that it is being measured.

    Nothing is run twice: what the claims are judged on is handed to them. Of a task with pairs that
    the model answers wrongly the claims are on the others, and measure those by themselves.
    """
    asked = {*ALWAYS, *sections}
    absent = why_absent(task, asked)
    for name in USUAL:
        if name not in asked:
            absent.setdefault(name, UNASKED)
    pending = [name for name in SECTIONS if name in asked and name not in absent]
    drawn: dict[str, Any] = {"control_pairs": control_pairs, "seed": seed}
    found: dict[str, Any] = {}
    seconds: dict[str, float] = {}

    def run(name: str, analyse: Callable[[], Any]) -> Any:
        """A result, which is kept; None where the analysis refuses, and the reason is kept."""
        start = time.perf_counter()
        try:
            found[name] = analyse()
        except ValueError as refusal:
            if name not in MAY_REFUSE:
                raise
            absent[name] = reason_of(refusal)
        seconds[name] = round(time.perf_counter() - start, 2)
        return found.get(name)

    def so_far(name: str) -> Measured:
        pending.remove(name)
        update(1)
        return Measured(
            **{**dict.fromkeys(RESULTS), **found},
            task=task,
            seed=seed,
            absent={**dict.fromkeys(pending, PENDING), **absent},
            seconds={**seconds},
            runs=tally.runs,
        )

    with counted(len(pending), "report") as update, tallied() as tally:
        lens = run("lens", lambda: logit_lens(model, task, batch_size=batch_size))
        found["tokens"] = _first_prompt(model, task)
        found["commitment"] = find_commitment(lens)
        found["mistakes"] = _mistakes(lens, model, task, absent, seed)
        transition = _transition(lens, "transition", absent, run, seed)
        if translators is not None:
            found["tuned"] = logit_lens(model, task, translators=translators, batch_size=batch_size)
            _transition(found["tuned"], "tuned_transition", absent, run, seed)
        yield so_far("lens")

        patch: PatchProfile | None = None
        if "patch" in pending:
            patch = run("patch", lambda: patch_of(model, task, depths=depths, **drawn))
        if patch is not None and "crossing" not in absent:
            run(
                "crossing",
                lambda: find_holder(model, task, find_crossing(patch, seed=seed), seed=seed),
            )
        if transition is not None:
            run("change_point", lambda: cut_together(lens, patch, seed))
        if "patch" in pending:
            yield so_far("patch")

        where = edited_at(depths, patch)
        reading = None
        if "geometry" in pending and task.has_pairs:  # the claims are on these states too
            reading = read_states(model, task, batch_size=batch_size)
        rest = analyses_at(model, task, where, reading, **drawn, batch_size=batch_size)
        # Of a task without an input position no claim is tested; where depths are named, claims
        # measure what they need by themselves.
        known = "input" in named_positions(task, "all") and not isinstance(as_setting(depths), list)
        rest |= {
            "claims": lambda: evaluate_claims(
                model,
                task,
                evidence=_evidence(found, absent, reading) if known else None,
                twins=twins,
                twins_of=twins_of,
                depths=depths,
                **drawn,
                batch_size=batch_size,
            ),
        }
        for name in [*pending]:
            result = run(name, rest[name])
            if name == "steering" and result is not None and "crossing" not in absent:
                found["steering_crossing"], found["sustained_crossing"] = (
                    find_steering_crossing(result, scope=scope, seed=seed)
                    for scope in ("local", "suffix")
                )
                if found["steering_crossing"] is not None:
                    found["steering_crossing"] = find_holder(
                        model, task, found["steering_crossing"], seed=seed
                    )
            yield so_far(name)


def patch_of(
    model: DepthModel, task: Task, *, depths: Depths, control_pairs: ControlPairs, seed: int
) -> PatchProfile:
    """Patching, as a report measures it."""
    positions: Any = named_positions(task, "all")
    return patch_sweep(
        model, task, depths=depths, positions=positions, control_pairs=control_pairs, seed=seed
    )


def edited_at(depths: Depths, patch: PatchProfile | None) -> list[int] | None:
    """The depths of all further edits: those that were named, or that patching found; None: all."""
    named = as_setting(depths)
    return named if isinstance(named, list) else evidence.found_depths(Evidence(patch=patch))


def analyses_at(
    model: DepthModel,
    task: Task,
    where: list[int] | None,
    reading: Reading | None,
    *,
    control_pairs: ControlPairs,
    seed: int,
    batch_size: int | None = None,
) -> dict[str, Callable[[], Any]]:
    """What a report measures once the depths are known; None: all."""
    positions: Any = named_positions(task, "all")
    at: dict[str, Any] = {"depths": where or "all", "control_pairs": control_pairs, "seed": seed}
    factors = tuple(sorted({*FACTORS, *evidence.FACTORS}))
    return {
        "steering": lambda: steering_sweep(model, task, positions=positions, **at),
        "locality": lambda: compare_local_global(model, task, stream="attn_out"),
        "ablation": lambda: ablation_sweep(model, task, **at),
        "dose": lambda: dose_response(model, task, factors=factors, **at),
        "decoding": lambda: decode_parts(
            model, task, depths=where, seed=seed, batch_size=batch_size
        ),
        "geometry": lambda: geometry_profile(
            model, task, reading=reading, seed=seed, batch_size=batch_size
        ),
        "subspaces": lambda: subspace_sweep(model, task, **at),
        "confidence": lambda: confidence_response(model, task, **at),
        "landmarks": lambda: find_landmarks(
            model, task, depths=at["depths"], seed=seed, batch_size=batch_size
        ),
        "choice": lambda: choose_depths(
            model, task, stream="attn_out", control_pairs=control_pairs, seed=seed
        ),
    }


def _transition(
    lens: LensProfile,
    name: str,
    absent: dict[str, str],
    run: Callable[[str, Callable[[], Any]], Any],
    seed: int,
) -> Transition | None:
    """Where a lens switches, or why that is not sought."""
    if (why := why_not_sought(lens)) is None:
        return run(name, lambda: find_transition(lens, seed=seed))
    absent[name] = why
    return None


def _evidence(found: dict[str, Any], absent: dict[str, str], reading: Reading | None) -> Evidence:
    """What the claims need not measure again, and what refused; the rest was not asked for."""
    known = {name: found.get(name) for name in PROFILES if name != "reading"}
    refused = {n: absent[n] for n in PROFILES if absent.get(n, UNASKED) != UNASKED}
    return Evidence(**known, reading=reading, refused=refused)


def _first_prompt(model: DepthModel, task: Task) -> LensProfile:
    """The lens at the last tokens of the first prompt."""
    first = task.clean_tokens[:1]
    length = int(first.lengths[0])
    shown = torch.arange(max(0, length - TOKENS_SHOWN), length)
    return logit_lens(model, first, positions=shown[None])


def _mistakes(
    lens: LensProfile, model: DepthModel, task: Task, absent: dict[str, str], seed: int
) -> MistakeProfile | None:
    """Right against wrong answers by the lens, where there are enough of both; else the reason."""
    if not task.has_pairs:
        absent["mistakes"] = "plain prompts have no answers to be wrong"
    elif task.keep in ("correct", "wrong"):
        absent["mistakes"] = f"the task kept the {task.keep} pairs alone; make it with keep='all'"
    else:
        found = mistakes_in(lens, model, task, seed=seed)
        if found.verdict != "too few":
            return found
        absent["mistakes"] = found.reason
    return None


def cut_together(lens: LensProfile, patch: PatchProfile | None, seed: int) -> ChangePoint | None:
    """One change point of what the lens's switch is looked for in, and of patching at each
    position, before depth L, where patching ends as it must; None of too few depths."""
    values, places = lens.to_locate()
    profiles = {f"lens, {MEASURES[lens.located_by].name}": values}
    depths = list(map(int, places))
    if patch is not None:
        measured = patch.depths.tolist()
        depths = [depth for depth in depths if depth in measured]
        here = [list(map(int, places)).index(depth) for depth in depths]
        there = [measured.index(depth) for depth in depths]
        profiles = {name: lens_values[:, here] for name, lens_values in profiles.items()}
        profiles |= {name: patch.efficacy(name)[:, there] for name in patch.positions}
    if len(depths) <= FEWEST_DEPTHS:  # but for the last
        return None
    profiles = {name: values[:, :-1] for name, values in profiles.items()}
    return find_change_point(
        profiles, depths=depths[:-1], units=lens.provenance.units, n_layers=lens.n_layers,
        n_resamples=200, seed=seed,
    )  # fmt: skip


def summarize(measured: Measured) -> Json:
    """What `summary.json` holds: provenance, the task, and each analysis's own summary."""
    task = measured.task
    summary: dict[str, Any] = {
        "provenance": provenance_json(measured.lens.provenance),
        "task": {"name": task.name, "kind": noun(task), "seed": task.seed},
        "pairs": counts(task),
        "seed": measured.seed,
        "absent": measured.absent,
        "seconds": measured.seconds,
        "runs": measured.runs,
        "switches": compare_definitions(measured.switches).to_dict("records"),
    }
    for one in ANALYSES:
        result = getattr(measured, one.key, None)
        if result is not None:
            _, found = switches_of(measured, one.key)
            summary[one.name] = one.summary(result, *found)
    if measured.tuned is not None:
        summary["tuned_lens"] = {
            "translators": measured.tuned.provenance.settings["translators"],
            **analysis("lens").summary(measured.tuned, measured.tuned_transition),
        }
    if measured.comparison is not None:
        summary["comparison"] = measured.comparison.summary()
    return to_json(summary)
