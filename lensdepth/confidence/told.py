"""What scaled norms do to confidence: curves, summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.claims.estimate import Estimate
from lensdepth.confidence.verdict import FLIPS, FOUND, NATS, Judged
from lensdepth.telling.curves import Curve, estimate, mean_curve
from lensdepth.telling.depths import at_depth, block
from lensdepth.telling.numbers import Interval, change, counted, number, percent
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.confidence.profile import ConfidenceProfile

PANELS = {
    "entropy": "change of entropy, nats",
    "own_probability": "change of the own first choice's probability",
    "flip": "share of first choices that change",
}
"""What is shown by depth, and in what."""
UNITS = {"entropy": "nats", "own_probability": "probability", "flip": "share of pairs"}
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
            for edit in EDIT_WORDS
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
            "calibration": _calibration(profile),
            "calibration_note": profile.calibration_note,
            "null_space": _null(profile),
            "n_pairs": profile.outcome.n_pairs,
        }
    )


def _numbers(one: Judged) -> Json:
    names = ("per_doubling", "moved", "lead", "flips", "flips_lead")
    found = {name: interval(getattr(one, name)) for name in names}
    return {
        name: {"value": x.value, "low": x.low, "high": x.high} for name, x in found.items()
    }


def _calibration(profile: "ConfidenceProfile") -> Json | None:
    if profile.calibration_note:
        return None
    made = {"brier": profile.brier, "overconfidence": profile.overconfidence}
    return {
        name: {"base": float(of().mean())}
        | {edit: [mean_curve(x) for x in of(edit)] for edit in EDIT_WORDS}  # type: ignore[arg-type]
        for name, of in made.items()
    }


def _null(profile: "ConfidenceProfile") -> Json | None:
    if profile.null_dim is None:
        return None
    layers = profile.null_by_layer()
    return {
        "dim": profile.null_dim,
        "tolerance": profile.provenance.settings["null_tolerance"],
        "expected": profile.null_expected,
        "share": [one.value for one in layers],
        "low": [one.low for one in layers],
        "high": [one.high for one in layers],
    }


def interval(found: Estimate, floor: float = 0.0) -> Interval:
    """An estimate as it is written."""
    return Interval(value=found.value, low=found.low, high=found.high, floor=floor)


def sentences(profile: "ConfidenceProfile") -> list[str]:
    """What the norm decides and where; calibration; the null space; what decides nothing."""
    said = [*_verdict(profile), *_calibrated(profile), *_null_told(profile)]
    last = profile.n_layers
    if last in profile.depths.tolist() and profile.provenance.model.normalization != "none":
        said.append(
            f"Depth {last} decides nothing: there the final norm divides every factor out."
        )
    return said


def _verdict(profile: "ConfidenceProfile") -> list[str]:
    verdict, n = profile.verdict, profile.n_layers
    if verdict in ("too few", "cannot tell"):
        return [f"What the norm decides cannot be told: {profile.reason}."] + _nearest(profile)
    if verdict == "nothing":
        deepest = profile.judged_depths[-1]
        return [
            f"The norm does nothing at any depth between the first and the last: entropy moves by "
            f"less than {number(NATS)} nats and first choices change in fewer than "
            f"{percent(FLIPS)} of the pairs.",
            _at(profile, deepest),
        ]
    said = []
    for name in FOUND:
        where = profile.at(name)
        if not where:
            continue
        what = "decides: it changes first choices" if name == "decides" else "tells confidence"
        said += [f"The norm {what} at {_listed(where)} of {n}.", _at(profile, where[-1])]
    return said + _others(profile)


def _nearest(profile: "ConfidenceProfile") -> list[str]:
    """The numbers of the depth at which entropy moves most, where nothing is decided."""
    known = {d: one.moved.value for d, one in profile.judged.items() if one.moved.value >= 0}
    return [_at(profile, max(known, key=lambda d: known[d]))] if known else []


def _others(profile: "ConfidenceProfile") -> list[str]:
    rest = {name: profile.at(name) for name in ("nothing", "cannot tell")}
    words = {"nothing": "does nothing", "cannot tell": "cannot be told"}
    found = [f"{words[name]} at {_listed(where)}" for name, where in rest.items() if where]
    return [f"Elsewhere it {' and '.join(found)}."] if found else []


def _listed(depths: list[int]) -> str:
    return f"depth {', '.join(map(str, depths))}"


def _at(profile: "ConfidenceProfile", depth: int) -> str:
    """The numbers of one depth."""
    one, floor = profile.judged[depth], profile.outcome.floor_of("entropy")
    per_doubling = one.per_doubling.value
    way = "longer is surer" if per_doubling < 0 else "longer is less sure"
    return (
        f"At {at_depth(depth, profile.n_layers)} a doubling of the norm changes entropy by "
        f"{interval(one.per_doubling, floor)} nats ({way}); its size is "
        f"{interval(one.moved, floor)} nats over the factors, {change(one.lead.value)} "
        f"{_bounds(one.lead)} against turns of equal length; "
        f"{interval(one.flips).percent} of first choices change, "
        f"{change(one.flips_lead.value)} {_bounds(one.flips_lead)} of the pairs against such turns"
        f"{_like_a_turn(one)}."
    )


def _like_a_turn(one: Judged) -> str:
    """Whether a change of first choices is the norm's own, where there is one."""
    if one.verdict != "decides" or one.flips_lead.low > 0:
        return ""
    return ": not more, as far as can be told, so that any move of that length may do it"


def _bounds(found: Estimate) -> str:
    return f"({number(found.low)} to {number(found.high)})"


def _calibrated(profile: "ConfidenceProfile") -> list[str]:
    if profile.calibration_note:
        return [f"{profile.calibration_note}."]
    units = profile.provenance.units
    base, over = (estimate(x(), units) for x in (profile.brier, profile.overconfidence))
    return [
        f"Unedited, the Brier score of the first choice is {base}, and its probability exceeds the "
        f"share of right answers by {over}."
    ]


def _null_told(profile: "ConfidenceProfile") -> list[str]:
    if profile.null_dim is None or profile.null_expected is None:
        return [
            "The model's logits come from no plain matrix, so its null space cannot be looked at."
        ]
    tolerance = percent(profile.provenance.settings["null_tolerance"])
    start = (
        f"The unembedding behind the final norm's weight leaves "
        f"{counted(profile.null_dim, 'dimension')} unread (singular values below {tolerance} of "
        f"their root mean square)"
    )
    if not profile.null_dim:
        return [f"{start}, so no MLP can write where no logit looks."]
    layers = profile.null_by_layer()
    most = max(range(len(layers)), key=lambda i: (layers[i].value == layers[i].value, layers[i].value))
    share, expected = layers[most], profile.null_expected
    told = "no more than a random vector has there, as far as can be told"
    if share.known and share.low > expected:
        told = "more than a random vector has there"
    elif share.known and share.high < expected:
        told = "less than a random vector has there"
    return [
        f"{start}, which hold {percent(expected)} of a random vector's squared length. Of all MLPs "
        f"that of {block(most)} writes most of its own into them: {share.percent}, {told}."
    ]
