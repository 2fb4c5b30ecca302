"""A saved vector on the pairs of a task: against `apply_vector`, and against known answers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Load
from results import provenance

from lensdepth import (
    DepthModel,
    SteeringVector,
    VectorResponse,
    apply_vector,
    difference_vector,
    load_task,
    metrics,
    polar,
    steering_vector,
    vector_response,
)
from lensdepth.analyses import analysis
from lensdepth.applied.verdict import judge
from lensdepth.cli import main
from lensdepth.edits import at_random
from lensdepth.outcome import Effects
from lensdepth.standing import StandingEdit, steered
from lensdepth.sweep.controls import pair_noise

TELL = analysis("vector_response")


def made(model: DepthModel, **options: Any) -> SteeringVector:
    """At two depths, as large as states are there."""
    generator = torch.Generator().manual_seed(3)
    vector = torch.randn(2, model.d_model, generator=generator, dtype=torch.float32)
    return steering_vector(model, vector, depths=[1, 2], **options)


@pytest.mark.parametrize(
    ("arch", "mode", "options"),
    [
        ("llama", "denoise", {}),
        ("llama", "noise", {"positions": (0, 2)}),
        ("gpt2", "denoise", {"edit": "reflect"}),
        ("gemma2", "noise", {"edit": "rotate", "strength": 30.0}),
    ],
)
def test_each_run_is_what_the_steered_model_says(
    load_tiny: Load, backend: str, arch: str, mode: Any, options: dict[str, Any]
) -> None:
    model = load_tiny(arch, backend)
    task, vector = load_task("months", model, n=5), made(model, **options)
    found = vector_response(model, task, vector, strengths=[0.5, 1.0], mode=mode, n_random=1)
    assert found.outcome.coords == {"edit": ("vector", "turn 1"), "strength": (0.5, 1.0)}
    base = task.corrupted_tokens if mode == "denoise" else task.clean_tokens
    for s, strength in enumerate(found.strengths):
        for i in range(len(task)):
            assert base is not None
            one = base[slice(i, i + 1)]
            plain = model.logits(one)[:, 0]
            with apply_vector(model, vector, strength=strength) as changed:
                logits = changed.logits(one)[:, 0]
            assert found.first_choice[0, s, i] == logits.argmax()
            assert found.base_choice[i] == plain.argmax()
            expected = metrics.kl_divergence(plain, logits)
            torch.testing.assert_close(
                found.of("kl", edit="vector", strength=strength)[i], expected[0],
                atol=2e-5, rtol=1e-4,
            )  # fmt: skip


def test_a_turn_turns_each_state_as_far_in_the_pairs_own_direction(
    load_tiny: Load, backend: str
) -> None:
    model = load_tiny("llama", backend)
    task, vector = load_task("months", model, n=3), made(model)
    found = vector_response(model, task, vector, n_random=2, seed=5)
    edit = at_random(polar.add(1.0))
    for turn in range(2):
        noise = pair_noise(range(3), (2, model.d_model), 5 + turn)
        for i in range(3):
            assert task.corrupted_tokens is not None
            one = task.corrupted_tokens[slice(i, i + 1)]
            both = torch.cat([vector.vector, noise[i]], dim=-1)
            edits = [
                StandingEdit(hook=hook, positions=range(model.n_ctx), edit=edit, source=row)
                for hook, row in zip(vector.hooks, both, strict=True)
            ]
            with steered(model, edits):
                logits = model.logits(one)[:, 0]
            assert found.first_choice[1 + turn, 0, i] == logits.argmax()


def test_controls_are_run_on_some_pairs_and_a_norm_has_none(load_tiny: Load, backend: str) -> None:
    model = load_tiny("llama", backend)
    task, vector = load_task("months", model, n=8), made(model)
    found = vector_response(model, task, vector, control_pairs=3, n_random=2)
    assert found.turned("flip").isfinite().sum() == 3
    assert (found.first_choice[1] >= 0).sum() == 3
    assert not found.change("flip").isnan().any()
    norm = vector_response(model, task, made(model, edit="norm"))
    assert norm.n_random == 0
    assert norm.outcome.coords["edit"] == ("vector",)
    assert norm.turned("flip").isnan().all()


def test_a_pair_without_the_vectors_tokens_keeps_its_base_run(
    load_tiny: Load, backend: str
) -> None:
    model = load_tiny("llama", backend)
    task = load_task("months", model, n=6)
    assert task.corrupted_tokens is not None
    longest = int(task.corrupted_tokens.lengths.max())
    with pytest.raises(ValueError, match=f"the longest prompt has {longest}"):
        vector_response(model, task, made(model, positions=(longest + 3,)))
    far = vector_response(model, task, made(model, positions=(longest - 1, longest + 3)))
    short = task.corrupted_tokens.lengths < longest
    assert (far.change("kl")[0, short] == 0).all()
    assert (far.change("kl")[0, ~short] > 0).all()


def test_what_does_not_fit_is_refused_before_any_pass(load_tiny: Load, backend: str) -> None:
    model = load_tiny("llama", backend)
    task, vector = load_task("months", model, n=4), made(model)
    for options, words in (
        ({"strengths": []}, "one at least"),
        ({"strengths": [1, 1]}, "leave out the second"),
        ({"strengths": [1e9]}, "strength must be a number between"),
        ({"n_random": 0}, "n_random must be 1 or more"),
    ):
        with pytest.raises(ValueError, match=words):
            vector_response(model, task, vector, **options)  # type: ignore[arg-type]
    other = load_tiny("gpt2", backend)
    with pytest.raises(ValueError, match="vector belongs to"):
        vector_response(other, load_task("months", other, n=4), vector)
    with pytest.raises(ValueError, match="plain prompts alone"):
        vector_response(model, replace(task, corrupted_tokens=None), vector)


def test_the_prompts_that_a_vector_was_made_from_are_known(load_tiny: Load, backend: str) -> None:
    model = load_tiny("llama", backend)
    task = load_task("months", model, n=6)
    assert task.corrupted is not None
    to, away = list(task.corrupted[:2]), ["January is"]
    vector = difference_vector(model, away, to, depths=2)
    found = vector_response(model, task, vector)
    assert found.seen.tolist() == [prompt in to for prompt in task.corrupted]
    assert any("that the vector was made from" in one for one in TELL.sentences(found))
    assert not vector_response(model, task, made(model)).seen.any()


RNG = np.random.default_rng(0)
MANY = 60
"""Pairs, each a unit by itself."""


def judged(flips: float, turned: float, *, gain: float = 0.0, turns: bool = True) -> Any:
    """The verdict on so many first choices, of the vector and of turns."""
    share = (np.arange(MANY) < round(flips * MANY)).astype(float)
    by_turn = np.roll((np.arange(MANY) < round(turned * MANY)).astype(float), 30)
    nothing = np.full(MANY, np.nan)
    return judge(
        share, by_turn if turns else nothing, gain + RNG.normal(size=MANY),
        RNG.normal(size=MANY) if turns else nothing,
        units=(), n_prompts=MANY, n_strengths=1, turns=turns,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flips", "turned", "verdict"),
    [
        (0.0, 0.0, "nothing"), (0.9, 0.0, "more than a turn"), (0.9, 0.95, "as any turn"),
        (0.12, 0.1, "cannot tell"), (0.5, 0.4, "cannot tell"),
    ],
)  # fmt: skip
def test_a_vector_is_held_against_turns(flips: float, turned: float, verdict: str) -> None:
    assert judged(flips, turned).verdict == verdict


def test_without_turns_or_units_there_is_no_such_verdict() -> None:
    assert judged(0.9, 0.0, turns=False).verdict == "no control"
    few = np.ones(3)
    one = judge(few, few, few, few, units=(), n_prompts=3, n_strengths=1, turns=True)
    assert one.verdict == "too few"


def test_it_leads_towards_what_gains_more_than_under_turns() -> None:
    assert judged(0.9, 0.0, gain=3.0).whereto == "towards"
    assert judged(0.9, 0.0, gain=-3.0).whereto == "away"
    assert judged(0.9, 0.0, gain=3.0, turns=False).whereto == "towards"


def by_hand() -> VectorResponse:
    """Six pairs, two strengths, one turn: at 1 nothing, at 2 all first choices are token 5."""
    names = ("logit_diff", "kl", "flip", "success", "answer_probability", "target_logit",
             "foil_logit")  # fmt: skip
    values = torch.zeros(len(names), 2, 2, 6, dtype=torch.float32)
    values[2, 0, 1] = 1.0
    values[3, 0, 1, :3] = 1.0
    values[5, 0, 1] = torch.tensor([2.0, 2.5, 3.0, 2.0, 2.5, 3.0])
    values[6, 0, 1] = -1.0
    chosen = torch.full((2, 2, 6), 7)
    chosen[0, 1, :4], chosen[0, 1, 4:] = 5, 6
    return VectorResponse(
        provenance=replace(
            provenance(), prompts=tuple("abcdef"),
            settings={"edit": "add", "control_pairs": "all"},
        ),
        outcome=Effects(
            metrics=names, coords={"edit": ("vector", "turn 1"), "strength": (1.0, 2.0)},
            values=values, base=torch.zeros(len(names), 6, dtype=torch.float32),
            source=torch.ones(len(names), 6, dtype=torch.float32),
        ),
        first_choice=chosen,
        base_choice=torch.full((6,), 7),
        seen=torch.tensor([True, *[False] * 5]),
        vocabulary={"5": " May", "6": " June", "7": " July"},
    )  # fmt: skip


def test_sentences_and_summary_say_what_there_is() -> None:
    found = by_hand()
    assert found.said(1.0) == []
    assert found.said(2.0) == [(" May", 4), (" June", 2)]
    assert found.chief == 2.0
    assert found.judged[2.0].verdict == "more than a turn"
    said = " ".join(TELL.sentences(found))
    assert "changes first choices more than random turns as far at strength 2" in said
    assert "Of 6 changed first choices these come first instead: ·May (4) and ·June (2)" in said
    assert "The base's answer loses 1.00" in said
    assert "leads towards it; it comes first in 50%" in said
    assert "1 of the edited prompts are" not in said
    doses = TELL.summary(found)["doses"]
    assert [one["verdict"] for one in doses] == ["cannot tell", "more than a turn"]
    assert doses[1]["flip"]["vector"]["value"] == 1
    assert doses[1]["loss"]["value"] == 1
    frame = found.to_frame()
    assert len(frame) == 24
    assert set(frame["first_choice"]) == {" May", " June", " July"}
    assert list(found.verdict_frame()["strength"]) == [1, 2]


def test_the_command_line_applies_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trained: DepthModel
) -> None:
    saved = tmp_path / "june.safetensors"
    difference_vector(trained, "January is", "June is", depths=2).save(saved)
    call = ["steer", "--model", "tiny", "--n", "8", "--apply", str(saved)]
    assert main([*call, "--dose", "1", "--dose", "9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["strength"] for one in found["summary"]["doses"]] == [1, 9]
    assert main([*call, "--strength", "9"]) == 0
    assert "under turns" in capsys.readouterr().out
    for more, words in (
        (["--depths", "all"], "leave out --depths"),
        (["--budget", "1", "--folds", "5"], "leave out --budget and --folds"),
        (["--strength", "1", "--dose", "2"], "leave out one of both"),
    ):
        assert main([*call, *more]) != 0
        assert words in capsys.readouterr().err
    assert main(["steer", "--model", "tiny", "--dose", "2"]) != 0
    assert "--dose goes with --apply" in capsys.readouterr().err
    assert main(["steer", "--model", "tiny", "--apply", str(tmp_path / "no")]) != 0
    assert "there is no such file" in capsys.readouterr().err
