"""What right and wrong answers say of their depths: curves, summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.telling.curves import Curve, mean_curve
from lensdepth.telling.numbers import counted, number, p_value
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.mistakes.profile import MistakeProfile

ROLES = {"right": "prediction", "wrong": "input"}


def seen_by(by: str) -> str:
    """How an answer is seen to stand."""
    return "the logit lens" if by == "lens" else "patching the last token"


def curves(profile: "MistakeProfile") -> list[Curve]:
    """Share of right and of wrong answers that stand by each depth; of kinds that are there."""
    return [
        Curve.of(
            f"{kind} answers",
            profile.settled(kind),
            key=kind,
            role=role,
            units=profile.units_of(kind),
            unit="share",
        )
        for kind, role in ROLES.items()
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
            **kinds,
        }
    )


def sentences(profile: "MistakeProfile") -> list[str]:
    """Whether wrong answers form elsewhere, on how many of each kind, and what that rests on."""
    right, wrong = profile.of("right"), profile.of("wrong")
    counts = f"{counted(len(wrong), 'wrong answer')} and {len(right):,} right"
    if profile.verdict == "too few":
        said = f"Whether wrong answers form at other depths cannot be told: {profile.reason}."
        return [said, *_unseen(profile)]
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
    return [*said, *_unseen(profile)]


def _unseen(profile: "MistakeProfile") -> list[str]:
    n = int(profile.depths.isnan().sum())
    if not n:
        return []
    return [
        f"In {counted(n, 'pair')} of {len(profile.depths):,} both prompts have one and the same "
        f"answer, so that patching shows nothing; these are left out."
    ]
