"""Numbers under labels: selecting, changes, fractions and frames against what is done by hand."""

import inspect
import itertools
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import results
import torch
from hypothesis import given
from hypothesis import strategies as st

import lensdepth
from lensdepth import metrics
from lensdepth.ablation import AblationProfile, DoseProfile
from lensdepth.applied.profile import VectorResponse
from lensdepth.circuit import CircuitGraph, CircuitResult
from lensdepth.confidence.profile import ConfidenceProfile
from lensdepth.locality import TransferProfile
from lensdepth.outcome import Effects, axes_in_order, joined, one_of
from lensdepth.patching import PatchProfile, WindowProfile
from lensdepth.patching.profile import MAIN, WHOLE
from lensdepth.steering import SteeringProfile
from lensdepth.storage import load_result, save_result
from lensdepth.subspaces.profile import SubspaceProfile
from lensdepth.telling.depths import depth_columns

COORDS = {"edit": ("full", "norm"), "depth": (0, 2, 5), "position": ("input", "-1")}


@pytest.fixture
def effects() -> Effects:
    """Two metrics of four pairs; each number says where it stands."""
    values = torch.arange(2 * 2 * 4 * 3 * 2, dtype=torch.float32).view(2, 2, 4, 3, 2)
    values[0, 1, 3, 2, 1] = torch.nan
    return Effects(
        metrics=("logit_diff", "kl"),
        coords=COORDS,
        values=values,
        base=torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]),
        source=torch.tensor([[3.0, 4.0, 5.0, 4.0], [1.0, 1.0, 1.0, 1.0]]),
    )


def test_axes_stand_in_one_order(effects: Effects) -> None:
    assert effects.dims == ("metric", "edit", "pair", "depth", "position")
    assert axes_in_order(("scope", "head", "dose")) == ("scope", "dose", "pair", "head")


def test_labels_choose_numbers(effects: Effects) -> None:
    chosen = effects.of("kl", edit="norm", depth=2)
    assert chosen.tolist() == effects.values[1, 1, :, 1].tolist()
    assert effects.of(position="-1").shape == (2, 4, 3)
    fewer = effects.at(position="input")
    assert fewer.dims == ("metric", "edit", "pair", "depth")
    assert fewer.of("kl", edit="full").tolist() == effects.values[1, 0, :, :, 0].tolist()
    with pytest.raises(ValueError, match="edit 'half' was not made; there are full, norm"):
        effects.of(edit="half")
    with pytest.raises(ValueError, match="metric 'js' was not read; there are logit_diff, kl"):
        effects.of("js")
    for ask in (lambda: effects.of(block=3), lambda: effects.index("block", 3)):
        with pytest.raises(ValueError, match=r"no axis 'block' to .*; there are edit, depth, posi"):
            ask()


def test_changes_and_fractions_are_by_pair(effects: Effects) -> None:
    pair = 2
    found = effects.values[0, 0, pair]
    assert effects.change()[0, pair].tolist() == (found - 3.0).tolist()
    assert effects.transferred()[0, pair].tolist() == ((found - 3.0) / 2.0).tolist()
    assert effects.transferred()[:, 3].isnan().all()  # its runs are alike
    assert torch.equal(effects.change("kl"), effects.values[1])


def test_runs_are_asked_by_name(effects: Effects) -> None:
    assert effects.unedited("base", "logit_diff").tolist() == [1.0, 2.0, 3.0, 4.0]
    assert effects.unedited("source", "kl").tolist() == [1.0] * 4


def test_what_moved_is_towards_the_source_over_the_mean_way_by_hand() -> None:
    """Ways of 2, -4 and 0, of 2 in the mean: the second pair moves down, the third has no way."""
    found = Effects(
        metrics=("logit_diff", "kl"),
        coords={"depth": (0, 1)},
        values=torch.tensor([[[3.0, 4.0], [4.0, 7.0], [6.0, 5.0]], [[1.0, 2.0]] * 3]),
        base=torch.tensor([[2.0, 5.0, 5.0], [0.5, 0.5, 0.5]]),
        source=torch.tensor([[4.0, 1.0, 5.0], [0.5, 0.5, 0.5]]),
    )
    assert found.moved().tolist() == [[0.5, 1.0], [0.5, -1.0], [0.0, 0.0]]
    assert found.moved("kl").isnan().all()  # no pair has any


def test_effects_below_the_floor_are_rounding() -> None:
    ways = torch.tensor([0.4, -0.6, 2.0, -4.0, 0.5])
    found = Effects(
        metrics=("logit_diff", "target_logit", "foil_logit", "kl"),
        coords={},
        values=torch.stack([ways / 2, ways / 4, ways / 4, ways]),
        base=torch.zeros(4, 5),
        source=torch.stack([ways, 3 * ways, 3 * ways, 2 * ways]),
        floor=(0.5, 0.25, 0.75, 3.0),
    )
    assert found.has_way.tolist() == [False, True, True, True, False]
    for fraction in (found.transferred(), found.target_gain, found.foil_loss):
        assert fraction.isnan().tolist() == [True, False, False, False, True]
    # What is read beside the main metric has a way of its own.
    assert found.transferred("kl").tolist() == pytest.approx([0.5] * 5)
    asked = ("logit_diff", "target_logit", "kl", "js")
    assert [found.floor_of(name) for name in asked] == [0.5, 0.25, 3.0, 0.0]
    # In fractions of the median way, which is 0.6.
    fractions = [found.floor_of(name) for name in ("transferred", "target_gain", "foil_loss")]
    assert fractions == pytest.approx([0.5 / 0.6, 0.25 / 0.6, 0.75 / 0.6])
    nowhere = replace(found, source=found.base)
    assert [nowhere.floor_of(name) for name in ("transferred", "kl")] == [0.0, 3.0]
    assert [replace(found, floor=()).floor_of(name) for name in asked] == [0.0] * 4
    assert not replace(nowhere, floor=()).has_way.any()
    with pytest.raises(ValueError, match="floor must have a number for each of logit_diff"):
        replace(found, floor=(0.5,))


def test_labels_that_stand_several_times_are_averaged(effects: Effects) -> None:
    doubled = replace(effects, coords=COORDS | {"position": ("input", "input")})
    once = doubled.averaged("position")
    assert once.coords == COORDS | {"position": ("input",)}
    assert torch.equal(
        once.values[..., 0].nan_to_num(-1), effects.values.nanmean(-1).nan_to_num(-1)
    )
    # Of the entry that is NaN the other one is all there is.
    assert once.values[0, 1, 3, 2, 0] == effects.values[0, 1, 3, 2, 0]
    thrice = replace(effects, coords=COORDS | {"depth": (5, 0, 5)}).averaged("depth")
    assert thrice.coords["depth"] == (5, 0)
    assert thrice.of("kl", depth=5).tolist() == effects.values[1, :, :, [0, 2]].mean(2).tolist()
    assert thrice.of("kl", depth=0).tolist() == effects.values[1, :, :, 1].tolist()
    assert effects.averaged("depth") is effects


def test_parts_at_several_depths_are_one_ascending(effects: Effects) -> None:
    low, high = (
        replace(effects, coords=COORDS | {"depth": depths}, floor=floor)
        for depths, floor in (((0, 2, 5), (0.1, 0.4)), ((4, 7, 1), (0.2, 0.3)))
    )
    whole = joined([high, low], "depth")
    assert whole.coords == COORDS | {"depth": (0, 1, 2, 4, 5, 7)}
    assert whole.floor == (0.2, 0.4)
    alone = joined([high], "depth")
    assert alone.coords["depth"] == (1, 4, 7)
    assert torch.equal(alone.of("kl", depth=1), high.of("kl", depth=1))
    for part in (low, high):
        for depth in part.coords["depth"]:
            found, there = whole.of(depth=depth), part.of(depth=depth)
            torch.testing.assert_close(found, there, equal_nan=True, rtol=0, atol=0)


def test_a_frame_has_a_row_a_number(effects: Effects) -> None:
    angle = torch.arange(12.0).view(4, 3)
    frame = effects.to_frame("resid_pre", 5, {"angle": ("pair depth", angle)})
    assert len(frame) == effects.values[0].numel() - 1  # what a pair does not have is no row
    row = frame[
        (frame.edit == "norm") & (frame.pair == 1) & (frame.depth == 5) & (frame.position == "-1")
    ]
    assert row["kl"].item() == effects.values[1, 1, 1, 2, 1]
    assert row["angle"].item() == angle[1, 2]
    assert row["relative_depth"].item() == 1.0
    assert (row["base_logit_diff"].item(), row["source_logit_diff"].item()) == (2.0, 4.0)
    assert row["effect"].item() == row["logit_diff"].item() - 2.0
    assert list(frame) == [
        *("edit", "pair", "depth", "relative_depth", "position"),
        *("base_logit_diff", "source_logit_diff", "logit_diff", "kl"),
        *("effect", "transferred", "angle"),
    ]
    inside = effects.to_frame("attn_out", 6)
    assert set(zip(inside["layer"], inside["depth"], strict=True)) == {(0, 1), (2, 3), (5, 6)}


def test_mean_frames_are_means_of_changes(effects: Effects) -> None:
    frame = effects.mean_frame("mlp_out", 6, units=())
    row = frame[(frame.edit == "full") & (frame.layer == 2) & (frame.position == "input")]
    assert row["effect"].item() == pytest.approx(effects.change()[0, :, 1, 0].mean().item())
    # Three pairs are too few for an interval.
    assert np.isnan([row["low"].item(), row["high"].item()]).all()


@given(st.integers(1, 40), st.sampled_from(("resid_pre", "resid_mid", "resid_post", "z")))
def test_a_depth_is_the_state_behind(n_layers: int, stream: str) -> None:
    places = np.arange(n_layers)
    columns = depth_columns(places, n_layers, stream=stream)
    behind = places if stream == "resid_pre" else places + 1
    assert columns["depth"].tolist() == behind.tolist()
    assert columns["relative_depth"].tolist() == (behind / n_layers).tolist()
    assert ("layer" in columns) == (stream != "resid_pre")


def test_numbers_without_their_labels_are_refused(effects: Effects) -> None:
    with pytest.raises(ValueError, match="values must have the axes metric, edit, pair, depth"):
        Effects(
            metrics=effects.metrics,
            coords=COORDS,
            values=effects.values[:, :, :, :2],
            base=effects.base,
            source=effects.source,
        )


def test_effects_are_saved_whole(effects: Effects, tmp_path: Path) -> None:
    save_result(effects, tmp_path / "e.safetensors")
    again = load_result(Effects, tmp_path / "e.safetensors")
    assert again.coords == COORDS
    torch.testing.assert_close(again.values, effects.values, equal_nan=True)


LOGITS = {
    "base": [0.0, 6.0, 1.0, 1.0, 1.0],
    "source": [7.0, -1.0, 1.0, 1.0, 1.0],
    "foil erased": [0.0, 0.0, 1.0, 1.0, 1.0],
    "target put in": [6.0, 6.0, 1.0, 1.0, 1.0],
    "shifted": [3.0, 3.0, 4.0, 4.0, 4.0],
}
"""Next-token logits of target, foil and three other tokens."""


@pytest.mark.parametrize("intended", ["target", "foil"])
def test_a_fraction_is_what_was_gained_and_what_was_lost(intended: str) -> None:
    """By hand: the foil erased is foil loss alone, and no common shift of the logits counts."""
    target, foil = (torch.tensor([token]) for token in (0, 1))

    def read(run: str) -> list[float]:
        logits = torch.tensor([LOGITS[run]])
        ahead = [metrics.answer_logit(logits, *pair) for pair in ((target, foil), (foil, target))]
        return [float(x) for x in (metrics.logit_diff(logits, target, foil), *ahead)]

    ends = ("base", "source") if intended == "target" else ("source", "base")
    base, source = (torch.tensor(read(run))[:, None] for run in ends)
    runs = ("foil erased", "target put in", "shifted")
    values = torch.tensor([read(run) for run in runs]).T[..., None]
    found = Effects(
        metrics=("logit_diff", "target_logit", "foil_logit"),
        coords={"edit": runs},
        values=values,
        base=base,
        source=source,
        intended=intended,  # type: ignore[arg-type]
    )
    way = 14.0
    if intended == "target":
        assert found.target_gain[:, 0].tolist() == pytest.approx([0.0, 6 / way, 0.0])
        assert found.foil_loss[:, 0].tolist() == pytest.approx([6 / way, 0.0, 6 / way])
    else:  # the source's answer is the foil, which rises from -2 to -1, 5 and -1 above the others
        assert found.target_gain[:, 0].tolist() == pytest.approx([1 / way, 7 / way, 1 / way])
        assert found.foil_loss[:, 0].tolist() == pytest.approx([7 / way, 1 / way, 7 / way])
    torch.testing.assert_close(found.target_gain + found.foil_loss, found.transferred())
    frame = found.to_frame("resid_pre", 5)
    assert (frame.target_gain + frame.foil_loss).tolist() == pytest.approx(
        frame.transferred.tolist()
    )


def test_what_was_not_read_is_not_told(effects: Effects) -> None:
    assert not effects.has_gains
    assert "target_gain" not in effects.to_frame("resid_pre", 5)
    with pytest.raises(ValueError, match="need target_logit and foil_logit beside it"):
        _ = effects.target_gain


DEPTHS, POSITIONS = (0, 1, 2), ("input", "-2")
PROFILES: dict[Any, dict[str, tuple[Any, ...]]] = {
    PatchProfile: {
        "control": (MAIN, "shuffled_source"),
        "depth": DEPTHS,
        "position": POSITIONS,
        "head": (WHOLE,),
    },
    WindowProfile: {"first": DEPTHS, "last": DEPTHS},
    TransferProfile: {"taken": DEPTHS, "inserted": DEPTHS},
    CircuitResult: {"set": ("circuit", "complement", "everything", "random 0")},
    CircuitGraph: {"set": ("EMBED@0", "L0H1@2", "L0H1@2 → LOGIT")},
    AblationProfile: {
        "edit": ("full", "norm"),
        "scope": ("local", "suffix"),
        "depth": DEPTHS,
        "position": POSITIONS,
    },
    DoseProfile: {"dose": (0, 1), "depth": DEPTHS},
    SteeringProfile: {
        "edit": ("full", "random"),
        "scope": ("local", "suffix"),
        "depth": DEPTHS,
        "position": POSITIONS,
    },
    ConfidenceProfile: {"edit": ("norm", "turn"), "factor": (0.5, 2.0), "depth": DEPTHS},
    SubspaceProfile: {
        "basis": ("pca", "random"),
        "dim": (1, 2),
        "depth": DEPTHS,
        "position": POSITIONS,
    },
    VectorResponse: {"edit": ("vector", "turn 1"), "strength": (0.5, 1.0)},
}
"""Every profile that holds effects, with its axes."""


def holding(kind: type, coords: dict[str, tuple[Any, ...]]) -> Any:
    """A profile that has nothing but effects of three pairs, all different."""
    shape = [3 if axis == "pair" else len(coords[axis]) for axis in axes_in_order(coords)]
    numbers = torch.arange(2.0 * np.prod(shape)).view(2, *shape)
    base, source = torch.tensor([[1.0, 2, 3], [0, 0, 0]]), torch.tensor([[3.0, 6, 9], [1, 1, 1]])
    outcome = Effects(
        metrics=("logit_diff", "success"), coords=coords, values=numbers, base=base, source=source
    )
    profile = object.__new__(kind)
    object.__setattr__(profile, "outcome", outcome)
    return profile


def some_labels(coords: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """The last label of each subset of the axes."""
    for n in range(len(coords) + 1):
        for axes in itertools.combinations(coords, n):
            yield {axis: coords[axis][-1] for axis in axes}


def test_every_profile_that_holds_effects_is_asked_here() -> None:
    public = [getattr(lensdepth, name) for name in lensdepth.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and hasattr(kind, "MADE_BY")}
    profiles = filter(is_dataclass, kinds)
    assert {k for k in profiles if any(f.name == "outcome" for f in fields(k))} == set(PROFILES)


@pytest.mark.parametrize("kind", PROFILES, ids=lambda kind: kind.__name__)
def test_every_profile_is_asked_in_one_way(kind: Any) -> None:
    coords = PROFILES[kind]
    profile, outcome = holding(kind, coords), holding(kind, coords).outcome
    first, *_ = list(inspect.signature(kind.of).parameters)[1:]
    assert first == "metric"
    for metric, labels in itertools.product(
        (None, "success", "effect", "transferred"), some_labels(coords)
    ):
        # A patch is the edit itself unless a control is named, and of whole streams without heads.
        own = {"control": MAIN, "head": WHOLE} if kind is PatchProfile else {}
        expected = outcome.of(metric, **(own | labels))
        torch.testing.assert_close(profile.of(metric, **labels), expected)
    by_hand = outcome.values[1]
    for axis in reversed(coords):
        by_hand = by_hand.select(outcome.dims.index(axis) - 1, 0)
    everywhere = dict.fromkeys(coords)
    assert profile.of("success", **everywhere).tolist() == by_hand.tolist()
    for wrong, said in (
        ({"metric": "js"}, "metric 'js' was not read; there are logit_diff, success"),
        ({next(iter(coords)): "nowhere"}, "'nowhere' was not .*; there are"),
        ({"block": 3}, "there is no axis 'block' to choose on; there are"),
    ):
        with pytest.raises(ValueError, match=f"{kind.__name__}: .*{said}"):
            profile.of(**wrong)


@pytest.mark.parametrize("kind", PROFILES, ids=lambda kind: kind.__name__)
def test_every_profile_has_the_fraction_of_what_it_shows(kind: Any) -> None:
    profile, outcome = holding(kind, PROFILES[kind]), holding(kind, PROFILES[kind]).outcome
    pairs_last = outcome.values[0].movedim(outcome.dims.index("pair") - 1, -1)
    # The runs are 1, 2, 3 apart from 3, 6, 9: 2, 4 and 6.
    by_hand = (pairs_last - torch.tensor([1.0, 2, 3])) / torch.tensor([2.0, 4, 6])
    by_hand = by_hand.movedim(-1, outcome.dims.index("pair") - 1)
    if kind is PatchProfile:
        by_hand = by_hand[0, ..., 0]
    elif kind is CircuitResult:
        by_hand = by_hand[:3]
    torch.testing.assert_close(profile.transferred, by_hand)
    with pytest.raises(ValueError, match="need target_logit and foil_logit beside it"):
        _ = profile.target_gain


def test_positions_counted_from_the_end_are_asked_as_numbers_too() -> None:
    profile = holding(PatchProfile, PROFILES[PatchProfile])
    assert torch.equal(profile.of(position=-2), profile.of(position="-2"))


def test_the_old_form_of_asking_gives_the_same_with_a_warning() -> None:
    ablation, steering, decoding = results.ablation(), results.steering(), results.decoding()
    with pytest.warns(DeprecationWarning, match=r"AblationProfile.of: .* in lensdepth 0.3") as said:
        old = ablation.of("norm", ablation.kl)
    assert said[0].filename == __file__
    new = ablation.of("kl", edit="norm", scope="local", position="prediction")
    assert torch.equal(old, new)
    with pytest.warns(DeprecationWarning, match=r"SteeringProfile.of: name what is wanted"):
        old = steering.of(steering.prob, "input", edit="direction")
    new = steering.of("answer_probability", edit="direction", scope="local", position="input")
    assert torch.equal(old, new)
    with pytest.warns(DeprecationWarning, match=r"DecodingProfile.of: name what is wanted"):
        old = decoding.of("beta", "norm", decoding.p)
    assert torch.equal(old, decoding.of("p", label="beta", part="norm"))


def test_numbers_of_several_axes_are_asked_alike(effects: Effects) -> None:
    numbers = {"p": ("pair depth", effects.values[0, 0, :, :, 0]), "n": ("depth", torch.arange(3))}
    coords = {"depth": (0, 2, 5)}
    assert one_of(numbers, coords, owner="X", depth=2).tolist() == [2.0, 8.0, 14.0, 20.0]
    assert one_of(numbers, coords, "n", owner="X").tolist() == [0, 1, 2]
    assert one_of(numbers, coords, "n", owner="X", depth=None).item() == 0
    with pytest.raises(ValueError, match="X: quantity 'q' was not measured; there are p, n"):
        one_of(numbers, coords, "q", owner="X")
    with pytest.raises(ValueError, match=r"X: effect must be one of .*logit_diff, kl, got 'js'"):
        effects.effect("js", owner="X")
    assert effects.effect("kl").tolist() == effects.change("kl").tolist()
