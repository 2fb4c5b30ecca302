"""What right and wrong answers say of their depths: curves, summary and sentences."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from lensdepth.mistakes.profile import KINDS
from lensdepth.telling.curves import Curve, mean_curve
from lensdepth.telling.numbers import counted, number, p_value
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.mistakes.profile import Difference, MistakeProfile

ROLES = {"right": "prediction", "wrong": "input", "almost": "direction", "off": "norm"}


def seen_by(by: str) -> str:
    """How an answer is seen to stand."""
    return "the logit lens" if by == "lens" else "patching the last token"


def curves(profile: "MistakeProfile") -> list[Curve]:
    """Share of answers of each kind that stand by each depth; of kinds that are there."""
    kinds = dict(ROLES)
    if not len(profile.of("almost")):
        del kinds["off"]  # which are then all the wrong ones
    return [
        Curve.of(
            f"{KINDS[kind]} answers",
            profile.settled(kind),
            key=kind,
            role=role,
            units=profile.units_of(kind),
            unit="share",
        )
        for kind, role in kinds.items()
        if len(profile.of(kind))
    ]


def summary(profile: "MistakeProfile") -> Json:
    """The comparison in numbers, and what each kind has by depth."""
    kinds = {
        kind: {
            "n": len(at := profile.of(kind)),
            "mean_depth": float(at.mean()) if len(at) else None,
            "median_depth": float(at.median()) if len(at) else None,
            "settled": mean_curve(profile.settled(kind)) if len(at) else [],
        }
        for kind in ROLES
    }
    return to_json(
        {
            "verdict": profile.verdict,
            "reason": profile.reason,
            "difference": profile.difference,
            "low": profile.low,
            "high": profile.high,
            "p": profile.p,
            "by": profile.by,
            "n_pairs": len(profile.depths),
            "n_units": dict(profile.units),
            "differences": list(map(asdict, profile.differences)),
            **kinds,
        }
    )


def sentences(profile: "MistakeProfile") -> list[str]:
    """Whether wrong answers form elsewhere, on how many of each kind, and what that rests on."""
    right, wrong = profile.of("right"), profile.of("wrong")
    counts = f"{counted(len(wrong), 'wrong answer')} and {len(right):,} right"
    if profile.verdict == "too few":
        said = f"Whether wrong answers form at other depths cannot be told: {profile.reason}."
        return [said, *_almost(profile), *_unseen(profile)]
    means = (
        f"at depth {number(float(wrong.mean()))} on average, right ones at "
        f"{number(float(right.mean()))} (difference {profile.gap}, {p_value(profile.p)}, {counts})"
    )
    by = seen_by(profile.by)
    if profile.verdict == "cannot tell":
        text = f"By {by}, wrong answers stand {means}: no difference beyond chance."
    else:
        text = f"By {by}, wrong answers form {profile.verdict} than right ones: {means}."
        if profile.gap.known and profile.low <= 0 <= profile.high:
            text += (
                " The interval over units holds 0: that is said of these words and wordings, and "
                "not of others."
            )
    units = ", ".join(f"{n:,} by {name}" for name, n in profile.units.items())
    at_end = float((wrong == profile.n_layers).float().mean())
    said = [text]
    if at_end > 0.5:
        said.append(
            f"Of the wrong answers {number(100 * at_end)}% stand at depth {profile.n_layers} "
            f"alone, where every answer stands: for these the depth is only a bound."
        )
    said.append(
        f"Chance is right and wrong dealt out anew within units ({units}), since pairs of one unit "
        f"go together; the largest p counts."
    )
    return [*said, *_almost(profile), *_unseen(profile)]


def _almost(profile: "MistakeProfile") -> list[str]:
    """Where wrong answers form beside which the target is the second choice."""
    n, n_wrong = len(profile.of("almost")), len(profile.of("wrong"))
    if not n:
        return []
    said = [_than(one) for one in profile.differences]
    return [
        f"Of {counted(n_wrong, 'wrong answer')} {n:,} "
        f"{'is' if n == 1 else 'are'} almost right, the target being the second choice. "
        f"{' '.join(said)}"
    ]


def _than(one: "Difference") -> str:
    whom = {"right": "right ones", "off": "those further off"}[one.than]
    if one.verdict == "too few":
        return f"Whether these form at other depths than {whom} cannot be told: {one.reason}."
    numbers = f"(difference {one.gap}, {p_value(one.p)})"
    if one.verdict == "cannot tell":
        return f"Beside {whom} there is no difference beyond chance {numbers}."
    return f"They form {one.verdict} than {whom} {numbers}."


def _unseen(profile: "MistakeProfile") -> list[str]:
    n = int(profile.depths.isnan().sum())
    if not n:
        return []
    return [
        f"In {counted(n, 'pair')} of {len(profile.depths):,} both prompts have one and the same "
        f"answer, so that patching shows nothing; these are left out."
    ]
