"""What scaled norms do to confidence: curves, summary and sentences."""

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from lensdepth.claims.estimate import Estimate
from lensdepth.claims.estimate import estimate as claims_estimate
from lensdepth.confidence.profile import EDITS
from lensdepth.confidence.verdict import FLIPS, FOUND, NATS, Judged
from lensdepth.stats import ALPHA
from lensdepth.telling.curves import Curve, estimate, mean_curve
from lensdepth.telling.depths import at_depth, block
from lensdepth.telling.numbers import Interval, change, counted, number, percent
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.confidence.profile import ConfidenceProfile
    from lensdepth.confidence.writes import NullWrites

PANELS = {
    "entropy": "change of entropy, nats",
    "own_probability": "change of the own first choice's probability",
    "flip": "share of first choices that change",
}
"""What is shown by depth, and in what."""
UNITS = {"entropy": "nats", "own_probability": "probability", "flip": "share of pairs"}
UNREAD = 0.2
"""How much directions are read, beside all, from which on they are no null space."""
MOST = 0.5
"""Share of a neuron's output, in squared length, beyond which it is called an entropy neuron."""
FOUND_WORDS = {
    "tells confidence": "The norm tells confidence",
    "as any move": "The norm does what any move of that length does, turns included,",
    "decides": "The norm decides: it changes first choices, more than turns of equal length do,",
}
SHOWN = 0.005
"""Least change of entropy that is written as more than 0.00."""
ROLES = ("input", "norm", "prediction", "direction", "entropy", "full")
EDIT_WORDS = {"norm": "norm ×{}", "turn": "turn as far as ×{}"}


def measure_curves(profile: "ConfidenceProfile", metric: str) -> list[Curve]:
    """Change of one metric by depth: a curve an edit and factor, turns as controls."""
    return [
        Curve.of(
            words.format(f"{factor:g}"),
            values,
            key=f"{metric}_{edit}_{factor:g}",
            role=ROLES[i % len(ROLES)],
            units=profile.provenance.units,
            unit=UNITS[metric],
            depths=profile.depths.numpy(),
            control=edit == "turn",
            floor=profile.outcome.floor_of(metric),
        )
        for edit, words in EDIT_WORDS.items()
        for i, (factor, values) in enumerate(
            zip(profile.factors, profile.change(metric, edit), strict=True)  # type: ignore[arg-type]
        )
    ]


def curves(profile: "ConfidenceProfile") -> list[Curve]:
    """Entropy, the own first choice's probability and changed first choices, by depth."""
    return [curve for metric in PANELS for curve in measure_curves(profile, metric)]


def chief(profile: "ConfidenceProfile") -> list[Curve]:
    """What a terminal has room for."""
    return measure_curves(profile, "entropy")


def summary(profile: "ConfidenceProfile") -> Json:
    """Verdicts and what they rest on; then `[factor][depth]` by edit; null where there is none."""

    def by_edit(metric: str) -> Json:
        return {
            edit: [mean_curve(x) for x in profile.change(metric, edit)]  # type: ignore[arg-type]
            for edit in EDITS
        }

    return to_json(
        {
            "verdict": profile.verdict,
            "reason": profile.reason,
            "judged": [
                {"depth": depth, "verdict": one.verdict, "reason": one.reason, **_numbers(one)}
                for depth, one in profile.judged.items()
            ],
            "depths": profile.depths.tolist(),
            "factors": list(profile.factors),
            **{metric: by_edit(metric) for metric in PANELS},
            "twin": {str(depth): verdict for depth, verdict in profile.twin},
            "twin_note": profile.twin_note,
            "calibration": _calibration(profile),
            "calibration_note": profile.calibration_note,
            "null_space": _null(profile),
            "n_pairs": profile.outcome.n_pairs,
        }
    )


def _numbers(one: Judged) -> Json:
    names = ("per_doubling", "moved", "lead", "flips", "flips_lead")
    return {name: _with_bounds(getattr(one, name)) for name in names}


def _calibration(profile: "ConfidenceProfile") -> Json | None:
    if profile.calibration_note:
        return None
    made = {"brier": profile.brier, "overconfidence": profile.overconfidence}
    return {
        name: {"base": _with_bounds(estimate(of(), profile.provenance.units))}
        | {edit: [mean_curve(x) for x in of(edit)] for edit in EDITS}  # type: ignore[arg-type]
        for name, of in made.items()
    }


def _null(profile: "ConfidenceProfile") -> Json | None:
    null = profile.null
    if null is None:
        return None
    return {
        "dim": null.dim,
        "gain": null.gain,
        "expected": null.expected,
        "share": mean_curve(null.share),  # type: ignore[arg-type]
        "entropy": mean_curve(null.entropy.abs()),  # type: ignore[arg-type]
        "direct": mean_curve(null.direct.abs()),  # type: ignore[arg-type]
        "neurons": None if null.neurons is None else entropy_neurons(null.neurons),
    }


def entropy_neurons(neurons: Float[Tensor, "layer neuron"]) -> list[int]:
    """By block, neurons more than half of whose output weights' squared length lies there."""
    return (neurons > MOST).sum(1).tolist()


def _with_bounds(one: Interval | Estimate) -> Json:
    return {"value": one.value, "low": one.low, "high": one.high}


def interval(found: Estimate, floor: float = 0.0) -> Interval:
    """An estimate as it is written."""
    return Interval(value=found.value, low=found.low, high=found.high, floor=floor)


def sentences(profile: "ConfidenceProfile") -> list[str]:
    """What the norm decides and where; calibration; the null space; what decides nothing."""
    said = [*_verdict(profile), *_twin(profile), *_calibrated(profile), *_null_told(profile)]
    last = profile.n_layers
    if last in profile.depths.tolist() and profile.provenance.model.normalization != "none":
        said.append(f"Depth {last} decides nothing: there the final norm divides every factor out.")
    return said


def _verdict(profile: "ConfidenceProfile") -> list[str]:
    verdict, n = profile.verdict, profile.n_layers
    if verdict in ("too few", "cannot tell"):
        said = [f"What the norm decides cannot be told: {profile.reason}.", *_nearest(profile)]
        return said + _others(profile) * bool(profile.at("nothing"))
    if verdict == "nothing":
        return [
            f"The norm does nothing at any depth between the first and the last: entropy moves by "
            f"less than {number(NATS)} nats and first choices change in fewer than "
            f"{percent(FLIPS)} of the pairs.",
            _at(profile, profile.judged_depths[-1]),
        ]
    said = []
    for name in FOUND:
        if where := profile.at(name):
            said += [f"{FOUND_WORDS[name]} at {_listed(where)} of {n}.", _at(profile, where[-1])]
    return said + _others(profile)


def _twin(profile: "ConfidenceProfile") -> list[str]:
    """What is found in an untrained twin as well, and so is no finding."""
    if not profile.twin:
        return [profile.twin_note] if profile.twin_note else []
    mine = {depth: one.verdict for depth, one in profile.judged.items()}
    as_well = [depth for depth, verdict in profile.twin if mine[depth] == verdict in FOUND]
    there = dict.fromkeys(verdict for _, verdict in profile.twin)
    listed = "; ".join(
        f"{verdict} at {_listed([d for d, one in profile.twin if one == verdict])}"
        for verdict in there
    )
    said = [f"In an untrained twin, on its own answers: {listed}."]
    if as_well:
        said.append(f"So what is found at {_listed(as_well)} is the architecture's, not learned.")
    return said


def _nearest(profile: "ConfidenceProfile") -> list[str]:
    """The numbers of the depth at which entropy moves most, where nothing is decided."""
    known = {d: one.moved.value for d, one in profile.judged.items() if one.moved.value >= 0}
    return [_at(profile, max(known, key=lambda d: known[d]))] if known else []


def _others(profile: "ConfidenceProfile") -> list[str]:
    parts = []
    if still := profile.at("nothing"):
        parts.append(f"it does nothing at {_listed(still)}")
    if unclear := profile.at("cannot tell"):
        parts.append(f"what it does at {_listed(unclear)} is open")
    said = "; ".join(parts)
    return [f"{said[0].upper()}{said[1:]}."] if said else []


def _listed(depths: list[int]) -> str:
    return f"depth{'s' * (len(depths) > 1)} {', '.join(map(str, depths))}"


def _at(profile: "ConfidenceProfile", depth: int) -> str:
    """The numbers of one depth."""
    one, floor = profile.judged[depth], profile.outcome.floor_of("entropy")
    slope = interval(one.per_doubling, floor)
    way = ""
    shown = slope.known and not slope.is_rounding and abs(slope.value) >= SHOWN
    if shown and slope.low * slope.high > 0:
        way = " (longer is surer)" if slope.value < 0 else " (longer is less sure)"
    return (
        f"At {at_depth(depth, profile.n_layers)} a doubling of the norm changes entropy by "
        f"{slope} nats{way}; its size is {interval(one.moved, floor)} nats over the factors, "
        f"{change(one.lead.value)} {_bounds(one.lead)} against turns of equal length; "
        f"{interval(one.flips).percent} of first choices change, "
        f"{change(one.flips_lead.value)} {_bounds(one.flips_lead)} of the pairs against such turns."
    )


def _bounds(found: Estimate) -> str:
    return f"({number(found.low)} to {number(found.high)})"


def _calibrated(profile: "ConfidenceProfile") -> list[str]:
    if profile.calibration_note:
        return [f"{profile.calibration_note}."]
    units = profile.provenance.units
    base, over = (estimate(x(), units) for x in (profile.brier, profile.overconfidence))
    said = [
        f"Unedited, the Brier score of the first choice is {base}, and its probability exceeds the "
        f"share of right answers by {over}."
    ]
    if where := profile.at("tells confidence") or profile.judged_depths:
        found = profile.calibration_at(where[-1])
        said.append(
            f"At depth {where[-1]} a doubling of the norm changes that excess by "
            f"{found['overconfidence']}; the Brier score changes by {found['norm']} over the "
            f"factors, under turns of equal length by {found['turn']}."
        )
    return said


def _null_told(profile: "ConfidenceProfile") -> list[str]:
    null = profile.null
    if null is None:
        return ["The model's logits come from no plain matrix, which has no null space."]
    said = (
        f"The {counted(null.dim, 'direction')} that the unembedding reads least, behind the final "
        f"norm's weight, {'is' if null.dim == 1 else 'are'} read {percent(null.gain)} as much as "
        f"all are on average"
    )
    if not null.gain < UNREAD:
        return [f"{said}: no null space to speak of, so that entropy neurons cannot be told."]
    return [f"{said}.", *_neurons_told(null), _owed(profile, null)]


def _neurons_told(null: "NullWrites") -> list[str]:
    if null.neurons is None or not (known := null.neurons.isfinite()).any():
        return []
    n, shares = sum(entropy_neurons(null.neurons)), null.neurons.nan_to_num(-1.0)
    most = int(shares.max(1).values.argmax())
    return [
        f"{counted(n, 'neuron')} of {int(known.sum()):,} {'has' if n == 1 else 'have'} more "
        f"than half of {'its' if n == 1 else 'their'} output there; the largest share is "
        f"{percent(float(shares.max()))}, in {block(most)}, and a random vector's "
        f"{percent(null.expected)}."
    ]


def _owed(profile: "ConfidenceProfile", null: "NullWrites") -> str:
    """What entropy owes to the writes there; of the block for which it is most, among all."""
    units, n = profile.provenance.units, profile.n_layers
    least = max(profile.outcome.floor_of("entropy"), 1e-6)

    def size(values: Tensor) -> Estimate:
        return claims_estimate(values.double().numpy(), units, floor=least)

    sizes = [size(x.abs()) for x in null.entropy.T]
    if any(one.value != one.value for one in sizes):
        return "What entropy owes to it is not told of so few units."
    most = max(range(n), key=lambda layer: sizes[layer].value)
    direct = null.direct[:, most].abs()
    through, sure = size(null.entropy[:, most].abs() - direct), ALPHA / (2 * n)
    told = "whether that is something is open"
    if max(one.p_below(NATS) for one in sizes) < sure:
        told = f"less than {number(NATS)} nats, as for every block"
    elif through.p_above(NATS) < sure:
        told = "the norm's doing"
    return (
        f"With the mean over prompts in place of what MLPs wrote there, the last state's entropy "
        f"changes most for {block(most)}, by {interval(sizes[most])} nats in size, and by "
        f"{interval(size(direct))} with the norm's scale held: {told}."
    )
