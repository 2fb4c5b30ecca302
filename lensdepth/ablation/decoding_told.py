"""What can be read off norm and direction: curves over depth, summary and sentences."""

from typing import TYPE_CHECKING

import torch

from lensdepth.tasks.meanings import label_name
from lensdepth.telling.curves import Curve
from lensdepth.telling.depths import before_last
from lensdepth.telling.names import edit_name
from lensdepth.telling.numbers import number
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.ablation.decoded import DecodingProfile

UNITS = {"number": "R²", "class": "balanced accuracy"}
"""Of a label's score, by its kind."""
PERMUTED = "permuted labels, 95 %"


def part_curve(profile: "DecodingProfile", label: str, part: str, *, name: str) -> Curve:
    """How well one label is read off one part."""
    score, low, high = (
        profile.of(quantity, label=label, part=part).numpy()
        for quantity in ("score", "low", "high")
    )
    return Curve.from_interval(
        name,
        score,
        low,
        high,
        key=f"{label}_{part}",
        role="full" if part == "state" else part,
        depths=profile.depths.numpy(),
        unit=UNITS[profile.kinds[profile.labels.index(label)]],
    )


def curves(profile: "DecodingProfile") -> list[Curve]:
    """Score of the norm and of the direction for each label, and where chance ends."""
    found = []
    for label in profile.labels:
        called = label_name(label, profile.provenance.task)
        found += [
            part_curve(profile, label, part, name=f"{called}, {edit_name(part)}")
            for part in ("norm", "direction")
        ]
        null = profile.of("null_high", label=label, part="norm").numpy()
        found.append(
            Curve.from_interval(
                f"{called}, {PERMUTED}",
                null,
                key=f"{label}_null",
                role="control",
                control=True,
                depths=profile.depths.numpy(),
            )
        )
    return found


def summary(profile: "DecodingProfile") -> Json:
    """Score, interval and corrected p-value by label, part and depth."""
    frame = profile.to_frame()
    columns = ("score", "low", "high", "null_mean", "null_high", "p", "p_holm")
    found: Json = {}
    for (label, part), rows in frame.groupby(["label", "part"], sort=False):
        found.setdefault(str(label), {})[str(part)] = to_json(
            {name: rows[name].tolist() for name in columns}
        )
    return {
        "position": profile.position,
        "depths": profile.depths.tolist(),
        "labels": found,
        "skipped": dict(profile.skipped),
    }


def sentences(profile: "DecodingProfile") -> list[str]:
    """What can be read off the norm, against permuted labels, and off the direction."""
    # A direction at depth L gives the prediction by arithmetic.
    at = before_last(profile.depths.tolist(), profile.n_layers)
    p = profile.p_holm[..., at]
    score, null_mean = profile.score[..., at], profile.null_mean[..., at]
    norm = profile.parts.index("norm")
    names = [label_name(label, profile.provenance.task) for label in profile.labels]
    # An interval over prompts that reaches down to chance tells nothing, however labels shuffle.
    p = p.where(profile.low[..., at] > null_mean, 1.0)
    told, untold = [], []
    for i, label in enumerate(names):
        if float(p[i, norm].min()) < 0.05:
            depth = int(torch.where(p[i, norm] < 0.05, score[i, norm], -1e9).argmax())
            told.append(
                f"{_opened(label)}{number(float(score[i, norm, depth]))} against "
                f"{number(float(null_mean[i, norm, depth]))} by chance at depth "
                f"{int(profile.depths[at[depth]])})"
            )
        else:
            untold.append(label)
    said = []
    if told:
        said.append(f"The norm alone tells more than chance of {'; '.join(told)}.")
    direction = p[:, profile.parts.index("direction")]
    nor = [one for one in untold if float(direction[names.index(one)].min()) >= 0.05]
    if nor:
        said.append(
            f"Of {', '.join(nor)} neither the norm nor the direction tells anything that could be "
            f"told from chance."
        )
    if len(untold) > len(nor):
        rest = ", ".join(one for one in untold if one not in nor)
        said.append(
            f"Of {rest} the norm alone tells nothing that could be told from chance at any depth "
            f"(corrected for all parts and depths); the direction does."
        )
    ahead = [
        label
        for i, label in enumerate(names)
        if bool(((p[i, norm] < 0.05) & (profile.difference_low[i, at] > 0)).any())
    ]
    if ahead:
        said.append(f"At some depth the norm tells more than the direction of {', '.join(ahead)}.")
    elif told:
        said.append("Of nothing decoded does the norm clearly tell more than the direction.")
    return said


def _opened(label: str) -> str:
    """A label and an open bracket; one that has a bracket already goes on in it."""
    return f"{label[:-1]}; " if label.endswith(")") else f"{label} ("
