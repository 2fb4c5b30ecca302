"""Sentences for planted numbers: they say what the numbers say, and no more."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import results
import torch

from lensdepth.ablation import AblationProfile
from lensdepth.ablation import told as ablated
from lensdepth.analyses import analysis
from lensdepth.claims import told as claimed
from lensdepth.claims.architecture import Beside
from lensdepth.geometry import told as shaped
from lensdepth.lens.told import on_right
from lensdepth.outcome import Effects
from lensdepth.plotting import depth_figure, layout_of
from lensdepth.report.story import key_numbers, opening
from lensdepth.telling.curves import estimate
from lensdepth.telling.depths import at_depth, explained, place
from lensdepth.telling.numbers import Interval, below, counted, number, p_value
from lensdepth.telling.plain import to_json
from lensdepth.transition import (
    Crossing,
    Transition,
    compare_order,
    find_crossing,
    find_steering_crossing,
    find_transition,
)
from lensdepth.transition import told as switches
from lensdepth.units import Grouping


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
    assert place(4.8, 4.2, 5.1, (4.0, 5.0), 10) == (
        "between depth 4 and 5 of 10, 48% of the way, nearest depth 5 (after block 4) "
        "(interpolated 4.80, 95% interval 4.20 to 5.10, which reaches beyond these two depths)"
    )
    assert place(4.5, 4.5, 4.5, (4.0, 5.0), 10) == (
        "between depth 4 and 5 of 10, 45% of the way, nearest depth 4 (after block 3) "
        "(interpolated 4.50, resampling the units does not move it)"
    )


def test_a_crossing_is_placed_with_its_interval() -> None:
    profile = results.patch(4.0)
    crossing = find_crossing(profile, n_resamples=200)
    said = analysis("patch").sentences(profile, crossing)
    assert said[0].startswith("Control passes from the input position to the prediction position")
    assert "resampling the units does not move it" in said[0]
    assert f"of {results.N_LAYERS}" in said[0]
    assert (
        "at the input position in 100% (88 to 100%) of the pairs at depth 0 and 0% (0 to 12%) at "
        "depth 7" in said[1]
    )
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
    assert said[0].startswith(
        "The divergence of the lens from the final distribution falls between depth"
    )
    assert "interpolated 5.0" in said[0]
    assert "depth 5 (after block 4) is the first depth" in said[1]
    flat = results.lens(flat=True)
    none = find_transition(flat, n_resamples=100)
    assert switches.lens_verdict(none, 8).startswith("The lens shows no transition:")
    unsure = replace(found, verdict="cannot tell", reason="too uncertain")
    assert "cannot be told from these prompts: too uncertain" in switches.lens_verdict(unsure, 8)
    assert "No transition of the lens was sought" in switches.lens_verdict(None, 8)


def test_the_order_of_two_switches_is_claimed_pair_by_pair() -> None:
    late, early = (find_transition(results.lens(at), n_resamples=100) for at in (6.0, 2.0))
    crossing = find_crossing(results.patch(4.0), n_resamples=100)
    assert "the lens follows control" in (order_of(crossing, late) or "")
    assert "the lens precedes control" in (order_of(crossing, early) or "")
    assert "cannot be told" in (switches.order_verdict(compare_order(late, late)) or "")
    assert switches.order_verdict(None) is None


def order_of(crossing: Crossing, transition: Transition) -> str | None:
    return switches.order_verdict(compare_order(crossing, transition))


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


def test_twins_that_would_pass_too_often_are_not_said_to_pass() -> None:
    table = results.claims()
    first = replace(
        table.findings[0], twin=Beside(n=5, values=(-0.14, 0.12, 0.17), by_architecture=True)
    )
    table = replace(table, findings=(first, *table.findings[1:]), n_twins=5)
    (line,) = [one for one in claimed.by_architecture(table) if one.startswith("By arch")]
    assert "since of 5 untrained twins of the model" in line
    assert f"one passes, or more than one in twenty would: {first.key}" in line


def test_a_share_has_one_interval_in_table_and_sentence() -> None:
    """At depth 0 all pairs succeed: how they go together is learned from the depths beside it."""
    profile = results.steering(4.0)
    n = len(profile.provenance.prompts)
    words = Grouping(name="word", values=tuple(str(i % 6) for i in range(n)))
    profile = replace(profile, provenance=replace(profile.provenance, units=(words,)))
    efficacy = profile.efficacy("input")
    alone = estimate(efficacy[:, 0], (words,), share=True)
    (curve, *_) = analysis("steering").curves(profile)
    assert curve.intervals[0].low > alone.low + 0.02
    said = " ".join(analysis("steering").sentences(profile))
    assert f"(depth 0) the whole difference works in {curve.intervals[0].percent} of the" in said


def test_a_state_that_moves_nothing_gives_no_comparison() -> None:
    profile = results.ablation(direction=0.5, norm=0.0)
    still = torch.full_like(profile.outcome.values, -1.0)
    nothing = replace(profile, outcome=replace(profile.outcome, values=still))
    assert "its parts cannot be compared" in ablated.verdict(nothing)


def test_coupling_is_claimed_only_beyond_chance() -> None:
    said = shaped.coupling_verdict(results.geometry())
    assert "have more different predictions" in said
    assert "0.80 (0.75 to 0.85)" in said
    assert "after Holm's correction over 7 depths" in said
    assert "Differences of norm correlate with them by 0.00" in said
    assert "more similar predictions" in shaped.coupling_verdict(results.geometry(rho=-0.8))
    chance = shaped.coupling_verdict(results.geometry(rho=0.1, p=0.03))
    assert chance.startswith("At no depth do angles")
    # p below 0.05 after correction, and yet no correlation is told: the sentence says why.
    small = shaped.coupling_verdict(results.geometry(rho=0.03, p=0.001))
    assert small.startswith("At no depth do angles")
    assert "by which alone it would be beyond chance" in small
    assert "and the interval over units holds 0" in small
    assert "by which alone" not in chance
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
        order=None,
        steering=steering,
        ablation=ablation,
        geometry=geometry,
    )
    assert len(everything) == 3
    assert "Steering puts it between depth 3 and 4" in everything[1]
    assert "on 30 pairs of the task 'toys'" in everything[0]
    assert "most likely answer to 100% (88 to 100%) of the clean prompts" in everything[0]
    kept = replace(lens, provenance=replace(lens.provenance, pairs={"keep": "correct"}))
    assert on_right(kept) == "100% of the clean prompts (pairs were kept for that)"
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
        order=None,
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
    assert "Of nothing decoded does the norm clearly tell more than the direction" in said[1]
    assert analysis("decoding").sentences(results.decoding(p=0.5)) == [
        "Of beta the norm alone tells nothing that could be told from chance at any depth "
        "(corrected for all parts and depths); the direction does."
    ]
    chance = replace(results.decoding(p=0.5), p=torch.full((1, 3, 9), 0.5))
    assert analysis("decoding").sentences(chance) == [
        "Of beta neither the norm nor the direction tells anything that could be told from chance."
    ]
    ahead = replace(results.decoding(), difference_low=torch.full((1, 9), 0.1))
    assert "tells more than the direction of beta" in analysis("decoding").sentences(ahead)[1]


def test_steering_says_where_the_curves_cross_or_that_they_do_not() -> None:
    profile = results.steering(4.0)
    local = find_steering_crossing(profile, n_resamples=50)
    sustained = find_steering_crossing(profile, scope="suffix", n_resamples=50)
    said = analysis("steering").sentences(profile, local, sustained)
    assert said[0].startswith(
        "Steering passes from input-centric to output-centric between depth 3 and 4"
    )
    assert (
        "its turn alone in 100% (88 to 100%), its change of norm alone in 0% (0 to 12%)" in said[1]
    )
    assert "a random direction of the same norm in 0%" in said[2]
    assert "there is no clear crossing" in said[3]
    assert "what is added piles up" in said[3]
    assert "over 7 prompts or more each" in said[4]
    assert "5 folds" in said[4]
    assert sustained is not None
    alone = replace(sustained, verdict="too few", reason="3 units; from 5 on there is a verdict")
    assert (
        analysis("steering")
        .sentences(profile, local, alone)[3]
        .startswith("Whether they cross when sustained cannot be told from so few: 3 units")
    )
    few = replace(profile, centroid_sizes=torch.ones_like(profile.centroid_sizes))
    assert "add prompts" in analysis("steering").sentences(few, local, sustained)[4]
    never = results.steering(None)
    nowhere = find_steering_crossing(never, n_resamples=50)
    assert nowhere is not None
    said = switches.steering_verdict(nowhere, never.n_layers)
    assert said == "The two steering curves do not cross: the prediction position never leads."


def test_geometry_says_nothing_of_depth_l() -> None:
    profile = results.geometry()
    for said in (analysis("geometry").sentences(profile), [shaped.coupling_verdict(profile)]):
        assert f"depth {profile.n_layers}" not in " ".join(said)
        assert f"Block {profile.n_layers - 1} " not in " ".join(said)
    # What is measured at depth L moves no sentence.
    for name in ("value", "low", "high", "p"):
        getattr(profile, name)[:, -1] = 0.9
    profile.norm[-1] *= 100
    profile.step_angle[-1] = 3.0
    assert analysis("geometry").sentences(profile) == analysis("geometry").sentences(
        results.geometry()
    )


def test_blocks_are_said_to_work_together_or_again_only_beyond_chance() -> None:
    said = analysis("locality").sentences(results.locality(local=2.0, whole=3.0))
    assert (
        "of all 8 blocks at the last token together moves the logit difference by 3.00 nats"
        in (said[0])
    )
    assert "block 3, reaches 67% of that" in said[0]
    assert "less than the whole, by 0.50 nats, 17% of it: together they do more" in said[0]
    assert "Of block 3's effect of 2.00 nats, 0.50 is what it writes straight" in said[1]
    again = analysis("locality").sentences(results.locality(local=2.0, whole=1.5))[0]
    assert "more than the whole, by 1.00 nats, 67% of it: some of what they do one by one" in again
    even = analysis("locality").sentences(results.locality(local=2.5, whole=3.0))[0]
    assert "add up to the whole as far as can be told" in even
    nothing = analysis("locality").sentences(results.locality(local=2.0, whole=0.0))[0]
    assert "more than the whole, by 2.50 nats: some of what they do one by one" in nothing
    likelier = replace(results.locality(), metric="answer_probability")
    said = analysis("locality").sentences(likelier)
    assert "moves the answer's probability by 3.00 (all" in said[0]
    assert "effect of 2.00 nats on the logit difference, 0.50 is what" in said[1]


def test_what_moves_is_the_metric_that_was_read() -> None:
    def named(outcome: Effects) -> Effects:
        return replace(outcome, metrics=("answer_probability", *outcome.metrics[1:]))

    swapped, turned = results.ablation(), results.dose()
    for profile in (swapped, turned):
        plain = replace(profile, outcome=named(profile.outcome))
        for one, what in ((profile, "the logit difference"), (plain, "the answer's probability")):
            said = analysis("ablation" if profile is swapped else "dose").sentences(one)
            assert what in said[0]
            assert what == "the logit difference" or "logit difference" not in " ".join(said)


def _at_last(outcome: Effects, value: float) -> Effects:
    """The same with every number at depth L replaced."""
    values = outcome.values.clone()
    axis = outcome.dims.index("depth")
    values.movedim(axis, -1)[..., -1] = value
    return replace(outcome, values=values)


@pytest.mark.parametrize("value", [-50.0, 50.0])
@pytest.mark.parametrize("key", ["patch", "ablation", "dose", "steering"])
def test_depth_l_decides_no_sentence_of_a_sweep(key: str, value: float) -> None:
    """Whatever stands at depth L, an identity or not, the sentences are the same; what they say of
    depth L itself, that it is arithmetic, aside."""
    profile = {
        "patch": results.patch, "ablation": results.ablation, "dose": results.dose,
        "steering": results.steering,
    }[key]()  # fmt: skip
    other = replace(profile, outcome=_at_last(profile.outcome, value))
    said, again = (
        [s for s in analysis(key).sentences(p) if "arithmetic" not in s] for p in (profile, other)
    )
    assert said == again
    assert said
    last = profile.n_layers
    assert not [s for s in said if re.search(rf"\bdepth {last}\b(?! of)", s)]
    if key == "ablation":
        free = replace(profile.provenance.model, normalization="none")
        assert isinstance(profile, AblationProfile)
        loose = replace(profile, provenance=replace(profile.provenance, model=free))
        assert loose.identity_depth() is None
        assert ablated.verdict(loose) == ablated.verdict(profile)


@pytest.mark.parametrize("rho", [-1.0, 0.99])
def test_depth_l_decides_no_correlation_and_no_reading(rho: float) -> None:
    geometry, decoding = results.geometry(), results.decoding()
    value = geometry.value.clone()
    value[:, -1] = rho
    numbers = [
        key_numbers(
            n_layers=8, transition=None, crossing=None, steering=None, ablation=None, geometry=g
        )
        for g in (geometry, replace(geometry, value=value))
    ]
    assert numbers[0] == numbers[1]
    assert shaped.coupling_verdict(replace(geometry, value=value)) == shaped.coupling_verdict(
        geometry
    )
    score, ahead = decoding.score.clone(), decoding.difference_low.clone()
    score[..., -1], ahead[:, -1] = 9.0, 1.0
    other = replace(decoding, score=score, difference_low=ahead)
    assert analysis("decoding").sentences(other) == analysis("decoding").sentences(decoding)


def test_the_best_single_place_is_never_depth_l() -> None:
    made = results.locality()
    local = torch.zeros(results.N, 9)
    local[:, 3], local[:, 8] = 1.0, 2.0
    whole = replace(
        made, stream="resid_pre", depths=torch.arange(9), local=local,
        without=local, direct=None, total=None, total_at_base_scale=None,
    )  # fmt: skip
    assert whole.best_depth == 3
    assert whole.sufficiency().value == pytest.approx(1 / 3)
    assert "depth 8 is among them, whose state is what is read" in whole.describe()
    said = analysis("locality").sentences(whole)[0]
    assert "Depth 8 is among them, whose state is what is read" in said
    assert "redundancy" not in said
    assert not replace(made, stream="mlp_out").holds_last_state


def with_halves(*, gain: float, loss: float, random: tuple[float, float]) -> AblationProfile:
    """An ablation in which each edit's change is told apart into gain and loss, in shares."""
    made = results.ablation(direction=gain + loss, random=sum(random))
    found = made.outcome
    shares = {"direction": (gain, loss), "random_direction": random}
    target, foil = found.values[0].clone(), found.values[0].clone()
    for i, edit in enumerate(found.names("edit")):
        total = (found.values[0, i] + 1) / 2
        mine = shares.get(edit, (0.5, 0.5))
        part = mine[0] / sum(mine) if sum(mine) else 0.5
        target[i], foil[i] = 2 * total * part, -2 * total * (1 - part)
    ends = torch.stack([torch.zeros(results.N)] * 2)
    return replace(
        made,
        outcome=replace(
            found,
            metrics=(*found.metrics, "target_logit", "foil_logit"),
            values=torch.cat([found.values, torch.stack([target, foil])]),
            base=torch.cat([found.base, ends]),
            source=torch.cat([found.source, ends]),
        ),
    )


def test_an_erased_foil_is_no_answer_brought_along() -> None:
    profile = with_halves(gain=0.5, loss=0.4, random=(0.05, 0.4))
    torch.testing.assert_close(
        profile.target_gain + profile.foil_loss, profile.transferred, atol=1e-5, rtol=1e-5
    )
    said = " ".join(analysis("ablation").sentences(profile))
    assert "replacing only the direction moves 0.90" in said
    assert "[target gain 0.50, foil loss 0.40, success 100%]" in said
    assert "A random direction at the same angle moves 0.45" in said
    assert "[target gain 0.05, foil loss 0.40" in said
    assert "most of it foil loss: the base's answer falls by more than the other rises" in said
    assert "leads by 0.45" in said
    put_in = " ".join(analysis("ablation").sentences(with_halves(gain=0.4, loss=0.1,
                                                                 random=(0.3, 0.1))))  # fmt: skip
    assert "most of it foil loss" not in put_in
    detail = key_numbers(
        n_layers=8, transition=None, crossing=None, steering=None, ablation=profile, geometry=None
    )[0].detail
    assert "a random direction moves 0.45 (target gain 0.05, foil loss 0.40)" in detail
    summary = analysis("ablation").summary(profile)
    for edit, moved in summary["transferred"].items():
        parts = zip(summary["target_gain"][edit], summary["foil_loss"][edit], strict=True)
        assert [sum(both) for both in parts] == pytest.approx(moved, abs=1e-5)
    keys = {curve.key for curve in analysis("ablation").curves(profile)}
    assert {"direction_target_gain", "random_direction_foil_loss", "norm_success"} <= keys


@pytest.mark.parametrize("to", ["mean", "shuffled", "random"])
def test_what_is_not_the_sources_draws_nothing_from_the_way_to_it(to: str) -> None:
    profile = replace(with_halves(gain=0.5, loss=0.4, random=(0.1, 0.1)), to=to)  # type: ignore[arg-type]
    said = " ".join(analysis("ablation").sentences(profile))
    assert "of the logit difference [" not in said
    assert "moves more" not in said
    assert "says nothing of what a part carries" in said
    assert "of the predictions (KL" in said


def test_pairs_that_were_left_out_stand_beside_the_numbers() -> None:
    def kept(**pairs: Any) -> list[str]:
        profile = results.patch()
        whole = {"drawn": 40, "used": 30, "multi_token": 0, "wrong": 0, **pairs}
        return analysis("patch").sentences(
            replace(profile, provenance=replace(profile.provenance, pairs=whole))
        )

    assert kept(keep="correct", wrong=10)[-1] == (
        "On 30 of 40 pairs; left out: 10 answered wrongly. Success is first choice: no token is "
        "likelier than the source's answer."
    )
    assert kept(keep="preferred", unkept=10)[-1].startswith(
        "On 30 of 40 pairs; left out: 10 not answered preferably. Success is preference"
    )
    assert "10 answered rightly" in kept(keep="wrong", unkept=10)[-1]
    assert "left out" not in " ".join(kept(keep="all"))


def test_rounding_is_written_as_rounding() -> None:
    assert [below(x) for x in (1e-6, 3.2e-6, 9.9e-7, 0.16, 0.0999, 2.0)] == [
        "< 1e−6", "< 4e−6", "< 1e−6", "< 0.20", "< 0.10", "< 2.00",
    ]  # fmt: skip
    small = Interval(value=-2e-7, low=-4e-7, high=1e-7, floor=1e-6)
    assert (str(small), small.cells) == ("< 1e−6", ("< 1e−6", ""))
    assert str(Interval(value=0.0, low=0.0, high=0.0, floor=1e-6)) == "0.00"
    assert str(Interval(value=1e-7, low=-0.2, high=0.2, floor=1e-6)) == "0.00 (−0.20 to 0.20)"
    assert to_json(small) == {"value": -2e-7, "low": -4e-7, "high": 1e-7}

    profile = results.patch()
    noise = torch.randn(profile.outcome.values.shape, generator=torch.Generator().manual_seed(0))
    outcome = replace(
        profile.outcome, values=profile.outcome.base[:, None, :, None, None, None] + 1e-7 * noise,
        floor=(2e-6, 1e-7, 0.0),
    )  # fmt: skip
    quiet = replace(profile, outcome=outcome)
    drawn: Any = quiet.heatmap().data[0]
    assert (drawn.zmin, drawn.zmax) == (pytest.approx(-2e-5), pytest.approx(2e-5))
    assert "<b>< 2e−6</b>" in drawn.text[0][0]
    assert outcome.floor_of("transferred") == pytest.approx(1e-6)
    curve = next(c for c in analysis("patch").curves(quiet) if c.key == "input_transferred")
    assert {value for value, _ in curve.cells} == {"< 1e−6"}
    axis = layout_of(depth_figure([curve], n_layers=8, title="", y_title="")).yaxis.range
    assert axis == (pytest.approx(-1e-5), pytest.approx(1e-5))
    loud = replace(curve, mean=curve.mean + 0.5)
    assert layout_of(depth_figure([loud], n_layers=8, title="", y_title="")).yaxis.range is None
    assert analysis("patch").summary(quiet)["floor"]["logit_diff"] == 2e-6
    half = replace(quiet.provenance.model, dtype="bfloat16")
    coarse = replace(quiet, provenance=replace(quiet.provenance, model=half))
    assert "The model computes in bfloat16" in analysis("patch").sentences(coarse)[-1]
    assert (
        "(logit diff < 2e−6, transferred fraction < 1e−6)"
        in (analysis("patch").sentences(coarse)[-1])
    )
