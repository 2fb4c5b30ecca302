"""Exercises: right answers pass, each typical mistake gets its hint, nothing is given away."""

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import results
import torch

from lensdepth import Condition, Hypothesis, LensProfile, load_task, metrics, polar
from lensdepth.model import DepthModel
from lensdepth.teaching import check, list_exercises, pick_task, say, show
from lensdepth.teaching.exercises import EXERCISES

FUNCTIONS = [name for name, one in EXERCISES.items() if one.cases is not None]
HINTS = [(name, i) for name in FUNCTIONS for i in range(len(EXERCISES[name].mistakes))]


@pytest.mark.parametrize(("name", "i"), HINTS)
def test_every_mistake_gets_its_own_hint(name: str, i: int) -> None:
    """The cases tell all typical mistakes from the right answer and from one another."""
    mistake = EXERCISES[name].mistakes[i]
    found = check(name, mistake.answer)
    assert (found.verdict, found.message) == ("not yet", mistake.hint)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_feedback_holds_a_right_number(name: str) -> None:
    """No hint is made from an answer: all of them are written beforehand, or speak of shapes."""
    exercise = EXERCISES[name]
    found = check(name, lambda *case: torch.full((2, 3, 1, 1, 5), 0.123))
    assert found.verdict == "not yet"
    hints = [mistake.hint for mistake in exercise.mistakes]
    assert found.message in hints or "shape" in found.message or "word" in found.message


def _lengths(x: torch.Tensor) -> torch.Tensor:
    return x.square().sum(1, keepdim=True).sqrt()


def _normed(writes: torch.Tensor) -> torch.Tensor:
    return writes / writes.sum(0).square().mean().sqrt()


BY_HAND: list[tuple[str, Callable[..., Any]]] = [
    ("01.norms", lambda resid: (resid * resid).sum(-1) ** 0.5),
    ("01.writes", lambda resid: torch.diff(resid, dim=0)),
    ("01.to_first", lambda pattern: pattern[:, 1:, 0].mean(1)),
    ("02.kl", lambda p, q: (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1)),
    ("02.rank", lambda logits, token: int((logits > logits[token]).sum())),
    ("03.interval", lambda values, draws: np.quantile(values[draws].mean(1), [0.025, 0.975])),
    ("03.p_value", lambda t, null: (1 + sum(n >= t for n in null)) / (1 + len(null))),
    ("04.direction_swap", lambda base, source: source * _lengths(base) / _lengths(source)),
    ("05.transferred", lambda edited, base, source: (edited - base) / (source - base)),
    ("05.gap", lambda whole, local: [w - sum(e) for w, e in zip(whole, local, strict=True)]),
    ("07.memory", lambda n, bits: n * bits / (8 * 1024**3)),
    ("08.direct", lambda writes, t, f: _normed(writes) @ t - _normed(writes) @ f),
    ("09.honest", lambda pilot, test: test[pilot.index(max(pilot))]),
    ("10.blocks", lambda low, high: [depth - 1 for depth in range(low + 1, high + 1)]),
    ("10.both", lambda a, b: [int(x @ y) for x, y in zip(a, b, strict=True)]),
    ("11.appears", lambda steps, seen: next(s for i, s in enumerate(steps) if seen[i:].all())),
    ("11.explained", lambda y: max(
        np.corrcoef(y, np.arange(len(y)) < k)[0, 1] ** 2 for k in range(1, len(y)))),
    ("10.lag", lambda a, b: float(pd.Series(b).sub(pd.Series(a)).dropna().median())),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), BY_HAND)
def test_answers_found_in_another_way_are_right(name: str, answer: Callable[..., Any]) -> None:
    found = check(name, answer)
    assert found.passed, found
    assert "✅" in found._repr_markdown_()


def test_a_shapley_value_over_orders_is_right() -> None:
    from itertools import permutations

    def shapley(value: Callable[[frozenset[int]], float], n: int) -> list[float]:
        total = [0.0] * n
        orders = list(permutations(range(n)))
        for order in orders:
            for place, i in enumerate(order):
                total[i] += value(frozenset(order[: place + 1])) - value(frozenset(order[:place]))
        return [t / len(orders) for t in total]

    assert check("05.shapley", shapley).passed


VERDICTS = ("cannot tell", "supported", "contradicted")


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("02.kl", lambda p, q: metrics.kl_divergence(q, p), "not symmetric"),
        ("02.kl", lambda p, q: metrics.kl_divergence(p, q) / np.log(2), "in bits"),
        ("01.norms", lambda resid: resid.norm(dim=2), "over the positions"),
        ("04.direction_swap", polar.norm_swap, "it is the norm swap"),
        ("04.mean_direction", lambda x: polar.direction(x.mean(0)), "Long states count more"),
        (
            "07.verdict",
            lambda low, high, t: VERDICTS[int(low > 0) - int(high < 0)],
            "with zero",
        ),
        ("07.holm", lambda p: np.minimum(p * len(p), 1), "Bonferroni"),
        ("09.prompts", lambda n, h, w: n * h / w, "root"),
    ],
)
def test_common_mistakes_are_recognised(name: str, answer: Callable[..., Any], hint: str) -> None:
    found = check(name, answer)
    assert found.verdict == "not yet"
    assert hint in found.message


def test_no_answer_yet_repeats_the_question() -> None:
    for answer in (None, ..., lambda p, q: None, lambda p, q: ...):
        found = check("02.kl", answer)
        assert (found.verdict, found.message) == ("no answer", list_exercises()["02.kl"])


def test_what_is_no_answer_at_all_is_said_kindly() -> None:
    def broken(p: Any, q: Any) -> Any:
        raise RuntimeError("size mismatch")

    assert "stopped with RuntimeError: size mismatch" in check("02.kl", broken).message
    assert "is a float. Hand over its name" in check("02.kl", 0.3).message
    assert "made of numbers" in check("02.kl", lambda p, q: object()).message
    assert "as a string" in check("07.verdict", lambda low, high, t: 1).message
    assert "[1, 9]" in check("02.kl", lambda p, q: p - q).message


def test_nan_is_named() -> None:
    found = check("02.kl", lambda p, q: torch.full_like(p[..., 0], torch.nan))
    assert "NaN" in found.message


def test_an_unknown_exercise_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no exercise '02.lk'. Did you mean 02.kl") as error:
        check("02.lk", 1)
    assert all(name in str(error.value) for name in EXERCISES)


def test_inputs_that_are_missing_or_too_many_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"check\('04.forced', answer, model=model\); missing: model"
    ):
        check("04.forced", 3)
    with pytest.raises(ValueError, match="not asked for: model"):
        check("02.kl", lambda p, q: 0, model=1)


def _model(normalization: str) -> Any:
    return SimpleNamespace(n_layers=7, info=SimpleNamespace(normalization=normalization))


@pytest.mark.parametrize(
    ("normalization", "answer", "hint"),
    [
        ("RMS", 7, ""),
        ("LN", 7, ""),
        ("none", -1, ""),
        ("RMS", 6, "last *block*"),
        ("RMS", 0, "reads the stream last"),
    ],
)
def test_the_forced_depth_is_that_of_the_model(normalization: str, answer: int, hint: str) -> None:
    found = check("04.forced", answer, model=_model(normalization))
    assert found.passed == (not hint)
    assert hint in found.message


def _lens(share: list[float]) -> LensProfile:
    by_hand = results.lens()
    rest = len(by_hand.kl) - len(share)
    curve = torch.tensor([*share, *share[-1:] * rest])[:, None, None]
    return replace(by_hand, top1_agreement=curve.expand_as(by_hand.kl))


DIRECTION: dict[str, Any] = {"intervention": "ablate", "edit": "direction"}


@pytest.mark.parametrize(
    ("share", "answer", "hint"),
    [
        ([0.0, 0.6, 0.4, 0.5, 0.9, 1.0], 3, ""),
        ([0.0, 0.6, 0.4, 0.5, 0.9, 1.0], 1, "first time"),
        ([0.0, 0.6, 0.4, 0.5, 0.9, 1.0], 2, "block's number"),
        ([0.0, 0.6, 0.4, 0.5, 0.9, 1.0], 4, "one depth earlier"),
        ([0.7, 0.8, 1.0], 0, ""),
        ([0.0, 0.0, 1.0], 1.0, "block's number"),
    ],
)
def test_where_a_lens_settles_is_read_off_the_profile(
    share: list[float], answer: float, hint: str
) -> None:
    found = check("02.settled", answer, profile=_lens(share))
    assert found.passed == (not hint)
    assert hint in found.message


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({}, ""),
        ({"name": "other", "family": "b"}, ""),
        ({"second": None}, "any disturbance"),
        ({"second": Condition(intervention="ablate", edit="norm")}, "no control"),
        ({"second": Condition(intervention="ablate", edit="random_norm")}, "same angle"),
        ({"first": Condition(intervention="ablate", edit="full")}, "what is tested"),
        ({"first": Condition(**DIRECTION, position="input")}, "different places"),
        ({"metric": "transferred"}, "Which metric"),
        ({"depths": "all"}, "Over all depths"),
        ({"depths": ">= 7"}, "after a look"),
        ({"expect": "less"}, "*more* often"),
        ({"by": 0.0}, "Without a threshold"),
        ({"by": 0.2}, "the one in the sentence"),
    ],
)  # fmt: skip
def test_a_hypothesis_is_read_field_by_field(change: dict[str, Any], hint: str) -> None:
    asked = Hypothesis(
        name="x",
        first=Condition(intervention="ablate", edit="direction"),
        second=Condition(intervention="ablate", edit="random_direction"),
        metric="success",
        depths="late",
        by=0.3,
    )
    found = check("09.hypothesis", replace(asked, **change))
    assert found.passed == (not hint), found
    assert hint in found.message
    assert "not a dict" in check("09.hypothesis", {}).message


def test_a_task_that_a_model_does_not_know_is_passed_over(trained: DepthModel) -> None:
    task, note = pick_task(trained, ("binding", "months"), n=40)
    assert task.name in ("binding", "months")
    assert f"of {40} pairs rightly" in note
    task, note = pick_task(trained, ("months",), n=30)
    assert (task.name, len(task)) == ("months", 30)
    assert "does not know" not in note
    with pytest.raises(ValueError, match="names must be some of"):
        pick_task(trained, ("month",))
    with pytest.raises(ValueError, match="names must be some of"):
        pick_task(trained, ())


def test_a_model_that_knows_nothing_goes_on_with_all_pairs(
    tiny_gpt2: DepthModel,
) -> None:
    model = tiny_gpt2
    task, note = pick_task(model, ("months",), n=20)
    assert len(task) == len(load_task("months", model, n=20, on_multi_token="drop"))
    assert "knows none of these tasks" in note


def test_a_script_prints_what_a_notebook_renders(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And at a prompt, or in a kernel, where last values are shown, nothing is printed twice."""
    table = pd.DataFrame({"depth": [3, 4], "share": [0.25, float("nan")]}, index=["[b]a[/b]", "b"])
    figure = go.Figure(layout={"title": {"text": "a &lt; b<br>c"}})

    def all_of_them() -> None:
        say("**What to see.** Three *different* [1, 2] things.", "\n- one", "\n- two")
        show(table.rename_axis("name"))
        show(figure)
        check("02.kl", None)

    monkeypatch.delattr("sys.ps1", raising=False)
    all_of_them()
    said = capsys.readouterr().out
    assert "What to see. Three different [1, 2] things." in said
    assert re.search(r"name +depth +share", said)
    assert re.search(r"\[b\]a\[/b\] +3 +0\.25", said)
    assert re.search(r"b +4 +–", said)
    assert re.search(r"^\[Figure \d+: a < b c\. LENSDEPTH_FIGURES=FOLDER", said, re.MULTILINE)
    assert re.search(r"^02\.kl: no answer\. Write .+$", said, re.MULTILINE)
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    all_of_them()
    assert capsys.readouterr().out == ""


def test_a_table_is_given_back_as_it_is() -> None:
    table = pd.DataFrame({"a": [1]})
    assert show(table) is table


def test_sentences_and_figures_offer_what_notebooks_draw() -> None:
    assert say("One.", "Two.")._repr_markdown_() == "One. Two."
    figure = go.Figure(go.Scatter(y=[1, 2]))
    bundle = show(figure)._repr_mimebundle_()
    assert bundle["application/vnd.plotly.v1+json"]["data"][0]["type"] == "scatter"
    assert "cdn" in bundle["text/html"]
    alone = show(figure, offline=True)._repr_mimebundle_()
    assert list(alone) == ["text/html"]
    assert len(alone["text/html"]) > 1_000_000
    assert 'src="http' not in alone["text/html"]
