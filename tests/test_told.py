"""Sentences for planted numbers: they say what the numbers say, and no more."""

import math
import re
from dataclasses import replace

import pytest
import results
import torch

from lensdepth.ablation import AblationProfile
from lensdepth.ablation import told as ablated
from lensdepth.analyses import analysis
from lensdepth.geometry import told as shaped
from lensdepth.report.story import key_numbers, opening
from lensdepth.telling.depths import at_depth, explained, place
from lensdepth.telling.numbers import Interval, counted, number, p_value
from lensdepth.transition import find_crossing, find_steering_crossing, find_transition
from lensdepth.transition import told as switches


def test_numbers_are_written_short_and_without_false_signs() -> None:
    assert number(-0.001) == "0.00"
    assert number(-0.25) == "−0.25"
    assert [number(x) for x in (3.14159, 31.4159, 314.159)] == ["3.14", "31.4", "314"]
    assert str(Interval(value=0.5, low=0.4, high=0.6)) == "0.50 (0.40 to 0.60)"
    assert Interval(value=0.5, low=0.4, high=0.6).percent == "50% (40 to 60%)"
    assert Interval(value=1.0, low=1.0, high=1.0).percent == "100%"
    assert str(Interval(value=0.5, low=math.nan, high=math.nan)) == "0.50"
    assert p_value(0.0002) == "p < 0.001"
    assert p_value(0.0312) == "p = 0.031"
    assert counted(1, "pair") == "1 pair"
    assert counted(1200, "pair") == "1,200 pairs"


def test_depths_are_named_by_the_block_whose_output_they_are() -> None:
    assert explained(0.4, 8) == "the embedding"
    assert explained(4.6, 8) == "after block 4"
    assert explained(8.0, 8) == "after block 7, the last"
    assert at_depth(3, 8) == "depth 3 (after block 2)"
    assert place(4.8, 4.2, 5.1, 10) == (
        "depth 4.80 of 10 (95% interval 4.20 to 5.10), 48% of the way, nearest depth 5 "
        "(after block 4)"
    )


def test_a_crossing_is_placed_with_its_interval() -> None:
    profile = results.patch(4.0)
    crossing = find_crossing(profile, n_resamples=200)
    said = analysis("patch").sentences(profile, crossing)
    assert said[0].startswith("Control passes from the input position to the prediction position")
    assert "95% interval" in said[0]
    assert f"of {results.N_LAYERS}" in said[0]
    assert "at the input position in 100% of the pairs at depth 0 and 0% at depth 7" in said[1]
    assert "Control: another pair's state brings it about in 10%" in said[2]
    assert said[3] == "A run's own state, put back, changes nothing."


def test_curves_that_do_not_cross_are_said_not_to() -> None:
    profile = results.patch(None)
    crossing = find_crossing(profile, n_resamples=200)
    said = switches.patching_verdict(crossing, profile.n_layers)
    assert said == "The two curves do not cross: the prediction position never leads."
    assert not re.search(r"depth \d", said)


def test_a_crossing_that_cannot_be_told_has_no_place() -> None:
    crossing = replace(
        find_crossing(results.patch(4.0), n_resamples=50), verdict="cannot tell", reason="too few"
    )
    said = switches.patching_verdict(crossing, 8)
    assert "cannot be told" in said
    assert "too few" in said
    assert "interval" not in said


def test_the_lens_says_where_or_that_there_is_none() -> None:
    profile = results.lens(5.0)
    found = find_transition(profile, n_resamples=100)
    said = analysis("lens").sentences(profile, found)
    assert said[0].startswith("The divergence of the lens from the final distribution falls around")
    assert "depth 5.0" in said[0]
    assert "depth 5 (after block 4) is the first depth" in said[1]
    flat = results.lens(flat=True)
    none = find_transition(flat, n_resamples=100)
    assert switches.lens_verdict(none, 8).startswith("The lens shows no transition:")
    unsure = replace(found, verdict="cannot tell", reason="too uncertain")
    assert "cannot be told from these prompts: too uncertain" in switches.lens_verdict(unsure, 8)
    assert "No transition of the lens was sought" in switches.lens_verdict(None, 8)


def test_the_order_of_two_switches_is_claimed_only_when_intervals_are_apart() -> None:
    transition = find_transition(results.lens(6.0), n_resamples=100)
    crossing = find_crossing(results.patch(3.0), n_resamples=100)
    assert "The lens follows control by" in (switches.order_verdict(crossing, transition) or "")
    early = replace(transition, location=1.0, location_low=0.9, location_high=1.1)
    assert "The lens precedes control by" in (switches.order_verdict(crossing, early) or "")
    wide = replace(transition, location_low=1.0, location_high=8.0)
    assert "cannot be told" in (switches.order_verdict(crossing, wide) or "")
    assert switches.order_verdict(replace(crossing, verdict="none"), transition) is None
    assert switches.order_verdict(crossing, None) is None


@pytest.mark.parametrize(
    ("direction", "norm", "says"),
    [
        (0.9, 0.1, "the direction moves more, by 0.8"),
        (0.1, 0.9, "the norm moves more, by 0.8"),
        (0.5, 0.5, "which moves more cannot be told"),
    ],
)
def test_the_stronger_part_is_named_only_when_there_is_one(
    direction: float, norm: float, says: str
) -> None:
    profile = results.ablation(direction=direction, norm=norm)
    said = ablated.verdict(profile)
    assert said.startswith("At depth 7 (after block 6),")
    assert says in said


def test_depth_l_is_called_arithmetic_and_controls_are_given() -> None:
    said = " ".join(ablated.sentences(results.ablation()))
    assert (
        "Under the final RMSNorm the norm cannot matter at depth 8: this is arithmetic, not a "
        "finding" in said
    )
    assert "A random direction at the same angle moves 0.4" in said
    assert "beats this control by 0.5" in said
    assert "The norm edit changes the norm by 5% there (median), which is little" in said
    beaten = " ".join(ablated.sentences(results.ablation(direction=0.4, random=0.6)))
    assert "does not beat this control" in beaten


def test_a_state_that_moves_nothing_gives_no_comparison() -> None:
    profile = results.ablation(direction=0.5, norm=0.0)
    still = torch.full_like(profile.outcome.values, -1.0)
    nothing = replace(profile, outcome=replace(profile.outcome, values=still))
    assert "its parts cannot be compared" in ablated.verdict(nothing)


def test_coupling_is_claimed_only_beyond_chance() -> None:
    said = shaped.coupling_verdict(results.geometry())
    assert "have more different predictions" in said
    assert "0.80 (0.75 to 0.85)" in said
    assert "after Holm's correction over 8 depths" in said
    assert "Differences of norm correlate with them by 0.00" in said
    assert "more similar predictions" in shaped.coupling_verdict(results.geometry(rho=-0.8))
    chance = shaped.coupling_verdict(results.geometry(rho=0.1, p=0.03))
    assert chance.startswith("At no depth do angles")
    undefined = results.geometry(rho=float("nan"))
    assert "is not defined here" in shaped.coupling_verdict(undefined)


def test_the_opening_and_key_numbers_follow_what_was_measured() -> None:
    lens, patch, ablation = results.lens(5.0), results.patch(4.0), results.ablation()
    geometry = results.geometry()
    transition = find_transition(lens, n_resamples=100)
    crossing = find_crossing(patch, n_resamples=100)
    steering = find_crossing(results.steering(4.0), n_resamples=100)
    everything = opening(
        model="toy",
        task="toys",
        lens=lens,
        transition=transition,
        patch=patch,
        crossing=crossing,
        steering=steering,
        ablation=ablation,
        geometry=geometry,
    )
    assert len(everything) == 3
    assert "Steering puts it at depth 4.00 of 8" in everything[1]
    assert "on 30 pairs of the task 'toys'" in everything[0]
    assert "most likely answer to 100% of the clean prompts" in everything[0]
    numbers = key_numbers(
        n_layers=8,
        transition=transition,
        crossing=crossing,
        steering=steering,
        ablation=ablation,
        geometry=geometry,
    )
    assert [n.value for n in numbers] == [
        "50% of the depth",
        "50% of the depth",
        "62% of the depth",
        "0.90 · 0.10",
        "0.80",
    ]
    plain = opening(
        model="toy",
        task="toys",
        lens=lens,
        transition=None,
        patch=None,
        crossing=None,
        steering=None,
        ablation=None,
        geometry=None,
    )
    assert "on 30 prompts" in plain[0]
    assert "Control" not in " ".join(plain)
    none = key_numbers(
        n_layers=8,
        transition=replace(transition, verdict="none", reason="flat"),
        crossing=replace(crossing, verdict="cannot tell", reason="few"),
        steering=replace(steering, verdict="none", reason="never"),
        ablation=None,
        geometry=results.geometry(p=0.5),
    )
    assert [n.value for n in none] == ["cannot tell", "none", "none", "cannot tell"]


def test_a_global_edit_says_how_far_it_reaches_and_what_holds_by_construction() -> None:
    def reaching(scope: str) -> AblationProfile:
        made = results.ablation()
        coords = {**made.outcome.coords, "scope": (scope,)}
        return replace(made, outcome=replace(made.outcome, coords=coords))

    profile = reaching("prefix")
    assert ablated.verdict(profile).startswith("Up to depth 7 (after block 6)")
    sustained = " ".join(ablated.sentences(reaching("suffix")))
    assert "From depth 7" in sustained
    assert "follows by construction" in sustained
    assert "follows by construction" not in " ".join(ablated.sentences(profile))


def test_doses_are_said_where_half_is_moved() -> None:
    said = analysis("dose").sentences(results.dose())
    # 0 at no turn, 0.6 at half of it: half of the difference lies at 0.5 / 0.6 of a half.
    assert said[0].startswith("At depth 7 (after block 6), about 42% of the turn")
    assert said[1].startswith("No factor of the norm from 0.5 to 2 changes the prediction")
    flat = analysis("dose").sentences(results.dose(half=99.0))
    assert "no dose of the turn moves half" in flat[0]
    scaled = analysis("dose").sentences(results.dose(norm=0.5))[1]
    assert scaled.startswith("Scaling the norm changes the prediction most at depth 7")
    assert "1.50 nats (KL) with the factor 2" in scaled


def test_what_the_norm_tells_is_said_only_beyond_chance() -> None:
    said = analysis("decoding").sentences(results.decoding())
    assert said[0].startswith("The norm alone tells more than chance of beta (0.60 against 0.25")
    assert "Of nothing decoded does the norm tell more than the direction" in said[1]
    assert analysis("decoding").sentences(results.decoding(p=0.5)) == [
        "Of beta the norm alone tells nothing beyond chance; the direction does."
    ]
    chance = replace(results.decoding(p=0.5), p=torch.full((1, 3, 9), 0.5))
    assert analysis("decoding").sentences(chance) == [
        "Of beta neither the norm nor the direction tells anything beyond chance."
    ]
    ahead = replace(results.decoding(), difference_low=torch.full((1, 9), 0.1))
    assert "tells more than the direction of beta" in analysis("decoding").sentences(ahead)[1]


def test_steering_says_where_the_curves_cross_or_that_they_do_not() -> None:
    profile = results.steering(4.0)
    local = find_steering_crossing(profile, n_resamples=50)
    sustained = find_steering_crossing(profile, scope="suffix", n_resamples=50)
    said = analysis("steering").sentences(profile, local, sustained)
    assert said[0].startswith("Steering passes from input-centric to output-centric at depth 4.00")
    assert "its turn alone in 100%, its change of norm alone in 0%" in said[1]
    assert "a random direction of the same norm in 0%" in said[2]
    assert "there is no clear crossing" in said[3]
    assert "what is added piles up" in said[3]
    assert "over 7 prompts or more each" in said[4]
    assert "5 folds" in said[4]
    few = replace(profile, centroid_sizes=torch.ones_like(profile.centroid_sizes))
    assert "add prompts" in analysis("steering").sentences(few, local, sustained)[4]
    never = results.steering(None)
    nowhere = find_steering_crossing(never, n_resamples=50)
    assert nowhere is not None
    said = switches.steering_verdict(nowhere, never.n_layers)
    assert said == "The two steering curves do not cross: the prediction position never leads."


def test_blocks_are_said_to_work_together_or_again_only_beyond_chance() -> None:
    said = analysis("locality").sentences(results.locality(local=2.0, whole=3.0))
    assert (
        "of all 8 blocks at the last token together moves the logit difference by 3.00 nats"
        in (said[0])
    )
    assert "block 3, reaches 67% of that" in said[0]
    assert "less than the whole, by 0.50 nats: blocks work together (synergy)" in said[0]
    assert "Of block 3's effect of 2.00 nats, 0.50 is what it writes straight" in said[1]
    again = analysis("locality").sentences(results.locality(local=2.0, whole=1.5))[0]
    assert "more than the whole, by 1.00 nats: blocks do the same work again" in again
    even = analysis("locality").sentences(results.locality(local=2.5, whole=3.0))[0]
    assert "add up to the whole as far as can be told" in even
