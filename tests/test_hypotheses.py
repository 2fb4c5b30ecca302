"""Hypotheses: what a file may say, what is refused and where, and known answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from lensdepth import (
    Condition,
    Hypothesis,
    HypothesisTable,
    ablation_sweep,
    evaluate_hypotheses,
    load_hypotheses,
    load_model,
    load_task,
    steering_sweep,
)
from lensdepth.claims.hypothesis import parse_depths
from lensdepth.cli import main
from lensdepth.model import DepthModel
from lensdepth.plotting import layout_of
from lensdepth.sweep.readings import METRICS
from lensdepth.tasks import Task
from lensdepth.teaching import planted

pytestmark = pytest.mark.long

GOOD = """
[[hypothesis]]
name = "direction beats norm"
first = { intervention = "ablate", edit = "direction" }
second = { intervention = "ablate", edit = "norm" }
depths = ">= 4"
by = 0.2

[[hypothesis]]
name = "norm does nothing"
family = "norm"
first = { intervention = "ablate", edit = "norm" }
depths = "late"
expect = "equivalent"
by = 0.05
"""
PAIRS = [(a, (a + k) % 12) for a in range(12) for k in (1, 4, 7)]
ABLATE = Condition(intervention="ablate", edit="direction")


@pytest.fixture(scope="module")
def planted_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[DepthModel, Task, Path, Path]:
    path = tmp_path_factory.mktemp("h")
    folder = planted.switch(path / "m", n_layers=6, layer=3, noise=0.15)
    model = load_model(folder)
    file = planted.prompt_file(path / "p.csv", PAIRS, list(range(12)), planted.WORDINGS)
    return model, load_task(file, model, keep="correct"), folder, file


def file_of(path: Path, text: str) -> Path:
    file = path / "mine.toml"
    file.write_text(text)
    return file


def test_a_file_is_read(tmp_path: Path) -> None:
    first, second = load_hypotheses(file_of(tmp_path, GOOD))
    assert first == Hypothesis(
        name="direction beats norm", first=ABLATE, depths=">= 4", by=0.2,
        second=Condition(intervention="ablate", edit="norm"),
    )  # fmt: skip
    assert (second.expect, second.second, second.family) == ("equivalent", None, "norm")
    assert "by no more than 0.05" in second.says


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (('by = 0.2', 'bye = 0.2'), 7, "unknown key 'bye'; did you mean 'by'"),
        (('edit = "norm" }\ndepths', 'edit = "nrom" }\ndepths'), 5, "edit of ablate must be"),
        (('by = 0.05', 'by = 0'), 15, "by must be above 0 for an equivalence"),
        (('by = 0.05', 'by = "x"'), 15, "by must be a number, got 'x'"),
        (('depths = "late"', 'depths = "7..4"'), 13, "depths must be a number, several"),
        (('"norm does nothing"', '"direction beats norm"'), 10, "two hypotheses named"),
        (('first = { intervention = "ablate", edit = "norm" }\n', ""), 9, "'first' is missing"),
        (('expect = "equivalent"', 'expect = "same"'), 14, "expect must be one of greater"),
        (("edit = \"direction\"", "layer = 3"), 4, "unknown key 'layer'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, change: tuple[str, str], line: int, message: str
) -> None:
    assert change[0] in GOOD
    with pytest.raises(ValueError, match=message) as caught:
        load_hypotheses(file_of(tmp_path, GOOD.replace(*change)))
    assert str(caught.value).startswith(f"mine.toml, line {line}: ")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_hypotheses(tmp_path / "none.toml")
    with pytest.raises(ValueError, match=r"no valid TOML.*line 2"):
        load_hypotheses(file_of(tmp_path, "\nname = no\n"))
    with pytest.raises(ValueError, match="there is no \\[\\[hypothesis\\]\\] table"):
        load_hypotheses(file_of(tmp_path, ""))
    with pytest.raises(ValueError, match="line 1: unknown key 'hypotheses'"):
        load_hypotheses(file_of(tmp_path, "[[hypotheses]]\n"))


def test_lines_are_those_of_toml(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(GOOD.replace("\n", "\r\n").encode())
    assert len(load_hypotheses(file)) == 2
    file.write_bytes(GOOD.replace("\n", "\r").encode())
    with pytest.raises(ValueError, match="no valid TOML"):
        load_hypotheses(file)
    file.write_text("# a\u2028b\n" + GOOD.replace("by = 0.2", "bye = 0.2"))
    with pytest.raises(ValueError, match=r"mine.toml, line 8: unknown key 'bye'"):
        load_hypotheses(file)


@pytest.mark.parametrize(
    ("depths", "expected"),
    [(">= 4", [4, 5]), ("<=1", [0, 1]), ("2..3", [2, 3]), (5, [5]), ((0, 2), [0, 2]),
     ("all", [0, 1, 2, 3, 4, 5])],
)  # fmt: skip
def test_depths_are_parsed(depths: str | int | tuple[int, ...], expected: list[int]) -> None:
    found = parse_depths(depths, 5)
    assert found is not None
    assert found.nonzero()[0].tolist() == expected
    with pytest.raises(ValueError, match="depths 0 to 5 there, got 7"):
        parse_depths(">= 7", 5)
    assert parse_depths("late", 5) is None


def test_known_answers(planted_pair: tuple[DepthModel, Task, Path, Path]) -> None:
    model, task, _, _ = planted_pair
    norm = Condition(intervention="ablate", edit="norm")
    steer = Condition(intervention="steer", position="input")
    found = evaluate_hypotheses(
        model,
        task,
        [
            Hypothesis(name="late", first=ABLATE, second=norm, depths="late", by=0.2),
            Hypothesis(name="early", first=ABLATE, second=norm, depths="early", by=0.2),
            Hypothesis(name="same", first=norm, depths="late", expect="equivalent", by=0.05),
            Hypothesis(name="best", first=steer, depths="best", metric="success", by=0.5),
            Hypothesis(name="less", first=norm, second=ABLATE, depths=4, expect="less", by=0.5),
        ],
    )
    verdicts = [one.verdict for one in found.hypotheses]
    assert verdicts == ["supported", "contradicted", "supported", "supported", "supported"]
    assert found.findings[0].effect == pytest.approx(1, abs=0.02)
    assert found.findings[4].effect == pytest.approx(-1, abs=0.02)


def test_groups_of_pairs_are_compared(planted_pair: tuple[DepthModel, Task, Path, Path]) -> None:
    model, task, _, _ = planted_pair
    parts = [
        Condition(intervention="patch", where={"kind": value}) for value in ("first", "second")
    ]
    from dataclasses import replace

    kind = ["first" if i < 72 else "second" for i in range(len(task))]
    labelled = replace(task, labels=task.labels.assign(kind=kind))
    one = Hypothesis(name="g", first=parts[0], second=parts[1], depths=5, metric="success",
                     expect="equivalent", by=0.1)  # fmt: skip
    found = evaluate_hypotheses(model, labelled, [one])
    assert found.findings[0].effect == pytest.approx(0, abs=0.03)
    with pytest.raises(ValueError, match="no label 'kind'"):
        evaluate_hypotheses(model, task, [one])
    three = Condition(intervention="patch", where={"kind": "third"})
    with pytest.raises(ValueError, match="no prompt has kind = third; there are first, second"):
        evaluate_hypotheses(model, labelled, [Hypothesis(name="g", first=three)])


def test_impossible_depths_are_refused(planted_pair: tuple[DepthModel, Task, Path, Path]) -> None:
    model, task, _, _ = planted_pair
    with pytest.raises(ValueError, match="'h': depths: this model has depths 0 to 6"):
        evaluate_hypotheses(model, task, [Hypothesis(name="h", first=ABLATE, depths=7)])
    block = Condition(intervention="patch", stream="attn_out")
    with pytest.raises(ValueError, match="depths 0 to 5 there, got 6"):
        evaluate_hypotheses(model, task, [Hypothesis(name="h", first=block, depths=6)])
    with pytest.raises(ValueError, match="no hypothesis to test"):
        evaluate_hypotheses(model, task, [])


def test_families_are_corrected_apart(planted_pair: tuple[DepthModel, Task, Path, Path]) -> None:
    model, task, _, _ = planted_pair
    several = [
        Hypothesis(name=f"h{i}", first=ABLATE, depths="late", by=0.2, family=f"f{i // 2}")
        for i in range(3)
    ]
    ps = [one.p for one in evaluate_hypotheses(model, task, several).hypotheses]
    assert ps[0] == ps[1] == pytest.approx(2 * ps[2])  # type: ignore[operator]


def test_it_saves_and_loads(
    planted_pair: tuple[DepthModel, Task, Path, Path], tmp_path: Path
) -> None:
    model, task, _, _ = planted_pair
    found = evaluate_hypotheses(model, task, [Hypothesis(name="h", first=ABLATE, by=0.1)])
    found.save(tmp_path / "h.safetensors")
    again = HypothesisTable.load(tmp_path / "h.safetensors")
    assert (again.hypotheses, again.findings) == (found.hypotheses, found.findings)
    assert found.to_frame().hypothesis.tolist() == ["h"]
    assert "under a final norm" in found.findings[0].reason
    assert layout_of(found.plot()).height > 100


def test_every_metric_that_has_a_name_may_be_asked(
    planted_pair: tuple[DepthModel, Task, Path, Path],
) -> None:
    model, task, _, _ = planted_pair
    steer = Condition(intervention="steer")
    asked = [Hypothesis(name=name, first=ABLATE, metric=name, depths=4) for name in METRICS]
    asked.append(Hypothesis(name="steered", first=steer, metric="kl", depths=4))
    found = {one.key: one for one in evaluate_hypotheses(model, task, asked).findings}
    swept = ablation_sweep(model, task, depths=[4], also=("answer_probability", "flip"))
    at: dict[str, Any] = {"edit": ABLATE.edit, "scope": "local", "position": "prediction"}
    after = swept.of("answer_probability", **at).double().mean().item()
    before = swept.outcome.unedited("base", "answer_probability").double().mean().item()
    assert after - before > 0.5
    assert found["answer_probability"].effect == pytest.approx(after - before, abs=1e-6)
    assert found["flip"].effect == pytest.approx(swept.of("flip", **at).double().mean().item())
    steered = steering_sweep(model, task, positions=("prediction",), depths=[4], also=("kl",))
    moved = steered.of("kl", edit="full", scope="local", position="prediction")
    assert found["steered"].effect == pytest.approx(moved.double().mean().item(), rel=1e-5)


def test_the_command_line(
    planted_pair: tuple[DepthModel, Task, Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, _, folder, prompts = planted_pair
    given = ["claims", "--model", str(folder), "--prompts", str(prompts)]
    mine = ["--hypotheses", str(file_of(tmp_path, GOOD)), "--json"]
    assert main([*given, *mine]) == 0
    found = json.loads(capsys.readouterr().out)
    verdicts = {one["hypothesis"]: one["verdict"] for one in found["summary"]["hypotheses"]}
    assert verdicts == {"direction beats norm": "supported", "norm does nothing": "supported"}
    assert main([*given, *mine, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["edited_runs"] == sum(one["edited_runs"] for one in plan["sweeps"]) > 0
    assert plan["weights_bytes"] > 0
    bare = [*given, "--twins", "0"]
    assert main([*bare, "--json"]) == 0
    claims = json.loads(capsys.readouterr().out)["summary"]["claims"]
    assert [one["claim"] for one in claims] == [f"C{i}" for i in range(1, 7)] + [
        "C7a",
        "C7b",
        "C7c",
    ]
    assert main([*bare, "--against", str(folder)]) == 0
    assert "passes at" in capsys.readouterr().out


def test_a_label_that_the_prompts_lack_is_named_before_a_model_is_loaded(
    planted_pair: tuple[DepthModel, Task, Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = GOOD.replace('edit = "direction" }', 'edit = "direction", where = { beta = 2 } }')
    mine = str(file_of(tmp_path, text))
    prompts = str(planted_pair[3])
    assert main(["claims", "--model", "none", "--prompts", prompts, "--hypotheses", mine]) == 2
    assert "mine.toml, line 4: hypothesis 'direction beats norm': the prompts have no label" in (
        capsys.readouterr().err
    )


def test_what_the_model_lacks_is_named_before_its_weights_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded before the file was checked")

    monkeypatch.setattr("lensdepth.model.load_model", never)
    mine = str(file_of(tmp_path, GOOD.replace('depths = "late"', "depths = 11", 1)))
    assert main(["claims", "--hypotheses", mine, "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "mine.toml, line " in said
    assert "this model has depths 0 to 10" in said
    text = GOOD.replace('edit = "direction" }', 'edit = "direction", where = { bet = 2 } }')
    assert main(["claims", "--hypotheses", str(file_of(tmp_path, text))]) == 2
    assert "the prompts have no label 'bet'; there are alpha, beta" in capsys.readouterr().err
