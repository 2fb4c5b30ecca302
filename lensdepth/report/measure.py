"""Run the analyses that a task allows, and say why the others are absent."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from tqdm.auto import tqdm

from lensdepth.ablation.decoding import decode_parts
from lensdepth.ablation.dose import FACTORS, dose_response
from lensdepth.ablation.sweep import ablation_sweep
from lensdepth.analyses import ANALYSES, analysis
from lensdepth.claims import evidence
from lensdepth.claims.architecture import N_TWINS
from lensdepth.claims.evaluate import evaluate_claims
from lensdepth.claims.evidence import PROFILES, Evidence, reason_of
from lensdepth.gap import find_holder
from lensdepth.geometry.measure import geometry_profile
from lensdepth.geometry.profile import GeometryProfile
from lensdepth.geometry.reading import Reading, read_states
from lensdepth.lens.profile import LensProfile
from lensdepth.lens.read import logit_lens
from lensdepth.lens.told import MEASURES
from lensdepth.lens.tuned import TunedLens
from lensdepth.locality.compare import compare_local_global
from lensdepth.mistakes.compare import mistakes_in
from lensdepth.mistakes.profile import MistakeProfile
from lensdepth.model import DepthModel
from lensdepth.patching.profile import PatchProfile
from lensdepth.patching.sweep import patch_sweep
from lensdepth.report.measured import Measured
from lensdepth.report.story import switches_of
from lensdepth.steering.sweep import steering_sweep
from lensdepth.sweep.adaptive import Depths
from lensdepth.tasks.task import Task
from lensdepth.tasks.told import counts, noun
from lensdepth.telling.plain import Json, provenance_json, to_json
from lensdepth.transition.change_point import ChangePoint, find_change_point
from lensdepth.transition.commitment import find_commitment
from lensdepth.transition.compare import compare_definitions
from lensdepth.transition.crossing import find_crossing, find_steering_crossing
from lensdepth.transition.find import FEWEST_DEPTHS, find_transition, why_not_sought

T = TypeVar("T")

STAGES = (
    "lens", "patch", "steering", "locality", "ablation", "dose", "decoding", "geometry", "claims",
)  # fmt: skip
"""What takes its time, in order."""
TOKENS_SHOWN = 32
"""Most tokens of the first prompt that are mapped."""


def why_absent(model: DepthModel, task: Task) -> dict[str, str]:
    """Which analyses this task cannot have, known before anything is run."""
    absent = {}
    if not task.has_pairs:
        reason = (
            "the task has plain prompts alone; interventions need pairs of prompts with the "
            "columns clean, corrupted, target and foil"
        )
        causal = ("patch", "steering", "locality", "ablation", "dose", "crossing", "claims")
        absent |= dict.fromkeys(causal, reason)
    elif task.input_positions is None or task.corrupted_input_positions is None:
        absent["crossing"] = (
            "the task has no input position; add the columns input and corrupted_input"
        )
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


def measure(
    model: DepthModel,
    task: Task,
    *,
    translators: TunedLens | None = None,
    twins: int = N_TWINS,
    depths: Depths = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> Measured:
    """Run each analysis by its public function, with a bar over the stages.

    Nothing is run twice: what the claims are judged on is handed to them. Of a task with pairs that
    the model answers wrongly the claims are on the others, and measure those by themselves.
    """
    absent = why_absent(model, task)
    seconds: dict[str, float] = {}
    names = [n for n in STAGES if n not in absent]
    with tqdm(total=len(names) + 1, desc="report", disable=None, leave=False) as bar:

        def timed(name: str, run: Callable[[], T]) -> T:
            bar.set_postfix_str(name)
            start = time.perf_counter()
            result = run()
            seconds[name] = round(time.perf_counter() - start, 2)
            bar.update(name in names)
            return result

        def stage(name: str, run: Callable[[], T]) -> T | None:
            return None if name in absent else timed(name, run)

        def willing(name: str, run: Callable[[], T]) -> T | None:
            """A stage that may refuse these prompts, which is then what the page says."""
            try:
                return stage(name, run)
            except ValueError as refusal:
                absent[name] = reason_of(refusal)
                return None

        lens = timed("lens", lambda: logit_lens(model, task, batch_size=batch_size))
        unsought = why_not_sought(lens)
        if unsought is not None:
            absent["transition"] = unsought
        tuned = None
        if translators is not None:
            tuned = logit_lens(model, task, translators=translators, batch_size=batch_size)
            if (why := why_not_sought(tuned)) is not None:
                absent["tuned_transition"] = why
        tokens = _first_prompt(model, task)
        positions = ("prediction",) if "crossing" in absent else ("input", "prediction")
        patch = stage(
            "patch",
            lambda: patch_sweep(model, task, depths=depths, positions=positions, seed=seed),
        )
        at = evidence.found_depths(Evidence(patch=patch))
        steering = willing(
            "steering",
            lambda: steering_sweep(model, task, depths=at, positions=positions, seed=seed),
        )
        locality = willing("locality", lambda: compare_local_global(model, task, stream="attn_out"))
        ablation = stage("ablation", lambda: ablation_sweep(model, task, depths=at, seed=seed))
        factors = tuple(sorted({*FACTORS, *evidence.FACTORS}))
        dose = stage(
            "dose", lambda: dose_response(model, task, depths=at, factors=factors, seed=seed)
        )
        decoding = willing(
            "decoding",
            lambda: decode_parts(model, task, depths=at, seed=seed, batch_size=batch_size),
        )
        geometry = reading = None
        if "geometry" not in absent:
            reading, geometry = timed(
                "geometry", lambda: _geometry(model, task, seed=seed, batch_size=batch_size)
            )
        known = None
        if "crossing" not in absent:  # without an input position no claim is tested
            known = Evidence(
                patch=patch, reading=reading, ablation=ablation, dose=dose, steering=steering,
                locality=locality, refused={n: absent[n] for n in PROFILES if n in absent},
            )  # fmt: skip
        claims = stage(
            "claims",
            lambda: evaluate_claims(
                model,
                task,
                evidence=known,
                twins=twins,
                depths=depths,
                seed=seed,
                batch_size=batch_size,
            ),
        )
        transition = stage("transition", lambda: find_transition(lens, seed=seed))
        tuned_transition = None
        if tuned is not None:
            tuned_transition = stage("tuned_transition", lambda: find_transition(tuned, seed=seed))
        crossing = steering_crossing = sustained_crossing = None
        if patch is not None:
            crossing = stage(
                "crossing",
                lambda: find_holder(model, task, find_crossing(patch, seed=seed), seed=seed),
            )
        if steering is not None and "crossing" not in absent:
            steering_crossing, sustained_crossing = (
                find_steering_crossing(steering, scope=scope, seed=seed)
                for scope in ("local", "suffix")
            )
            if steering_crossing is not None:
                steering_crossing = find_holder(model, task, steering_crossing, seed=seed)
        change_point = None
        if transition is not None and len(transition.depths) > FEWEST_DEPTHS:  # but for the last
            change_point = stage("change_point", lambda: cut_together(lens, patch, seed))
        bar.update()
    return Measured(
        task=task,
        lens=lens,
        tokens=tokens,
        transition=transition,
        patch=patch,
        crossing=crossing,
        steering=steering,
        steering_crossing=steering_crossing,
        sustained_crossing=sustained_crossing,
        commitment=find_commitment(lens),
        change_point=change_point,
        locality=locality,
        ablation=ablation,
        dose=dose,
        decoding=decoding,
        geometry=geometry,
        claims=claims,
        mistakes=_mistakes(lens, model, task, absent, seed),
        tuned=tuned,
        tuned_transition=tuned_transition,
        seed=seed,
        absent=absent,
        seconds=seconds,
    )


def _geometry(
    model: DepthModel, task: Task, *, seed: int, batch_size: int | None
) -> tuple[Reading | None, GeometryProfile]:
    """The states of the clean prompts, where the claims are on them too, and their geometry."""
    reading = read_states(model, task, batch_size=batch_size) if task.has_pairs else None
    profile = geometry_profile(model, task, seed=seed, batch_size=batch_size, reading=reading)
    return reading, profile


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


def cut_together(lens: LensProfile, patch: PatchProfile | None, seed: int) -> ChangePoint:
    """One change point of what the lens's switch is looked for in, and of patching at each
    position, before depth L, where patching ends as it must."""
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
    return to_json(summary)
