"""Which depths to take: curves over depth, summary, sentences and the figure."""

from typing import TYPE_CHECKING

from lensdepth.locality.choice_profile import METHODS
from lensdepth.locality.choice_verdicts import member_shares
from lensdepth.telling.curves import Curve, estimate
from lensdepth.telling.names import at_position, has_blocks, in_unit, moved_name, stream_name
from lensdepth.telling.numbers import Interval, counted, listed
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.locality.choice_profile import DepthChoice

NAMES = {
    "greedy": "chosen greedily", "shapley": "largest Shapley values",
    "single": "strongest alone",
}  # fmt: skip


def curves(choice: "DepthChoice") -> list[Curve]:
    """What each place does alone, what is lost without it, how often each method takes it."""
    units, depths = choice.provenance.units, choice.depths.numpy() + has_blocks(choice.stream)
    lost = choice.whole[:, None] - choice.without
    found = [
        Curve.of(name, values, key=key, role=role, units=units, depths=depths, floor=choice.floor)
        for key, name, values, role in (
            ("alone", "effect alone", choice.alone, "prediction"),
            ("lost", "lost when left out", lost, "input"),
        )
    ]
    return found + [
        Curve.from_interval(
            f"taken, {NAMES[method]}",
            choice.frequency[m].numpy(),
            role=role,
            key=f"taken_{method}",
            unit="share of pairs",
            depths=depths,
        )
        for m, (method, role) in enumerate(
            zip(METHODS, ("direction", "entropy", "norm"), strict=True)
        )
    ]


def summary(choice: "DepthChoice") -> Json:
    """The sets and what they do, the verdicts, and what may be redundant.

    Depths are depths, also where what is edited are blocks; these have their numbers beside them.
    """
    units, blocks = choice.provenance.units, has_blocks(choice.stream)
    group = choice.group.tolist()
    found: Json = {
        "n_sites": choice.n_sites,
        "candidates": (choice.depths + blocks).tolist(),
        "chosen": {
            method: (choice.chosen[m] + blocks).tolist() for m, method in enumerate(METHODS)
        },
        "effects": {
            method: [choice.effect(method, size) for size in choice.sizes] for method in METHODS
        },
        "optimism": {
            method: [choice.optimism(method, size) for size in choice.sizes] for method in METHODS
        },
        "random": [estimate(row, units, floor=choice.floor) for row in choice.random],
        "shuffled": [estimate(row, units, floor=choice.floor) for row in choice.shuffled],
        "whole": estimate(choice.whole, units, floor=choice.floor),
        "verdict": choice.verdict(),
        "lead": choice.lead("single", of_size=1),
        "lead_over_shapley": choice.lead("shapley"),
        "lead_over_strongest": choice.lead("single"),
        "redundancy": choice.redundancy(),
        "group": [place + blocks for place in group],
        "group_whole": estimate(choice.group_whole, units) if len(group) > 1 else None,
        "group_alone": [alone for alone, _ in member_shares(choice)] if len(group) > 1 else [],
        "group_lost": [lost for _, lost in member_shares(choice)] if len(group) > 1 else [],
        "frequency": {method: choice.frequency[m].tolist() for m, method in enumerate(METHODS)},
        "apart": choice.apart,
        "n_fits": choice.n_fits,
        "n_fitted": choice.n_fitted,
        "mode": choice.mode,
    }
    if blocks:
        found["layers"] = choice.depths.tolist()
        found["chosen_layers"] = {
            method: choice.chosen[m].tolist() for m, method in enumerate(METHODS)
        }
    return to_json(found)


def sentences(choice: "DepthChoice") -> list[str]:
    """What the set does beside one site and other choices, and which sites are redundant."""
    unit, n = in_unit(choice.metric), choice.n_sites
    whole = estimate(choice.whole, choice.provenance.units, floor=choice.floor)
    first, best = choice.effect("greedy"), choice.effect("single", 1)
    said = [
        f"Of {counted(len(choice.depths), _place(choice))} ({stream_name(choice.stream)} "
        f"{at_position(choice.position)}) greedy choice takes {_listed(choice, 0)}. On pairs that "
        f"they were not chosen on, sets of {n} move {moved_name(choice.metric)} by {first}{unit} "
        f"towards the source, the best single {_place(choice)} ({int(choice.chosen[2, 0])}) by "
        f"{best}{unit}, all of them by {whole}{unit}{_verdict(choice)}.{_steps(choice)}"
    ]
    said += _others(choice)
    said.append(
        f"Judged on the pairs that they were chosen on, they would seem to do {_optimism(choice)} "
        f"more; each choice was made on {choice.n_fitted} pairs or more."
    )
    said.append(redundancy_sentence(choice))
    if choice.edit == "full" and choice.stream in ("resid_pre", "resid_post", "resid_mid"):
        said.append(
            "Whole residual states overwrite one another, so that a set is as good as its last "
            "depth: by construction."
        )
    return said


def redundancy_sentence(choice: "DepthChoice") -> str:
    """Which places do the same work again, if any do."""
    found, unit = choice.redundancy(), in_unit(choice.metric)
    places = f"{_place(choice)}s"
    if found == "none":
        return (
            f"No two {places} each do half of what all do together, in every choice: none is "
            f"redundant in that sense."
        )
    named = f"{places} {listed(choice.group.tolist())}"
    if found == "too few":
        return f"Of {named} each does half alone; so few units give no interval."
    shares = member_shares(choice)
    least = min((alone for alone, _ in shares), key=lambda one: one.value)
    most = max((lost for _, lost in shares), key=lambda one: one.value)
    together = estimate(choice.group_whole, choice.provenance.units, floor=choice.floor)
    numbers = (
        f"each alone moves at least {least.percent} of what they move together ({together}{unit}), "
        f"and without any one of them at most {most.percent} of that is lost"
    )
    if found == "redundant":
        return f"{named[0].upper()}{named[1:]} are redundant: {numbers}."
    if found == "not redundant":
        return f"{named[0].upper()}{named[1:]} are not redundant: {numbers}."
    return f"Whether {named} are redundant cannot be told: {numbers}."


def _verdict(choice: "DepthChoice") -> str:
    lead = choice.lead("single", of_size=1)
    return {
        "more": f": several do more than one, by {lead}",
        "no more": f": one does as much (difference {lead})",
        "cannot tell": f": whether several do more than one cannot be told (difference {lead})",
        "too few": "; so few units give no interval",
    }[choice.verdict()]


def _steps(choice: "DepthChoice") -> str:
    """What each further site adds to the greedy sets."""
    units = choice.provenance.units
    gains = choice.held_out[0].diff(dim=0)
    if not len(gains):
        return ""
    added = [str(estimate(gain, units, floor=choice.floor)) for gain in gains]
    return f" Each further one adds {', then '.join(added)}."


def _others(choice: "DepthChoice") -> list[str]:
    """Other ways to choose, where they choose other sets; and the controls."""
    said, units = [], choice.provenance.units
    for m, method in enumerate(METHODS[1:], start=1):
        what = "The largest Shapley values" if method == "shapley" else "The strongest alone"
        same = {*choice.chosen[0].tolist()} == {*choice.chosen[m].tolist()}
        if same:
            said.append(f"{what} are the same {choice.n_sites}.")
            continue
        said.append(
            f"{what} are {_listed(choice, m)}: {choice.effect(method)}, against which the greedy "
            f"ones lead by {choice.lead(method)}."
        )
    random = estimate(choice.random[-1], units, floor=choice.floor)
    other = estimate(choice.shuffled[-1], units, floor=choice.floor)
    said.append(
        f"Random sets of {choice.n_sites} move it by {random}, the greedy ones with another "
        f"pair's source by {other}."
    )
    return [" ".join(said)]


def _optimism(choice: "DepthChoice") -> str:
    found = choice.optimism("greedy")
    return f"{found}{in_unit(choice.metric)}"


def _place(choice: "DepthChoice") -> str:
    return "block" if has_blocks(choice.stream) else "depth"


def _listed(choice: "DepthChoice", method: int) -> str:
    places = choice.chosen[method].tolist()
    word = _place(choice) + ("" if len(places) == 1 else "s")
    return f"{word} {listed(places)}"


def bars(choice: "DepthChoice") -> "Figure":
    """See `DepthChoice.plot`."""
    from lensdepth.intervals import interval_figure
    from lensdepth.telling.names import metric_words

    units, floor = choice.provenance.units, choice.floor
    rows: dict[str, Interval] = {}
    for m, method in enumerate(METHODS):
        for size in choice.sizes:
            places = listed(choice.chosen[m, :size].tolist())
            rows[f"{NAMES[method]}, {size}: {places}"] = choice.effect(method, size)
    for size, row in zip(choice.sizes, choice.random, strict=True):
        rows[f"random sets of {size}"] = estimate(row, units, floor=floor)
    rows[f"another pair's source, {choice.n_sites}"] = estimate(
        choice.shuffled[-1], units, floor=floor
    )
    rows["all"] = estimate(choice.whole, units, floor=floor)
    where = f"{stream_name(choice.stream)}, {at_position(choice.position)}"
    return interval_figure(
        rows,
        title=f"Which {_place(choice)}s to take: {where}",
        x_title=f"{metric_words(choice.metric).name} towards the source, on pairs that did not "
        f"choose",
    )
