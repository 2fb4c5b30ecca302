"""How many dimensions carry the prediction: curves over depth, summary and sentences."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lensdepth.subspaces.parts import FULL, MATCHED, NAMES, RANDOM, SHUFFLED, is_control
from lensdepth.subspaces.smallest import SHARE
from lensdepth.telling.curves import Curve, estimate, mean_curve
from lensdepth.telling.depths import at_depth, before_last
from lensdepth.telling.fractions import BESIDE, known_beside, made_of
from lensdepth.telling.names import at_position, moved_name
from lensdepth.telling.numbers import Interval, counted, number, percent
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.subspaces.profile import SubspaceProfile

ROLES = ("entropy", "prediction", "norm", "direction", "input", "lens_zone")
"""Colours of the dimensions, in their order; more of them are dashed."""
NUMBERS = ("k", "k_low", "k_high", "share", "share_low", "share_high")


def whole_curve(profile: "SubspaceProfile", *, position: str | None = None) -> Curve:
    """What the whole state does."""
    return _moved_curve(profile, FULL, None, position, key=FULL, name=NAMES[FULL], role="full")


def dimension_curves(
    profile: "SubspaceProfile", label: str, *, position: str | None = None
) -> list[Curve]:
    """What the subspaces of one basis or control do, a curve a dimension."""
    return [
        _moved_curve(
            profile, label, k, position,
            key=f"{label}_{k}", name=f"k = {k}", role=ROLES[i % len(ROLES)],
            dashed=i >= len(ROLES),
        )
        for i, k in enumerate(profile.dims.tolist())
    ]  # fmt: skip


def needed_curve(profile: "SubspaceProfile", basis: str, *, position: str | None = None) -> Curve:
    """The smallest dimension that does what the whole state does."""
    found = profile.dimensions(basis, position=position)
    return Curve.from_interval(
        f"dimensions needed, {NAMES[basis]}",
        *(found[name].to_numpy(dtype=float) for name in ("k", "k_low", "k_high")),
        role="prediction",
        key=f"{basis}_needed",
        unit="dimensions",
        depths=profile.depths.numpy(),
    )


def _moved_curve(
    profile: "SubspaceProfile",
    label: str,
    k: int | None,
    position: str | None,
    *,
    key: str,
    name: str,
    role: str,
    dashed: bool = False,
) -> Curve:
    return Curve.of(
        name,
        profile.moved(label, dim=k, position=position),
        key=key,
        role=role,
        units=profile.provenance.units,
        depths=profile.depths.numpy(),
        control=is_control(label),
        dashed=dashed,
        unit="of the way",
        floor=profile.outcome.floor_of("transferred"),
    )


def curves(profile: "SubspaceProfile") -> list[Curve]:
    """The whole state, how many dimensions are needed, and what subspaces of each dimension do."""
    found = [whole_curve(profile), *(needed_curve(profile, basis) for basis in profile.bases)]
    for label in profile.outcome.names("basis"):
        if label == FULL + SHUFFLED:
            found.append(
                _moved_curve(profile, label, None, None, key=label, name=NAMES[label], role="full")
            )
        elif label != FULL:
            found += [
                replace(one, name=f"{NAMES[label]}, {one.name}")
                for one in dimension_curves(profile, label)
            ]
    return found


def chief(profile: "SubspaceProfile") -> list[Curve]:
    """What a terminal has room for: no controls."""
    return [one for one in curves(profile) if not one.control]


def summary(profile: "SubspaceProfile", *, position: str | None = None) -> Json:
    """Dimensions needed by depth of each basis, and effects of each by dimension and depth.

    Null where there is none.
    """
    position = profile.positions[0] if position is None else position
    dims, labels = profile.dims.tolist(), profile.outcome.names("basis")

    def needed(basis: str) -> Json:
        found = profile.dimensions(basis, position=position)
        lists = {name: found[name].tolist() for name in ("verdict", *NUMBERS, "labels_matter")}
        return {**lists, "rank": profile.rank[profile.bases.index(basis), :, at].tolist()}

    def effects(name: str) -> Json:
        return {
            label: [
                mean_curve(
                    profile.moved(label, dim=k, position=position)
                    if name == "transferred"
                    else profile.of(name, basis=label, dim=k, position=position)
                )
                for k in dims
            ]
            for label in labels
        }

    at = profile.positions.index(position)
    beside = [name for name in known_beside(profile.outcome) if name in BESIDE]
    return to_json(
        {
            "position": position,
            "depths": profile.depths.tolist(),
            "dims": dims,
            "bases": list(profile.bases),
            "needed": {basis: needed(basis) for basis in profile.bases},
            "least_share": SHARE,
            **{name: effects(name) for name in ("transferred", *beside)},
            "apart": profile.apart,
            "n_fits": profile.n_fits,
            "n_fitted": profile.n_fitted,
            "loss": _by_label(profile.loss, ("das", "das" + SHUFFLED), at),
            "twin": _by_label(profile.twin, labels, at),
            "twin_note": profile.twin_note,
            "mode": profile.mode,
            "self_patch_error": profile.self_patch_error,
        }
    )


def _by_label(values: Any, labels: tuple[str, ...], position: int) -> Json | None:
    if values is None:
        return None
    return {label: values[i, :, :, position].tolist() for i, label in enumerate(labels)}


def sentences(profile: "SubspaceProfile") -> list[str]:
    """By basis how many dimensions it takes, beside its controls; then how it was fitted."""
    said = [text for basis in profile.bases for text in _of_basis(profile, basis)]
    said += _twin(profile)
    values = {"prompts": "prompt", "units": "unit"}.get(profile.apart, f"{profile.apart} value")
    said.append(
        f"Each subspace was fitted to {profile.n_fitted} pairs or more, which share no {values} "
        f"with those that it judges."
    )
    if profile.n_layers in profile.depths.tolist():
        said.append(
            f"Depth {profile.n_layers} is left out: there the state is all that is read, and how "
            f"many dimensions it takes says how many answers there are."
        )
    return said


def _of_basis(profile: "SubspaceProfile", basis: str) -> list[str]:
    found = profile.dimensions(basis).to_dict("records")
    judged = [found[i] for i in before_last(profile.depths.tolist(), profile.n_layers)]
    where = at_position(profile.positions[0])
    if all(row["verdict"] == "too few" for row in judged):
        return [f"{_headed(basis)}: so few units give no interval, so nothing can be told."]
    usable = [row for row in judged if row["verdict"] != "no effect"]
    if not usable:
        return [
            f"{_headed(basis)}: {where} the whole state brings along no more than another pair's "
            f"at any depth before the last, so there is nothing to divide among dimensions."
        ]
    told = [row for row in usable if row["verdict"] in ("reached", "as its control")]
    if not told:
        row = usable[-1]
        least = (
            "no measured dimension does"
            if row["verdict"] == "not reached"
            else "which dimension does cannot be told"
        )
        share = Interval(value=row["share"], low=row["share_low"], high=row["share_high"])
        return [
            f"{_headed(basis)}: at {at_depth(row['depth'], profile.n_layers)} {least} "
            f"{percent(SHARE)} of what the whole state does; "
            f"{counted(int(row['dim']), 'dimension')} do {share.percent}."
        ]
    said = [_at_depth(profile, basis, told[-1])]
    others = [f"{int(row['k'])} at depth {row['depth']}" for row in told[:-1]]
    if others:
        said.append(f"Elsewhere it takes {', '.join(others)}.")
    return said


def _headed(basis: str) -> str:
    name = NAMES[basis]
    return f"{name[:1].upper()}{name[1:]}"


def _at_depth(profile: "SubspaceProfile", basis: str, row: dict[Any, Any]) -> str:
    """The smallest dimension at one depth, beside its controls."""
    k, units = int(row["k"]), profile.provenance.units
    depth = profile.depths.tolist().index(row["depth"])
    full = Interval(value=row["full"], low=row["full_low"], high=row["full_high"])
    share = Interval(value=row["share"], low=row["share_low"], high=row["share_high"])
    rivals = []
    for label in (RANDOM, MATCHED, basis + SHUFFLED):
        if label in profile.controls:
            one = estimate(profile.moved(label, dim=k)[:, depth], units)
            rivals.append(f"{NAMES[label]} {one}")
    one = profile.outcome.at(basis=basis, dim=k, depth=row["depth"], position=profile.positions[0])
    made = made_of(one)
    ends = (row["k_low"], row["k_high"])
    spread = "" if ends == (k, k) else f" ({_end(ends[0])} to {_end(ends[1])})"
    text = (
        f"{_headed(basis)}: at {at_depth(row['depth'], profile.n_layers)} the whole state moves "
        f"{full} of {moved_name(profile.metrics[0])} {at_position(profile.positions[0])}; "
        f"{counted(k, 'dimension')}{spread} do {share.percent} of that"
        f"{f' [{made}]' if made else ''}. Controls of that dimension move {', '.join(rivals)}"
    )
    if row["verdict"] == "as its control":
        text += ": the subspace is told from no random one"
    elif row["labels_matter"] is False:
        text += (
            ": more than at random, and not more than with arbitrary labels as far as can be told"
        )
    return text + "."


def _end(k: float) -> str:
    return "more than were measured" if k != k else f"{k:.0f}"


def _twin(profile: "SubspaceProfile") -> list[str]:
    if profile.twin is None:
        return [profile.twin_note] if profile.twin_note else []
    labels = profile.outcome.names("basis")
    last = before_last(profile.depths.tolist(), profile.n_layers)[-1]
    most = ", ".join(
        f"{NAMES[basis]} {number(float(profile.twin[labels.index(basis), -1, last, 0]))}"
        for basis in (*profile.bases, FULL)
    )
    k = counted(int(profile.dims[-1]), "dimension")
    return [
        f"In an untrained twin, on its own answers, {k} move, of the way, "
        f"at depth {int(profile.depths[last])}: {most}."
    ]
