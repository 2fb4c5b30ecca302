"""Sections that seem to contradict each other, and measures that cannot be otherwise, say so."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import results
import torch

from lensdepth.ablation import dose_told
from lensdepth.analyses import analysis
from lensdepth.claims.result import make_finding
from lensdepth.geometry import told as shaped
from lensdepth.locality import told as local_told
from lensdepth.report import reconciled
from lensdepth.report.measured import Measured
from lensdepth.tasks.catalogue import TASKS
from lensdepth.tasks.meanings import CALENDAR_TASKS, label_name
from lensdepth.transition import find_crossing, find_transition


def measured(**found: Any) -> Measured:
    return cast(Measured, SimpleNamespace(**found))


def additive(effect: float | None, p_for: float, p_against: float) -> Any:
    one = make_finding(reconciled.ADDITIVE, None, says="", unit="", threshold=0.2)
    one = replace(one, effect=effect, low=0.1, high=0.18, p_for=p_for, p_against=p_against)
    table = results.claims()
    others = tuple(f for f in table.findings if f.key != reconciled.ADDITIVE)
    return replace(table, findings=(*others, one))


def gapped() -> Any:
    """A gap of 1 of 8, about which no pair doubts."""
    profile = results.locality()
    n, depths = profile.local.shape
    return replace(profile, local=torch.full((n, depths), 7 / depths), whole=torch.full((n,), 8.0))


def test_synergy_stands_beside_a_claim_that_asks_for_more() -> None:
    said = reconciled.additivity(measured(locality=gapped(), claims=additive(0.14, 1.0, 0.001)))
    assert said is not None
    assert said.endswith(
        "more than 0.20 of the whole, and finds 0.14 (0.10 to 0.18), which is less."
    )
    open_ = reconciled.additivity(measured(locality=gapped(), claims=additive(0.19, 0.5, 0.4)))
    assert open_ is not None
    assert "either side of it" in open_


@pytest.mark.parametrize(
    "found",
    [
        {"locality": None, "claims": None},
        {"locality": gapped(), "claims": None},
        {"locality": gapped(), "claims": additive(0.4, 0.001, 1.0)},
        {"locality": gapped(), "claims": additive(None, 1.0, 1.0)},
    ],
)
def test_what_agrees_needs_no_word(found: dict[str, Any]) -> None:
    assert reconciled.additivity(measured(**found)) is None


def test_the_gap_is_told_with_its_share_and_names_what_is_edited() -> None:
    said = local_told.sentences(gapped())[0]
    assert "by 1.00 nats, 12% of it: together they do more than one by one (synergy)" in said
    mlps = replace(gapped(), stream="mlp_out", position="input", metric="flip")
    other = local_told.sentences(mlps)[0]
    assert other.startswith("The MLP output of all ")
    assert "at the input position together moves the flip by 8.00; " in other


def test_all_blocks_together_are_the_source_run_by_construction() -> None:
    profile = gapped()
    whole = replace(profile, source_value=profile.base_value + 8.0)
    assert "by construction" in local_told.sentences(whole)[0]
    short = replace(profile, source_value=profile.base_value + 9.0)
    assert "by construction" not in local_told.sentences(short)[0]


def test_scaling_is_told_in_the_number_that_is_drawn_and_in_kl() -> None:
    profile = results.dose(norm=0.3)
    said = dose_told.sentences(profile)[-1]
    moved = profile.transferred[torch.tensor([p == "norm" for p in profile.parts])]
    largest = moved[:, :, profile.depths != profile.n_layers].mean(1).abs().max()
    assert f"the logit difference, which is drawn, moves by {float(largest):.2f}" in said
    assert "1.50 nats (KL)" in dose_told.sentences(results.dose(norm=0.5))[-1]


def test_definitions_that_disagree_say_why() -> None:
    """Copying in block 0: control passes at once, and the lens has nothing to fall from."""
    lens, flat = results.lens(5.0), results.lens(flat=True)
    patch = find_crossing(results.patch(4.0), n_resamples=200)
    none = find_crossing(results.patch(None), n_resamples=200)
    there, nowhere = (find_transition(one, n_resamples=50) for one in (lens, flat))

    def said(transition: Any, crossing: Any) -> str:
        found = {"logit lens, sigmoid": transition, "patching, crossing": crossing}
        return " ".join(reconciled.definitions(measured(switches=found)))

    assert "within one, by the whole interval; what is neither is not settled" in said(there, patch)
    assert "not settled" not in said(there, none)
    assert "Patching finds a place and the lens none" in said(nowhere, patch)
    assert "The lens finds a place and patching none" in said(there, none)
    for pair in ((there, patch), (nowhere, none)):
        assert "both may hold" not in said(*pair)
        assert "They are places of different things: logit lens, sigmoid: where" in said(*pair)


def test_what_the_lens_asks_is_said_by_its_reading() -> None:
    patch = find_crossing(results.patch(4.0), n_resamples=200)
    flat = results.lens(flat=True)
    zero = torch.full_like(flat.kl, -1.0)
    pairs = replace(flat, target_log_prob=zero, foil_log_prob=zero, corrupted_logit_diff=0 * zero)
    asked = {"kl": "how far the readout", "contrast": "tells a pair's answers apart"}
    for profile, by in ((flat, "kl"), (pairs, "contrast")):
        assert profile.located_by == by
        none = find_transition(profile, n_resamples=50)
        found = {"logit lens, sigmoid": none, "patching, crossing": patch}
        said = " ".join(reconciled.definitions(measured(switches=found)))
        assert [word in said for word in asked.values()] == [by == one for one in asked]


def test_greek_letters_are_explained_where_the_study_means_them() -> None:
    assert label_name("beta", "months") == "beta (the count)"
    assert label_name("corrupted_alpha", "weekdays") == "alpha (the start of the other prompt)"
    assert label_name("beta", "mine.csv") == "beta"
    assert label_name("target_log_prob", "mine.csv") == "log p(target)"
    assert set(CALENDAR_TASKS) <= set(TASKS)


def test_labels_are_named_alike_in_sentence_table_and_figure() -> None:
    plain = results.decoding()
    profile = replace(plain, provenance=replace(plain.provenance, task="months"))
    one = analysis("decoding")
    assert "more than chance of beta (the count; 0.60 against" in one.sentences(profile)[0]
    assert "more than chance of beta (0.60 against" in one.sentences(plain)[0]
    assert any(curve.name == "beta (the count), norm" for curve in one.curves(profile))
    figure: Any = profile.plot()
    assert "beta (the count), " in str(figure.layout.annotations)


def test_an_interval_that_reaches_chance_tells_nothing() -> None:
    profile = results.decoding(norm=0.6, p=0.001)
    assert "tells more than chance" in " ".join(analysis("decoding").sentences(profile))
    wide = replace(profile, low=profile.null_mean - 0.1)
    said = " ".join(analysis("decoding").sentences(wide))
    assert "tells more than chance" not in said
    assert "neither the norm nor the direction tells anything that could be told from" in said


def test_states_of_one_token_have_no_extent() -> None:
    profile = results.geometry()
    assert "no extent" not in " ".join(shaped.sentences(profile))
    flat = profile.value.clone()
    flat[profile.measures.index("effective_rank"), 0] = torch.nan
    said = " ".join(shaped.sentences(replace(profile, value=flat)))
    assert "At depth 0 all of these states are the same token's, so they have no extent" in said


@pytest.mark.parametrize("key", ["lens", "patch", "steering", "ablation", "dose", "decoding"])
def test_the_notes_say_what_is_so_by_construction(key: str) -> None:
    note = analysis(key).note
    said = ("by construction", "By construction", "for every model", "as they must")
    assert any(words in note for words in said)


def contradicted(*words: str) -> Any:
    """C5 contradicted by some of its statements, C2 supported."""
    table = results.claims()
    found = {one.key: one for one in table.findings}
    statements = tuple(
        replace(
            found.get(key) or make_finding(key, None, says="", unit=""),
            expect="greater", threshold=0.2, effect=0.0, low=-0.1, high=0.1,
            p_for=1.0, p_against=0.001 if key.removeprefix("C5 ") in words else 0.5,
        )
        for key in ("C5 beats random", "C5 selective")
    )  # fmt: skip
    claims = tuple(
        replace(one, verdict={"C2": "supported", "C5": "contradicted"}.get(one.claim, one.verdict))
        for one in table.claims
    )
    return replace(table, findings=statements, claims=claims)


def test_a_contradicted_claim_on_directions_says_which_statement_it_is() -> None:
    found = {"ablation": results.ablation(), "claims": contradicted("selective")}
    said = reconciled.carrying(measured(**found))
    assert said is not None
    assert "what contradicts it is its statement \u201cselective\u201d, and not" in said
    found["claims"] = contradicted("beats random", "selective")
    assert reconciled.carrying(measured(**found)) is None
    assert reconciled.carrying(measured(ablation=results.ablation(), claims=None)) is None


def test_steering_without_one_crossing_stands_beside_claim_c2() -> None:
    early = torch.tensor([1.0, 1.0, 0.0, 0.0]).repeat(20, 1)
    crossing = find_crossing(early, early)
    assert crossing.verdict != "crossing"
    said = reconciled.passing(measured(steering_crossing=crossing, claims=contradicted()))
    assert said is not None
    assert said.startswith("Claim C2 is supported all the same")
    crossed = find_crossing(early, 1 - early)
    assert crossed.verdict == "crossing"
    assert reconciled.passing(measured(steering_crossing=crossed, claims=contradicted())) is None
