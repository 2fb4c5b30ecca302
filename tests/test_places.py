"""Is it one relative depth in all models? Planted places both ways, and nulls known by hand."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import results
import torch
from scipy import stats as distributions

from lensdepth import ClaimTable, compare_depths, compare_models, find_crossing, find_transition
from lensdepth.claims import places_told
from lensdepth.claims.models import ModelsTable
from lensdepth.claims.place import Place, place_of
from lensdepth.claims.places import compared, turned_spreads, welch
from lensdepth.stats import permutation_p
from lensdepth.transition.crossing_result import Crossing

LAYERS = (8, 12, 18, 24, 32, 40)


def place(
    depth: float, se: float, n_layers: int = 9, *, n_units: int = 30, step: float = 0.0
) -> Place:
    """One whose units leave so large a standard error."""
    reach = float(distributions.t.ppf(0.975, n_units - 2))
    return Place(
        verdict="crossing", depth=depth, low=depth - reach * se, high=depth + reach * se, step=step,
        start=0.0, end=n_layers - 1.0, n_units=n_units,
    )  # fmt: skip


def asked(
    at: Sequence[float], se: float, twins: Sequence[Sequence[float]] = (), **options: Any
) -> Any:
    """Models of growing depth whose places are these fractions of it."""
    models = {}
    for i, (fraction, n) in enumerate(zip(at, LAYERS, strict=False)):
        own = twins[i] if twins else ()
        theirs = tuple(
            place(x * n, 1.0) if x == x else replace(place(1.0, 1.0), verdict="none") for x in own
        )
        models[f"m{i}"] = (n, place(fraction * n, se * n, n, **options), theirs)
    return compared(models)


def crossing(at: float, n_layers: int, *, spread: float, n: int = 30, seed: int = 0) -> Crossing:
    """Curves of pairs that each hand over at a depth of their own, in one step."""
    own = at + spread * torch.randn(n, generator=torch.Generator().manual_seed(seed))
    later = (torch.arange(n_layers)[None] > own[:, None]).float()
    found = find_crossing(1 - later, later, n_resamples=200)
    known = results.provenance(name=f"toy {n_layers} {seed}")
    info = replace(known.model, n_layers=n_layers, fingerprint=f"{n_layers:08d}{seed:08d}")
    return replace(found, provenance=replace(known, model=info))


def test_a_place_is_the_crossing_s_with_what_was_measured_on_top() -> None:
    found = crossing(5.5, 12, spread=0.0)
    assert found.depth == pytest.approx(5.5)
    one = place_of(found)
    # All pairs alike: no spread of units, and the two measured depths are one apart.
    assert one.se == pytest.approx(1 / np.sqrt(12))
    wide = place_of(crossing(5.5, 12, spread=2.0))
    half = (wide.high - wide.low) / 2 / distributions.t.ppf(0.975, 28)
    assert wide.se == pytest.approx(np.hypot(half, 1 / np.sqrt(12)))
    assert wide.se > 1.05 * one.se


@pytest.mark.parametrize(
    ("at", "se", "verdict"),
    [
        ((0.5, 0.5, 0.5, 0.5, 0.5, 0.5), 0.03, "closer than chance"),
        ((0.2, 0.8, 0.5, 0.35, 0.65, 0.1), 0.02, "different"),
        ((0.70, 0.74, 0.78, 0.72, 0.76, 0.80), 0.004, "closer than chance, yet different"),
        ((0.2, 0.8, 0.5, 0.35, 0.65, 0.1), 0.5, "open"),
        ((0.5, 0.5, 0.5), 0.03, "too few"),
    ],
)
def test_planted_places_have_their_verdicts(at: tuple[float, ...], se: float, verdict: str) -> None:
    found = asked(at, se)
    assert found.verdict == verdict
    assert found.spread == pytest.approx(np.std(at))
    said = " ".join(places_told.sentences(found))
    told = {
        "closer than chance": "closer together than chance, and not different beyond noise",
        "different": "one relative depth in all is contradicted",
        "closer than chance, yet different": "alike, but not one relative depth",
        "open": "neither closer together than chance nor different beyond noise",
        "too few": "3 models have a place, and 4 are needed",
    }
    assert told[verdict] in said


def test_closeness_that_untrained_twins_show_is_not_counted() -> None:
    at = (0.5,) * 6
    alike = asked(at, 0.03, twins=[(0.31, 0.31)] * 6)
    assert alike.twin_share == 1.0
    assert alike.by_architecture
    assert alike.verdict == "open"
    assert "by architecture" in places_told.sentences(alike)[-1]
    apart = asked((0.5, 0.52, 0.5, 0.51, 0.5, 0.49), 0.03, twins=[(x,) for x in (0.1, 0.9) * 3])
    assert apart.twin_share == 0.0
    assert apart.verdict == "closer than chance"
    # Twins in which control passes nowhere are in no place that is alike.
    nowhere = asked(at, 0.03, twins=[(float("nan"), float("nan"))] * 6)
    assert (nowhere.twin_share, nowhere.n_twin_sets) == (0.0, 64)
    # Of five in two of six models: every set has one of them.
    missing = asked(at, 0.03, twins=[(0.3,), (), (0.3,), (0.3,), (0.3,), (0.3,)])
    assert np.isnan(missing.twin_share)
    assert missing.verdict == "closer than chance"
    assert "not known what of their closeness" in places_told.sentences(missing)[-1]


def test_turned_places_are_the_null_that_counting_gives() -> None:
    depths, layers = np.array([2.5, 3.5, 4.25, 1.5]), np.array([5.0, 6.0, 8.0, 4.0])
    gaps = layers - 1
    places = [place(d, 1.0, int(n)) for d, n in zip(depths, layers, strict=True)]
    every = [
        np.std(((depths + move) % gaps) / layers)
        for move in product(*(range(int(gap)) for gap in gaps))
    ]
    observed = float(np.std(depths / layers))
    exact = float(np.mean(np.array(every) <= observed + 1e-12))
    drawn = turned_spreads(places, layers, seed=0)
    assert permutation_p(-observed, -drawn) == pytest.approx(exact, abs=0.015)
    assert np.mean(drawn) == pytest.approx(np.mean(every), abs=0.005)
    # Where only depths 1 to 3 were measured, a place can lie in two ways.
    narrow = [replace(one, start=1.0, end=3.0, depth=1.5) for one in places]
    two = turned_spreads(narrow, np.ones(4), seed=0)
    assert set(two.round(6)) <= {round(float(np.std(x)), 6) for x in product((1.5, 2.5), repeat=4)}


def test_welch_s_test_of_two_is_his_t_test() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, 9), rng.normal(0.8, 3, 14)
    errors = np.array([x.std(ddof=1) / np.sqrt(len(x)) for x in (one, other)])
    ours = welch(np.array([one.mean(), other.mean()]), errors, np.array([9, 14]))
    assert ours == pytest.approx(distributions.ttest_ind(one, other, equal_var=False).pvalue)


def test_each_test_is_wrong_as_seldom_as_it_says() -> None:
    """Places at random are seldom close, and one place in all is seldom called several."""
    rng, n, wrong = np.random.default_rng(0), 200, np.zeros(2)
    layers = np.array(LAYERS[:4])
    for _ in range(n):
        models = {}
        for i, size in enumerate(layers.tolist()):
            at = rng.uniform(0, size - 1)
            models[str(i)] = (size, place(at, 1.0, size), ())
        wrong[0] += compared(models).p_closer < 0.05
        # Fifteen units each, whose own places stray by a tenth of the depth, measured at every
        # other depth: it is known between which two, and taken to be midway.
        for i, size in enumerate(layers.tolist()):
            own = size * (0.5 + 0.1 * rng.normal(size=15))
            at, se = own.mean(), own.std(ddof=1) / np.sqrt(15)
            midway = 2 * (at // 2) + 1
            models[str(i)] = (size, place(midway, se, size, n_units=15, step=2.0), ())
        wrong[1] += compared(models).p_different < 0.05
    # Were it 5 %, more than 9 % would come once in a hundred times.
    assert (wrong / n <= 0.09).all()


def test_crossings_of_several_models_are_compared_and_nonsense_is_refused() -> None:
    found = {f"m{n}": crossing(0.6 * n, n, spread=0.02 * n, seed=i) for i, n in enumerate(LAYERS)}
    nowhere = crossing(11.9, 12, spread=0.0, seed=9)
    assert nowhere.verdict == "none"
    alike = compare_depths(found | {"flat": nowhere})
    assert alike.verdict == "closer than chance"
    assert alike.without == ("flat",)
    frame = alike.to_frame().set_index("model")
    assert frame.relative_depth["m24"] == pytest.approx(found["m24"].depth / 24)
    assert np.isnan(frame.relative_depth["flat"])
    assert "In flat there is no such place" in " ".join(places_told.sentences(alike))
    bare = replace(found["m8"], provenance=None)
    for wrong, says in (
        ({}, "no model with a place"),
        ({"a": bare}, "'a' is of bare curves"),
        ({"a": found["m8"], "b": found["m8"]}, "'a' is there twice"),
    ):
        with pytest.raises(ValueError, match=says):
            compare_depths(wrong)
    lens = find_transition(results.lens(), n_resamples=20)
    one = compare_depths({"toy": lens})
    assert (one.verdict, one.places[0].depth) == ("too few", lens.location)
    assert f"Whether “{lens.name}” switches at one relative depth" in places_told.sentences(one)[0]
    with pytest.raises(ValueError, match=r"places of other kinds: where “.*” switches and control"):
        compare_depths({"toy": lens, "m8": found["m8"]})
    other = replace(found["m8"], provenance=results.provenance(task="others"))
    with pytest.raises(ValueError, match="asked other tasks: toys, others"):
        compare_depths({"a": found["m12"], "b": other})
    with pytest.raises(ValueError, match="twins of 'x', and no such model"):
        compare_depths(found, twins={"x": [nowhere]})


def table(i: int, *, at: float, twins: tuple[Place, ...] = ()) -> ClaimTable:
    """Claims by hand of a model of its own, in which control passes at a fraction of the depth."""
    made = results.claims()
    info = replace(made.provenance.model, name=f"toy {i}", fingerprint=f"{i:016d}")
    here = place(at * info.n_layers, 0.1, step=1.0)
    known = replace(made.provenance, model=info)
    return replace(made, provenance=known, place=here, twin_places=twins)


def test_tables_of_claims_bring_their_places_and_twins(tmp_path: Path) -> None:
    tables = [table(i, at=0.5, twins=(place(2.0, 1.0),)) for i in range(5)]
    tables[0].save(tmp_path / "c.safetensors")
    again = ClaimTable.load(tmp_path / "c.safetensors")
    assert (again.place, again.twin_places) == (tables[0].place, tables[0].twin_places)
    frame = compare_models(tables)
    assert frame.passes_at.unique().tolist() == [0.5]
    found = compare_depths(tables)
    assert found.models == tuple(f"toy {i}" for i in range(5))
    assert found.p_different == pytest.approx(1.0)
    assert (found.twin_share, found.n_twin_sets) == (1.0, 1)
    # A model that stands in the table twice is one model.
    together = ModelsTable(tables=(*tables[:3], tables[0]))
    assert together.depths is not None
    assert len(together.depths.models) == 3
    assert together.depths.verdict == "too few"
    assert ModelsTable(tables=(results.claims(),)).depths is None
    with pytest.raises(ValueError, match="tables bring their twins"):
        compare_depths(tables, twins={})


def test_a_handover_measured_at_some_depths_is_placed_between_them() -> None:
    made = table(0, at=0.5)
    curve = made.handover.clone()
    curve[[2, 3, 5, 7]] = torch.nan
    frame = compare_models([replace(made, handover=curve)])
    known = np.flatnonzero(~curve.isnan().numpy())
    whole = np.interp(np.arange(len(curve)), known, curve.numpy()[known])
    after = int(np.argmax(whole >= (whole[0] + whole[-1]) / 2))
    assert (after - 1) / 8 <= frame.handover_at.iloc[0] <= after / 8
