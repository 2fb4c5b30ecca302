"""What the parts of an answer's logit say: summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.outside import visible
from lensdepth.telling.curves import estimate
from lensdepth.telling.numbers import number
from lensdepth.telling.plain import Json, to_json
from lensdepth.tokens import told_apart

if TYPE_CHECKING:
    from lensdepth.circuit.attribution_profile import AttributionProfile


def summary(profile: "AttributionProfile") -> Json:
    """The whole, and each component's mean part with its interval, the largest first."""
    whole = estimate(profile.logit_diff, units=profile.provenance.units)
    parts = profile.mean_frame()[["component", "value", "low", "high"]]
    return to_json(
        {
            "logit_diff": {"mean": whole.value, "low": whole.low, "high": whole.high},
            "against": "mean logit" if profile.foils is None else "foil",
            "targets": list(profile.targets),
            "foils": None if profile.foils is None else list(profile.foils),
            "components": parts.to_dict("records"),
            "largest_residual": float(profile.residual.abs().max()),
        }
    )


def sentences(profile: "AttributionProfile", *, shown: int | None = None) -> list[str]:
    """What all parts add up to, and those that are not shown.

    Args:
        profile: of one prompt or of several.
        shown: how many of the largest parts stand beside the sentence; all by default.
    """
    what = "the mean logit" if profile.foils is None else "logit(foil)"
    answer = "logit(target)"
    if len(profile.targets) == 1:
        names = told_apart([*profile.targets, *(profile.foils or ())])
        answer = f"logit({visible(names[0])})"
        if profile.foils:
            what = f"logit({visible(names[1])})"
    values = profile.mean_frame()["value"]
    whole = number(float(profile.logit_diff.mean()))
    said = f"{answer} − {what} is {whole} nats, the sum of all {len(values)} parts"
    if shown is not None and len(values) > shown:
        rest = float(values.iloc[shown:].sum())
        said += f"; those not shown add {number(rest)}"
    return [f"{said}."]
