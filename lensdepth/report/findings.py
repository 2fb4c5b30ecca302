"""Run the analyses that a task allows, and say why the others are absent."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from tqdm.auto import tqdm

from lensdepth.ablation import (
    AblationProfile,
    DecodingProfile,
    DoseProfile,
    ablation_sweep,
    decode_parts,
    dose_response,
)
from lensdepth.analyses import ANALYSES
from lensdepth.claims import ClaimTable, evaluate_claims
from lensdepth.claims.evidence import reason_of
from lensdepth.geometry import GeometryProfile, geometry_profile
from lensdepth.lens import LensProfile, logit_lens
from lensdepth.locality import LocalityProfile, compare_local_global
from lensdepth.model import DepthModel
from lensdepth.patching import PatchProfile, patch_sweep
from lensdepth.report.story import switches_of
from lensdepth.steering import SteeringProfile, steering_sweep
from lensdepth.tasks import Task
from lensdepth.tasks.told import counts, noun
from lensdepth.telling.plain import Json, provenance_json, to_json
from lensdepth.transition import (
    ChangePoint,
    Commitment,
    Crossing,
    Located,
    Transition,
    compare_definitions,
    find_change_point,
    find_commitment,
    find_crossing,
    find_steering_crossing,
    find_transition,
)

T = TypeVar("T")

STAGES = (
    "lens", "patch", "steering", "locality", "ablation", "dose", "decoding", "geometry", "claims",
)  # fmt: skip
"""What takes its time, in order."""
TOKENS_SHOWN = 32
"""Most tokens of the first prompt that are mapped."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """The results that a report is made of; what could not be measured is None, with a reason."""

    task: Task
    lens: LensProfile
    tokens: LensProfile
    """The lens of the first prompt at every token, or at the last so many."""
    transition: Transition | None
    patch: PatchProfile | None
    crossing: Crossing | None
    steering: SteeringProfile | None
    steering_crossing: Crossing | None
    """Of steering at one depth by the whole difference."""
    sustained_crossing: Crossing | None
    """Of the same from each depth on."""
    commitment: Commitment | None
    """Where the lens's first choice is settled."""
    change_point: ChangePoint | None
    """Of the lens's divergence and the patching curves, cut together."""
    locality: LocalityProfile | None
    """Attention of single blocks and of all, at the prediction position."""
    ablation: AblationProfile | None
    dose: DoseProfile | None
    decoding: DecodingProfile | None
    geometry: GeometryProfile | None
    claims: ClaimTable | None
    """The study's claims, with verdicts."""
    seed: int
    absent: dict[str, str]
    """Analysis -> why there is no result."""
    seconds: dict[str, float]
    """Analysis -> wall time."""

    @property
    def n_layers(self) -> int:
        return self.lens.n_layers

    @property
    def switches(self) -> dict[str, Located]:
        """Everything that was looked for along the depth, by what it is."""
        named = {
            "logit lens, sigmoid": self.transition,
            "logit lens, first choice settled": self.commitment,
            "patching, crossing": self.crossing,
            "steering, crossing": self.steering_crossing,
            "steering sustained, crossing": self.sustained_crossing,
            "lens and patching, one cut": self.change_point,
        }
        return {name: found for name, found in named.items() if found is not None}


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
    if model.n_layers < 3:
        absent["transition"] = f"a model of {model.n_layers} blocks has fewer than four depths"
    return absent


def measure(
    model: DepthModel, task: Task, *, seed: int = 0, batch_size: int | None = None
) -> Findings:
    """Run each analysis by its public function, with a bar over the stages."""
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
        if lens.kl.isinf().any():
            absent["transition"] = "the divergence of the lens is infinite somewhere"
        tokens = _first_prompt(model, task)
        positions = ("prediction",) if "crossing" in absent else ("input", "prediction")
        patch = stage(
            "patch",
            lambda: patch_sweep(model, task, positions=positions, seed=seed),
        )
        steering = willing(
            "steering",
            lambda: steering_sweep(model, task, positions=positions, seed=seed),
        )
        locality = willing("locality", lambda: compare_local_global(model, task, stream="attn_out"))
        ablation = stage("ablation", lambda: ablation_sweep(model, task, seed=seed))
        dose = stage("dose", lambda: dose_response(model, task, seed=seed))
        decoding = willing(
            "decoding", lambda: decode_parts(model, task, seed=seed, batch_size=batch_size)
        )
        geometry = stage(
            "geometry",
            lambda: geometry_profile(model, task, seed=seed, batch_size=batch_size),
        )
        claims = stage(
            "claims", lambda: evaluate_claims(model, task, seed=seed, batch_size=batch_size)
        )
        transition = stage("transition", lambda: find_transition(lens, seed=seed))
        crossing = steering_crossing = sustained_crossing = None
        if patch is not None:
            crossing = stage("crossing", lambda: find_crossing(patch, seed=seed))
        if steering is not None and "crossing" not in absent:
            steering_crossing, sustained_crossing = (
                find_steering_crossing(steering, scope=scope, seed=seed)
                for scope in ("local", "suffix")
            )
        change_point = None
        if transition is not None:
            change_point = stage("change_point", lambda: _cut_together(lens, patch, seed))
        bar.update()
    return Findings(
        task=task,
        lens=lens,
        tokens=tokens,
        transition=transition,
        patch=patch,
        crossing=crossing,
        steering=steering,
        steering_crossing=steering_crossing,
        sustained_crossing=sustained_crossing,
        commitment=find_commitment(lens, seed=seed),
        change_point=change_point,
        locality=locality,
        ablation=ablation,
        dose=dose,
        decoding=decoding,
        geometry=geometry,
        claims=claims,
        seed=seed,
        absent=absent,
        seconds=seconds,
    )


def _first_prompt(model: DepthModel, task: Task) -> LensProfile:
    """The lens at the last tokens of the first prompt."""
    first = task.clean_tokens[:1]
    length = int(first.lengths[0])
    shown = torch.arange(max(0, length - TOKENS_SHOWN), length)
    return logit_lens(model, first, positions=shown[None])


def _cut_together(lens: LensProfile, patch: PatchProfile | None, seed: int) -> ChangePoint:
    """One change point of the lens's divergence and of patching at each position."""
    profiles = {"lens": lens.mean_by_depth(lens.kl)}
    if patch is not None:
        profiles |= {name: patch.efficacy(name) for name in patch.positions}
    return find_change_point(profiles, n_resamples=200, seed=seed)


def summarize(findings: Findings) -> Json:
    """What `summary.json` holds: provenance, the task, and each analysis's own summary."""
    task = findings.task
    summary: dict[str, Any] = {
        "provenance": provenance_json(findings.lens.provenance),
        "task": {"name": task.name, "kind": noun(task), "seed": task.seed},
        "pairs": counts(task),
        "seed": findings.seed,
        "absent": findings.absent,
        "seconds": findings.seconds,
        "switches": compare_definitions(findings.switches).to_dict("records"),
    }
    for one in ANALYSES:
        result = getattr(findings, one.key, None)
        if result is not None:
            _, found = switches_of(findings, one.key)
            summary[one.name] = one.summary(result, *found)
    return to_json(summary)
