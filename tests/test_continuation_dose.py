"""Texts by the strength of a held edit: against one strength alone, and against known answers."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import Load
from results import provenance

from lensdepth import (
    ContinuationDose,
    DepthModel,
    continuation_dose,
    difference_vector,
    generation_profile,
    load,
    polar,
)
from lensdepth.analyses import analysis
from lensdepth.cli import main
from lensdepth.continuation import dose_profile, doses
from lensdepth.continuation.held import hold

MAY, JUNE = "Two months from May is", "Two months from June is"
JANUARY = "Two months from January is"
TELL = analysis("continuation_dose")


@pytest.fixture(scope="module")
def dosed(load_tiny: Load) -> tuple[DepthModel, ContinuationDose]:
    model = load_tiny("llama", "bridge")
    found = continuation_dose(
        model, MAY, edit="direction", source=JUNE, depths=[0, 2], strengths=[1, 0, 0.5], n_tokens=5,
        n_random=2, seed=4,
    )  # fmt: skip
    return model, found


def by_hand(**changes: Any) -> ContinuationDose:
    """Two strengths, the edit and two turns, a base of three tokens, of which two runs leave out
    the last."""
    tokens = [[[5, 6, 7, -1], [5, 6, 7, -1], [5, 6, -1, -1]],
              [[5, 8, 7, 9], [5, 6, 8, -1], [5, 6, 7, -1]]]  # fmt: skip
    kl = [[[0.0, 0.3, 0.6], [0.0, 0.3, 0.3], [0.0, 0.0, 0.3]],
          [[1.0, 2.0, 3.0], [4.0, 4.0, 4.0], [0.0, 3.0, 0.0]]]  # fmt: skip
    fields: dict[str, Any] = {
        "provenance": provenance(),
        "edit": "full",
        "strengths": (0.5, 1.0),
        "runs": ("edited", "edited control 1", "edited control 2"),
        "prompt_tokens": torch.tensor([1, 2]),
        "base_tokens": torch.tensor([5, 6, 7]),
        "tokens": torch.tensor(tokens),
        "base_text": "abc",
        "texts": (("abc", "abc", "ab"), ("adce", "abd", "abc")),
        "forced_kl": torch.tensor(kl, dtype=torch.float32),
        "vocabulary": {"1": "x", "2": "y", "5": "a", "6": "b", "7": "c", "8": "d", "9": "e"},
    }
    return ContinuationDose(**{**fields, **changes})


def test_each_strength_is_what_one_strength_alone_gives(
    dosed: tuple[DepthModel, ContinuationDose],
) -> None:
    model, found = dosed
    assert found.strengths == (0.0, 0.5, 1.0)
    assert found.runs == ("edited", "edited control 1", "edited control 2")
    for i, strength in enumerate(found.strengths):
        for turn in (0, 1):  # the first turn has the seed, the second the one after it
            one = generation_profile(
                model, MAY, edit="direction", source=JUNE, depths=[0, 2], strength=strength,
                n_tokens=5, seed=4 + turn,
            )  # fmt: skip
            assert found.base_text == one.texts[0]
            assert found.base_tokens.tolist() == one.tokens[0].tolist()
            assert (found.texts[i][0], found.texts[i][1 + turn]) == one.texts[1:]
            assert torch.equal(found.forced_kl[i, 0], one.forced_kl[1])
            assert torch.equal(found.forced_kl[i, 1 + turn], one.forced_kl[2])
            first = found.divergence[i, 0].item()
            assert (None if math.isnan(first) else first) == one.first_difference


def test_a_vector_at_each_strength_is_that_vector_alone(tiny_llama: DepthModel) -> None:
    vector = difference_vector(tiny_llama, MAY, JUNE, depths=[1])
    found = continuation_dose(
        tiny_llama, MAY, vector=vector, strengths=[-2, 3], n_tokens=4, n_random=1
    )
    assert (found.edit, found.strengths) == ("add", (-2.0, 3.0))
    for i, strength in enumerate(found.strengths):
        strong = replace(vector, strength=strength)
        one = generation_profile(tiny_llama, MAY, vector=strong, n_tokens=4)
        assert found.texts[i] == one.texts[1:]
        assert torch.equal(found.forced_kl[i], one.forced_kl[1:])
    assert found.provenance.settings["vector"]["analysis"] == "difference_vector"


@pytest.mark.parametrize(
    ("edit", "exact"), [("full", True), ("direction", False), ("rotate", False)]
)
def test_strength_0_changes_nothing(tiny_llama: DepthModel, edit: str, exact: bool) -> None:
    found = continuation_dose(
        tiny_llama, MAY, edit=edit, source=JUNE, depths=[0, 2], strengths=[0], n_tokens=5
    )
    assert float(found.forced_kl.abs().max()) < 1e-6
    if edit == "full":  # a turn by nothing rounds
        assert torch.equal(found.forced_kl[:, 0], torch.zeros(1, 5))
    assert found.divergence.isnan().all()
    assert found.same.all()
    assert found.verdict == "nothing"
    said = " ".join(TELL.sentences(found))
    assert "it is the same text at every strength" in said
    assert "nothing is done" in said


def test_a_whole_swap_of_late_states_writes_the_answer_of_the_source(trained: DepthModel) -> None:
    depth = trained.n_layers - 1
    found = continuation_dose(
        trained, JANUARY, edit="full", source=JUNE, depths=depth, strengths=[1, 0], n_tokens=1
    )
    assert (found.base_text, found.texts[1][0]) == (" March", " August")
    assert found.divergence[:, 0].isnan().tolist() == [True, False]
    assert found.divergence[1, 0] == 0
    assert "March → August" in TELL.sentences(found)[0]


def test_the_base_is_written_once_and_states_are_taken_once(
    tiny_llama: DepthModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, held = [], []
    write = doses.Asked.write

    def written(self: Any, model: DepthModel, run: str) -> Any:
        runs.append(run)
        return write(self, model, run)

    def once(*arguments: Any, **options: Any) -> Any:
        held.append(arguments[3])
        return hold(*arguments, **options)

    monkeypatch.setattr(doses.Asked, "write", written)
    monkeypatch.setattr("lensdepth.continuation.texts.hold", once)
    continuation_dose(
        tiny_llama, MAY, edit="full", source=JUNE, depths=1, strengths=[0.5, 1], n_tokens=2,
        n_random=1,
    )  # fmt: skip
    assert runs.count("base") == 1
    assert len(runs) == 1 + 2 * 2
    assert held == [[0.5, 1.0]]


def test_random_turns_have_the_angle_and_norm_of_the_edit_and_directions_of_their_own(
    tiny_llama: DepthModel,
) -> None:
    holds = hold(
        tiny_llama, MAY, "direction", [0.5, 1.0], JUNE, [1], [-1], False, "resid_pre", None, None,
        [3, 4], caller="test",
    )  # fmt: skip
    base = tiny_llama.residual_stream(MAY).resid[1, 0]
    for one in holds:
        ((edit,),) = one.edited
        turned = [run[0][0] for run in one.controls]
        put, *others = (e.edit(base, None if e.source is None else e.source[None])
                        for e in (edit, *turned))  # fmt: skip
        for other in others:
            torch.testing.assert_close(polar.angle(base, other), polar.angle(base, put))
            torch.testing.assert_close(polar.norm(other), polar.norm(put))
        assert float(polar.angle(*others)) > 0.1
        assert torch.equal(turned[0].source, holds[0].controls[0][0][0].source)  # type: ignore[arg-type]


def test_a_change_of_norm_has_no_control(tiny_llama: DepthModel) -> None:
    found = continuation_dose(
        tiny_llama, MAY, edit="scale", depths=2, strengths=[1, 0.5, 4], n_tokens=3
    )
    assert (found.runs, found.n_random) == (("edited",), 0)
    assert found.verdict == "no control"
    assert "turns no state" in " ".join(TELL.sentences(found))
    frame = found.dose_frame()
    assert frame["control_kl"].isna().all()
    assert not [name for name in frame.columns if name.endswith("_divergence")]
    assert float(found.forced_kl[found.strengths.index(1.0)].abs().max()) < 1e-6
    assert len(found.plot().to_dict()["data"]) == 2
    random = continuation_dose(
        tiny_llama, MAY, edit="random", source=JUNE, depths=2, strengths=[1], n_tokens=3
    )
    assert "is a random turn itself" in " ".join(TELL.sentences(random))


def test_numbers_of_a_result_by_hand() -> None:
    found = by_hand()
    nan = math.nan
    torch.testing.assert_close(
        found.divergence,
        torch.tensor([[nan, nan, 2.0], [1.0, 2.0, nan]], dtype=torch.float32),
        equal_nan=True,
    )
    expected = torch.tensor([[0.3, 0.2, 0.1], [2.0, 4.0, 1.0]], dtype=torch.float32)
    torch.testing.assert_close(found.mean_kl, expected)
    assert found.same[1].tolist() == [[True, False, True], [True, True, False], [True] * 3]
    frame = found.to_frame()
    assert len(frame) == 2 * 3 * 3
    row = frame[(frame["strength"] == 1) & (frame["run"] == "edited") & (frame["token"] == 1)]
    told = row[["position", "text", "written", "same", "kl"]].to_dict("records")
    assert told == [{"position": 3, "text": "b", "written": "d", "same": False, "kl": 2.0}]
    ended = frame[(frame["run"] == "edited control 2") & (frame["strength"] == 0.5)]
    assert ended["written"].tolist() == ["a", "b", ""]
    half, whole = found.dose_frame().to_dict("records")
    assert (half["strength"], whole["text"]) == (0.5, "adce")
    assert whole["control_kl"] == 2.5
    assert (whole["control_kl_low"], whole["control_kl_high"]) == (1.0, 4.0)
    assert (whole["divergence"], whole["control_1_divergence"]) == (1.0, 2.0)
    assert math.isnan(half["divergence"])
    assert half["control_2_divergence"] == 2.0


def test_the_verdict_by_hand() -> None:
    # At 0.5 a turn alone writes another text: that is judged, and the edit parts later.
    found = by_hand()
    assert (found.judged, found.verdict) == (0.5, "no more than a turn")
    # Without that turn the edit parts first, at 1, where the other turn has the larger KL.
    base = torch.tensor([5, 6, 7, -1])
    tokens = found.tokens.clone()
    tokens[0] = base
    later = by_hand(tokens=tokens)
    assert (later.judged, later.verdict) == (1.0, "no more than a turn")
    kl = found.forced_kl.clone()
    kl[1, 1] = 1.9
    assert by_hand(tokens=tokens, forced_kl=kl).verdict == "more than a turn"
    # As large a KL is not above; a text that parts later is not enough.
    kl[1, 1] = 2.0
    assert by_hand(tokens=tokens, forced_kl=kl).verdict == "no more than a turn"
    kl[1, 1] = 1.9
    tokens[1, 1, 0] = 8
    assert by_hand(tokens=tokens, forced_kl=kl).verdict == "no more than a turn"
    # Where every text is the base's, the largest is judged.
    same = by_hand(tokens=base.expand(2, 3, 4), forced_kl=kl)
    assert (same.judged, same.verdict) == (1.0, "more than a turn")
    signs = by_hand(tokens=base.expand(2, 3, 4), strengths=(-2.0, 1.0))
    assert signs.judged == -2.0
    kl[:, 0] = dose_profile.FLOOR / 2
    assert by_hand(forced_kl=kl).verdict == "nothing"
    kl[1, 0] = dose_profile.FLOOR
    assert by_hand(forced_kl=kl).verdict != "nothing"


def test_sentences_and_summary_by_hand() -> None:
    parting, divergence, judged, alone = TELL.sentences(by_hand())
    assert parting == (
        "The base's text has 3 tokens. With the edit (whole state) held on it is another at "
        "strength 1, of 2 (share of the way to the source); at 1 from token 1 on: b → d."
    )
    assert "averages 0.30 nats at 0.5 and 2.00 nats at 1" in divergence
    assert "give 0.15 nats on average, 0.10 to 0.20" in judged
    assert "another text in 1 of 2 (from token 2 on at the earliest)" in judged
    assert "no more than a turn" in judged
    assert "in at most 1 of 3 texts" in alone
    summary = TELL.summary(by_hand())
    assert [one["strength"] for one in summary["doses"]] == [0.5, 1.0]
    run = summary["doses"][0]["runs"]["edited"]
    assert (run["divergence"], run["text"]) == (None, "abc")
    # A text that ends before the base's has no token there.
    shorter = by_hand().tokens.clone()
    shorter[1, 0] = torch.tensor([5, -1, -1, -1])
    assert "b → its end" in TELL.sentences(by_hand(tokens=shorter))[0]


def test_the_figure_has_the_numbers_and_rings_where_texts_are_the_same() -> None:
    found = by_hand()
    traces = found.plot().to_dict()["data"]
    above, below = ([t for t in traces if t["yaxis"] == axis] for axis in ("y", "y2"))
    kl = torch.tensor([t["y"] for t in reversed(above)], dtype=torch.float32)
    torch.testing.assert_close(kl.T, found.mean_kl)
    edited = below[-1]
    assert list(edited["y"]) == [3, 1]  # the end of the base's text: nothing differs
    assert list(edited["marker"]["symbol"]) == ["circle-open", "circle"]
    assert [t["line"]["dash"] for t in above] == ["4px,3px", "4px,3px", "solid"]


def test_it_is_saved_and_loaded(dosed: tuple[DepthModel, ContinuationDose], tmp_path: Path) -> None:
    found = dosed[1]
    found.save(tmp_path / "d.safetensors")
    again = load(tmp_path / "d.safetensors")
    assert isinstance(again, ContinuationDose)
    assert again.to_frame().equals(found.to_frame())
    assert (again.strengths, again.texts) == (found.strengths, found.texts)
    assert again.verdict == found.verdict


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strengths": []}, r"one at least and each once, got \[\]; give some"),
        ({"strengths": [1, 0.5, 1.0]}, r"got \[1.0, 0.5, 1.0\]; leave out the second"),
        ({"strengths": [1, 2]}, "the strength of 'full' is in share .* from 0 to 1.5, got 2.0"),
        ({"strengths": [math.nan]}, "from 0 to 1.5, got nan"),
        ({"edit": None, "source": None, "depths": None}, "nothing to hold on; name an edit"),
        ({"n_random": 0}, "n_random must be 1 or more, got 0"),
        ({"n_tokens": 0}, "n_tokens must be 1 or more, got 0"),
        ({"depths": None}, "an edit needs depths"),
        ({"source": None}, "needs a source prompt"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_pass(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    model = load_tiny("llama", "bridge")
    monkeypatch.setattr(doses, "base_text", lambda *_: pytest.fail("the model wrote"))
    given = {"edit": "full", "source": JUNE, "depths": 1, "strengths": [1.0], **options}
    with pytest.raises(ValueError, match=said) as error:
        continuation_dose(model, MAY, **given)
    assert str(error.value).startswith("continuation_dose: ")


def test_a_vector_refuses_a_strength_that_is_none_of_its_edit(tiny_llama: DepthModel) -> None:
    vector = difference_vector(tiny_llama, MAY, JUNE, depths=[1])
    with pytest.raises(ValueError, match="continuation_dose: strength must be a number between"):
        continuation_dose(tiny_llama, MAY, vector=vector, strengths=[1e9])
    with pytest.raises(ValueError, match="a vector brings its own edit and site"):
        continuation_dose(tiny_llama, MAY, vector=vector, strengths=[1], depths=1)


def test_the_command_writes_every_format(
    trained: DepthModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["write", JANUARY, "--model", "tiny", "--n-tokens", "3", "--edit", "full",
             "--source", JUNE, "--depth", "2", "--dose", "1", "--dose", "0.25"]  # fmt: skip
    assert main(words) == 0
    table = capsys.readouterr().out
    assert (
        f"without the edit: {trained.generate(JANUARY, max_new_tokens=3)[len(JANUARY) :]}" in table
    )
    assert table.index("0.25") < table.index("to the source")
    for ending in ("csv", "parquet", "html", "json", "safetensors"):
        assert main([*words, "--out", str(tmp_path / f"d.{ending}")]) == 0
    found = load(tmp_path / "d.safetensors")
    assert found.strengths == (0.25, 1.0)
    assert len(pd.read_parquet(tmp_path / "d.parquet")) == 2 * 4 * len(found.base_tokens)
    assert len(pd.read_csv(tmp_path / "d.csv")) == len(found.to_frame())
    whole = json.loads((tmp_path / "d.json").read_text())
    assert whole["summary"] == TELL.summary(found)
