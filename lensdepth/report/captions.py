"""One sentence under each figure of a report: what to see in it, computed from the results."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lensdepth.ablation import told as ablated
from lensdepth.ablation.profile import FIRST, AblationProfile
from lensdepth.analyses import analysis
from lensdepth.claims.result import ClaimTable
from lensdepth.geometry import told as shaped
from lensdepth.geometry.profile import GeometryProfile
from lensdepth.lens.profile import LensProfile
from lensdepth.subspaces.parts import NAMES
from lensdepth.tasks.meanings import label_name
from lensdepth.telling.curves import Curve, estimate
from lensdepth.telling.depths import before_last, measured_step
from lensdepth.telling.names import in_unit, part_names
from lensdepth.telling.numbers import change, counted, listed, number, percent
from lensdepth.transition.told import located

if TYPE_CHECKING:
    from lensdepth.report.measured import Measured

NOTHING = "There is nothing to see: no number is defined."


def caption(findings: "Measured", key: str) -> str:
    """What to see in one figure of a report, by the key of its section or exhibit."""
    of: dict[str, Callable[[], str]] = {
        "story": lambda: _story(findings),
        "lens": lambda: _lens(findings.lens),
        "tuned": lambda: _lens(_there(findings.tuned)),
        "tokens": lambda: _tokens(findings.tokens),
        "patch": lambda: _positions(findings, "patch", "_efficacy"),
        "steering": lambda: _positions(findings, "steering", "_full"),
        "locality": lambda: _locality(_there(findings.locality)),
        "ablation": lambda: _parts(_there(findings.ablation)),
        "made_of": lambda: _made_of(_there(findings.ablation)),
        "dose": lambda: _dose(_there(findings.dose)),
        "decoding": lambda: _decoding(_there(findings.decoding)),
        "geometry": lambda: _geometry(_there(findings.geometry)),
        "cka": lambda: _map(_there(findings.geometry).cka),
        "procrustes": lambda: _map(_there(findings.geometry).procrustes),
        "coupling": lambda: _coupling(_there(findings.geometry)),
        "claims": lambda: _claims(_there(findings.claims)),
        "mistakes": lambda: _mistakes(_there(findings.mistakes)),
        "subspaces": lambda: _subspaces(_there(findings.subspaces)),
        "confidence": lambda: _confidence(_there(findings.confidence)),
        "landmarks": lambda: _landmarks(_there(findings.landmarks)),
        "choice": lambda: _choice(_there(findings.choice)),
    }
    return of[key]()


def steepest(curve: Curve, name: str, write: Callable[[float], str] = number) -> str | None:
    """`The contrast rises most between depth 7 and 8, from 0.10 to 0.92`; None of no numbers.

    Args:
        curve: at measured depths.
        name: its subject in the sentence.
        write: how its numbers are written.
    """
    known = np.flatnonzero(~np.isnan(curve.mean))
    if len(known) < 2:
        return None
    at, mean = curve.depths[known], curve.mean[known]
    step = int(np.abs(np.diff(mean)).argmax())
    before, after = write(float(mean[step])), write(float(mean[step + 1]))
    if before == after:
        return f"{name} stays near {before}"
    way = "rises" if mean[step + 1] > mean[step] else "falls"
    where = measured_step((float(at[step]), float(at[step + 1])))
    return f"{name} {way} most {where}, from {before} to {after}"


def _there(result: Any) -> Any:
    assert result is not None
    return result


def _sentence(parts: Sequence[str | None]) -> str:
    said = "; ".join(part for part in parts if part)
    return f"{said[:1].upper()}{said[1:]}." if said else NOTHING


def _story(findings: "Measured") -> str:
    named = (("control passes", findings.crossing), ("the lens switches", findings.transition))
    found = [
        f"{name} at {percent(there[1] / findings.n_layers)} of the depth"
        for name, one in named
        if one is not None and one.verdict in ("crossing", "transition")
        if (there := located(one)) is not None
    ]
    return _sentence(
        [" and ".join(found)] if found else ["there is no strip: no switch is located"]
    )


def _lens(profile: LensProfile) -> str:
    key = profile.located_by
    (curve,) = (one for one in analysis("lens").curves(profile) if one.key == key)
    agree = profile.reading("top1_agreement")[:, 0]
    first = estimate(agree, profile.provenance.units, share=True).value
    return _sentence(
        [
            steepest(curve, curve.name),
            f"the first choice is the final one for {percent(first)} of the prompts at depth 0",
        ]
    )


def _tokens(profile: LensProfile) -> str:
    final = profile.top1_agreement[:, 0, -1] == 1
    wrong = np.flatnonzero(~final.numpy())
    if not len(wrong):
        return "At the last token the first choice is the final one at every depth."
    return f"At the last token the first choice stays the final one from depth {wrong[-1] + 1} on."


def _positions(findings: "Measured", key: str, ending: str) -> str:
    """How both positions' efficacies move, before the last depth, where they end as they must."""
    found = []
    for curve in analysis(key).curves(getattr(findings, key)):
        if curve.key.endswith(ending) and not curve.control:
            at = before_last(curve.depths.tolist(), findings.n_layers)
            whole = Curve.from_interval(
                curve.name, curve.mean[at], role=curve.role, depths=curve.depths[at]
            )
            found.append(steepest(whole, f"at the {curve.name} the share", percent))
    return _sentence(found)


def _locality(profile: Any) -> str:
    local, lost = profile.local.nanmean(0), profile.necessity.nanmean(0)
    if local.isnan().all() or lost.isnan().all():
        return NOTHING
    alone, missed = (int(x.nan_to_num(-torch.inf).argmax()) for x in (local, lost))
    blocks = profile.depths.tolist()
    return (
        f"Block {blocks[alone]} moves most alone ({number(float(local[alone]))}), and most is lost "
        f"without block {blocks[missed]} ({number(float(lost[missed]))})."
    )


def _parts(profile: AblationProfile) -> str:
    if (index := ablated.judged_index(profile)) is None:
        return NOTHING
    said = []
    for edit, name in (
        ("direction", "the direction"),
        ("norm", "the norm"),
        ("random_direction", "a random direction"),
    ):
        if edit in profile.edits:
            value = float(profile.of("transferred", edit=edit, **FIRST)[:, index].nanmean())
            said.append(f"{name} moves {number(value)}")
    return _sentence([f"at depth {int(profile.depths[index])} {', '.join(said)}"])


def _made_of(profile: AblationProfile) -> str:
    if (index := ablated.judged_index(profile)) is None:
        return NOTHING
    said = []
    for edit, name in (("direction", "direction"), ("random_direction", "random direction")):
        if edit in profile.edits:
            one = profile.one(edit, index)
            gain, loss = part_names(one.intended)
            said.append(
                f"the {name} has {gain} {number(float(one.target_gain.nanmean()))} and {loss} "
                f"{number(float(one.foil_loss.nanmean()))}"
            )
    return _sentence([f"at depth {int(profile.depths[index])} {', '.join(said)}"])


def _dose(profile: Any) -> str:
    depths = profile.depths.tolist()
    depth = depths[before_last(depths, profile.n_layers)[-1]]
    said = []
    for part, name in (
        ("direction", "the whole turn moves"),
        ("random_direction", "as large a random one"),
    ):
        if part in profile.parts:
            _, moved = profile.curve(part, profile.transferred, depth)
            said.append(f"{name} {number(float(moved[:, -1].nanmean()))}")
    return _sentence([f"at depth {depth} {', '.join(said)}"] if said else [])


def _decoding(profile: Any) -> str:
    at = before_last(profile.depths.tolist(), profile.n_layers)
    norm = profile.score[:, profile.parts.index("norm")][:, at]
    chance = profile.null_high[:, profile.parts.index("norm")][:, at]
    over = (norm - chance).nan_to_num(-torch.inf)
    label, column = divmod(int(over.argmax()), over.shape[1])
    if not over[label, column].isfinite():
        return NOTHING
    name = label_name(profile.labels[label], profile.provenance.task)
    return (
        f"The norm's score stands highest above the dashed line for {name} at depth "
        f"{int(profile.depths[at[column]])}: {number(float(norm[label, column]))} against "
        f"{number(float(chance[label, column]))}."
        if over[label, column] > 0
        else "The norm's score stands above the dashed line nowhere."
    )


def _geometry(profile: GeometryProfile) -> str:
    last = before_last(range(profile.n_layers + 1), profile.n_layers)[-1]
    norm = [float(profile.norm[depth].nanmean()) for depth in (0, last)]
    said = [f"the mean norm is {number(norm[0])} at depth 0 and {number(norm[1])} at depth {last}"]
    rank = profile.effective_rank[: last + 1]
    if not rank.isnan().all():
        most = int(rank.nan_to_num(-1).argmax())
        said.append(f"the effective rank is highest at depth {most}, {number(float(rank[most]))}")
    return _sentence(said)


def _map(cells: torch.Tensor) -> str:
    """Which neighbours are least alike, depth L left aside."""
    at = before_last(range(len(cells)), len(cells) - 1)
    steps = [float(cells[low, high]) for low, high in pairwise(at)]
    known = [value for value in steps if not np.isnan(value)]
    if not known:
        return NOTHING
    least = steps.index(min(known))
    return (
        f"Of neighbouring depths, the last left aside, {least} and {least + 1} are least alike: "
        f"{number(steps[least])}."
    )


def _coupling(profile: GeometryProfile) -> str:
    if profile.angle_js.isnan().all():
        return NOTHING
    peak = shaped.peak_of(profile.angle_js, profile.n_layers)
    found = shaped.value_at(profile, "angle_js", peak)
    return f"The rank correlation of angle and divergence is largest at depth {peak}: {found}."


def _claims(table: ClaimTable) -> str:
    judged = [one for one in table.findings if one.expect is not None]
    stands = [one.stands for one in judged]
    return (
        f"Of {counted(len(judged), 'statement')} with an aim {stands.count('supported')} lie "
        f"clearly beyond it and {stands.count('contradicted')} clearly short of it, each by itself."
    )


def _mistakes(profile: Any) -> str:
    said = []
    for kind in ("right", "wrong"):
        depths = profile.of(kind)
        if len(depths):
            at = estimate(depths, profile.units_of(kind))
            said.append(f"{kind} answers stand from depth {number(at.value)} on, in the mean")
    return _sentence(said)


def _subspaces(profile: Any) -> str:
    """From the fewest dimensions to the most, at the last depth that is judged."""
    at = before_last(profile.depths.tolist(), profile.n_layers)[-1]
    few, many = (int(profile.dims[i]) for i in (0, -1))
    said = []
    for basis in profile.bases:
        low, high = (
            number(float(profile.moved(basis, dim=k)[:, at].nanmean())) for k in (few, many)
        )
        said.append(f"{NAMES[basis]} move {low} with k = {few} and {high} with k = {many}")
    return _sentence([f"at depth {int(profile.depths[at])} {', '.join(said)}"])


def _confidence(profile: Any) -> str:
    """The factor and depth at which a norm does most, beside the turn of that length."""
    at = before_last(profile.depths.tolist(), profile.n_layers)
    norm, turn = (profile.change("entropy", edit).nanmean(1)[:, at] for edit in ("norm", "turn"))
    if norm.isnan().all():
        return NOTHING
    factor, column = divmod(int(norm.abs().nan_to_num(-1).argmax()), norm.shape[1])
    moved, turned = (change(float(x[factor, column])) for x in (norm, turn))
    return (
        f"A norm changes entropy most at depth {int(profile.depths[at[column]])}, times "
        f"{profile.factors[factor]:g}: by {moved} nats, and a turn of that length by {turned}."
    )


def _landmarks(found: Any) -> str:
    verdicts = [one.verdict for one in found.landmarks]
    placed = [v for v in ("before", "at the same depth", "after") if v in verdicts]
    n = counted(len(verdicts), "landmark")
    if not placed:
        return f"None of {n} is told to lie before, at or after the depth where control passes."
    said = listed([f"{verdicts.count(verdict)} {verdict}" for verdict in placed])
    return f"Of {n} beside the depth where control passes, as far as can be told: {said}."


def _choice(choice: Any) -> str:
    one, most = choice.effect("single", 1), choice.effect("greedy")
    whole = choice.whole.nanmean()
    return (
        f"The best single block moves {number(one.value)}, {choice.n_sites} together "
        f"{number(most.value)}, all {number(float(whole))}{in_unit(choice.metric)}."
    )
