"""What can be read off a state's norm, off its direction, and off the whole?

At each depth linear readers decode a task's labels and the model's prediction from the norm alone,
from the direction alone and from the whole state, out of fold and against permuted labels: norms
that carry context without deciding the prediction (claim C6 of Haim & McNamee, arXiv 2602.04931)
would show here. That something can be read says nothing of whether the model uses it; for that,
see `ablation_sweep`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar, stats
from lensdepth.ablation.decoded import PARTS, SCORES, DecodingProfile
from lensdepth.ablation.probes import PENALTY, assign_folds, decode, fit_folds, permuted
from lensdepth.ablation.quantities import (
    Quantity,
    ReadPosition,
    choose_reads,
    known_values,
    predicted_names,
    read,
    usable,
)
from lensdepth.ablation.sweep import check_parts
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.coordinates import CoordinateName, coordinates_of
from lensdepth.model import DepthModel
from lensdepth.progress import one_by_one
from lensdepth.prompts import origin_of
from lensdepth.provenance import make_provenance
from lensdepth.sweep.choices import check_depths
from lensdepth.tasks.task import Task


@checked
@bounded
def decode_parts(
    model: DepthModel,
    task: Task,
    *,
    depths: Sequence[int] | None = None,
    position: ReadPosition = "prediction",
    coordinates: CoordinateName = "raw",
    labels: Sequence[str] | None = None,
    n_folds: int = 5,
    n_permutations: int | None = None,
    max_samples: int = 2000,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> DecodingProfile:
    """Decode labels and predictions from the norm, the direction and the whole state.

    Readers are ridge regressions with one fixed penalty, tested on prompts that they were not
    fitted to (see `lensdepth.ablation.probes`).

    Args:
        model: any wrapped model.
        task: pairs, of which the clean prompts are read, or plain prompts.
        depths: residual depths 0 ... n_layers; all by default.
        position: whose state is read: `"prediction"`, each prompt's own last token; `"input"`; an
            index; `"all"` but the first of each prompt, an attention sink. States that prompts
            share, because they begin alike, are read once.
        coordinates: in which the parts are taken: `"raw"`; `"centred"`, from the mean of the read
            states at that depth; `"final_norm"`, less what a final LayerNorm subtracts.
        labels: what to decode, by name; by default everything there is. Classes: the task's label
            columns, `input_token`, and `target` where there are answers. Numbers: `context_length`
            in tokens; `position`, the index of the token read; `entropy` of the prediction at the
            prompt's end and `target_log_prob` there (`top_log_prob` without answers), in nats;
            and columns of numbers with over 12 different values, or too few prompts for each.
        n_folds: of the cross-validation; a class needs as many prompts, or it is left out.
        n_permutations: of the labels. None takes 200, or 20 for each part and depth where that is
            more: p cannot fall below 1 / (1 + n_permutations), and Holm's correction multiplies it
            by their number.
        max_samples: most states to read; more are sampled.
        seed: of sample, folds, permutations and resamples.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        DecodingProfile. Labels that are constant, that repeat another one or that have too few
        prompts a class are in `skipped`. Where all states are equal, scores are at chance and p
        is 1.
    Raises:
        ValueError: before any forward pass: an unknown option or label, too few prompts, a depth
            out of range, or no input position. Later: nothing is left to decode.
    Source: claim C6 of Haim & McNamee, arXiv 2602.04931.
    Example:
        >>> profile = decode_parts(model, load_task("months", model), labels=["beta", "entropy"])
        >>> profile.of("score", label="beta", part="norm")
    """
    caller = "decode_parts"
    asked = check_depths(depths, model.n_layers, caller=caller)
    check_parts("source", coordinates, len(task), caller=caller)
    if n_permutations is None:
        n_permutations = permutations_for(len(asked))
    _check_options(task, position, n_folds, n_permutations, max_samples, caller)
    reads = choose_reads(task, position, max_samples, seed)
    if reads.n_prompts < 2 * n_folds:
        raise ValueError(
            f"{caller}: {n_folds} folds need at least {2 * n_folds} prompts that differ up to the "
            f"token read, got {reads.n_prompts}; add prompts or lower n_folds."
        )
    known = known_values(model, task, reads)
    chosen = _check_labels(labels, (*known, *predicted_names(task)), caller)
    _, skipped = usable(
        {name: known[name] for name in chosen if name in known}, reads.prompt, n_folds
    )
    if len(skipped) == len(chosen):
        _refuse_empty(skipped, caller)
    model.check_weights()
    states, predicted = read(model, task, reads, batch_size)
    values = {**known, **predicted}
    found, skipped = usable({name: values[name] for name in chosen}, reads.prompt, n_folds)
    if not found:
        _refuse_empty(skipped, caller)
    scores = _decode_all(
        states[asked],
        found,
        reads.prompt,
        coordinates=coordinates,
        normalization=model.info.normalization,
        n_folds=n_folds,
        n_permutations=n_permutations,
        seed=seed,
    )
    return DecodingProfile(
        provenance=make_provenance(
            caller,
            model.info,
            **origin_of(task, task.clean),
            settings={
                "position": position,
                "depths": asked,
                "coordinates": coordinates,
                "labels": list(chosen),
                "batch_size": batch_size,
                "max_memory": max_memory,
                "n_folds": n_folds,
                "n_permutations": n_permutations,
                "max_samples": max_samples,
                "penalty": PENALTY,
            },
            seed=seed,
        ),
        position=position,
        coordinates=coordinates,
        depths=torch.tensor(asked),
        parts=PARTS,
        labels=tuple(quantity.name for quantity in found),
        kinds=tuple(quantity.kind for quantity in found),
        n_classes=tuple(quantity.n_classes for quantity in found),
        n_samples=tuple(int(quantity.used.sum()) for quantity in found),
        skipped=skipped,
        **scores,
    )


def _check_options(
    task: Task,
    position: ReadPosition,
    n_folds: int,
    n_permutations: int,
    max_samples: int,
    caller: str,
) -> None:
    if position == "input" and task.input_positions is None:
        raise ValueError(
            f"{caller}: task {task.name!r} has no input position; add the column input, or read "
            f"the prediction position."
        )
    for name, value, least in (
        ("n_folds", n_folds, 2),
        ("n_permutations", n_permutations, 1),
        ("max_samples", max_samples, 2 * n_folds),
    ):
        if value < least:
            raise ValueError(f"{caller}: {name} must be at least {least}, got {value}.")


def _check_labels(
    labels: Sequence[str] | None, there: Sequence[str], caller: str
) -> tuple[str, ...]:
    """The asked labels, or all."""
    if labels is None:
        return tuple(there)
    wrong = [name for name in labels if name not in there]
    if isinstance(labels, str) or wrong or not labels:
        raise ValueError(
            f"{caller}: labels must be some of {', '.join(there)}, got {wrong or labels!r}."
        )
    return tuple(dict.fromkeys(labels))


def permutations_for(n_depths: int) -> int:
    """As many as Holm's correction over parts and depths leaves something of."""
    return max(200, 20 * len(PARTS) * n_depths)


def _refuse_empty(skipped: dict[str, str], caller: str) -> None:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
    raise ValueError(
        f"{caller}: there is nothing to decode ({reasons}); ask for other labels or add prompts."
    )


def _decode_all(
    states: Float[Tensor, "depth sample d_model"],
    quantities: Sequence[Quantity],
    prompt: Int[np.ndarray, " sample"],
    *,
    coordinates: CoordinateName,
    normalization: str,
    n_folds: int,
    n_permutations: int,
    seed: int,
) -> dict[str, Tensor]:
    """Every label from every part at every depth: the arrays of a profile."""
    rows, folds = [], {}
    for quantity in quantities:
        used = quantity.used
        values = quantity.values[used]
        values = values.astype(int) if quantity.kind == "class" else values
        rows.append(permuted(values, prompt[used], n_permutations, seed))
        folds[used.tobytes()] = assign_folds(prompt[used], n_folds, seed)
    shape = (len(quantities), len(PARTS), len(states))
    found = {name: torch.zeros(shape, dtype=torch.float32) for name in SCORES}
    found |= {
        f"difference_{end}": torch.zeros(shape[0], shape[2], dtype=torch.float32)
        for end in ("low", "high")
    }
    for d, x in enumerate(one_by_one(list(states.double()), "decoding")):
        center = x.mean(0) if coordinates == "centred" else None
        y = coordinates_of(coordinates, normalization, center).inner(x)
        features = {"norm": polar.norm(y)[:, None], "direction": polar.direction(y), "state": y}
        resampled = {}
        for j, part in enumerate(PARTS):
            fits = {
                key: fit_folds(features[part].numpy()[np.frombuffer(key, dtype=bool)], fold)
                for key, fold in folds.items()
            }
            for i, quantity in enumerate(quantities):
                used = quantity.used
                decoded = decode(
                    fits[used.tobytes()], rows[i], prompt[used],
                    kind=quantity.kind, n_classes=quantity.n_classes, seed=seed,
                )  # fmt: skip
                resampled[part, i] = decoded.resampled
                numbers = (
                    decoded.score, *stats.percentile_interval(decoded.resampled),
                    decoded.null.mean(), np.quantile(decoded.null, stats.LEVEL), decoded.p,
                )  # fmt: skip
                for name, number in zip(SCORES, numbers, strict=True):
                    found[name][i, j, d] = float(number)
        for i in range(len(quantities)):
            gap = resampled["norm", i] - resampled["direction", i]
            for end, bound in zip(("low", "high"), stats.percentile_interval(gap), strict=True):
                found[f"difference_{end}"][i, d] = float(bound)
    return found
