"""Sweeps over models, tasks and analyses: what is read, cut, kept and collected."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from lensdepth import (
    Sweep,
    ablation_sweep,
    confidence_response,
    find_landmarks,
    load_model,
    load_task,
    logit_lens,
    run_sweep,
    stats,
    subspace_sweep,
)
from lensdepth.bundled import bundled_path
from lensdepth.cli import main
from lensdepth.model import DepthModel
from lensdepth.scale.config import ConfigError, read_config
from lensdepth.scale.lines import lines_of
from lensdepth.scale.probe import plan_sweep
from lensdepth.scale.prompts import make_task, prompt_faults
from lensdepth.scale.shards import slices
from lensdepth.unfinished import alone_in

pytestmark = pytest.mark.long

TASK = {"task": "months", "template": "all", "n": 13, "keep": "correct"}
CONFIG: dict[str, Any] = {
    "pairs_per_shard": 5,
    "models": [{"model": "tiny"}],
    "tasks": [TASK],
    "analyses": [{"analysis": "lens"}, {"analysis": "ablate"}],
}
QUICK = CONFIG | {"analyses": [{"analysis": "lens"}]}


def with_(**changes: Any) -> dict[str, Any]:
    return CONFIG | changes


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Three slices of two analyses."""
    return run_sweep(CONFIG, tmp_path_factory.mktemp("swept") / "out")


@pytest.fixture(scope="module")
def task(trained: DepthModel) -> Any:
    return load_task("months", trained, template="all", n=13, keep="correct")


# ---------------------------------------------------------------- configuration


def faults_of(given: str | Mapping[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read_config(given)
    return caught.value.faults


def test_every_error_of_a_configuration_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        'sead = 1\npairs_per_shard = 0\n[[models]]\nmodel = "tinny"\n[[tasks]]\ntask = "month"\n'
        'kep = "all"\n[[analyses]]\nanalysis = "pach"\n[[analyses]]\nanalysis = "patch"\n'
        'settings = { mode = "denoisy", depths = "auto" }\n[ray]\nworker = 2\n'
        '[[models]]\nmodel = "tiny"\ndtypes = ["float33"]\n[[tasks]]\ntask = "months"\nn = 0\n'
    )
    said = faults_of(str(tmp_path / "c.toml"))
    assert [fault.split(":")[0] for fault in said] == [
        f"c.toml, line {n}" for n in (1, 2, 4, 6, 7, 9, 12, 12, 14, 17, 20)
    ]
    for hint in (
        "seed",
        "'tiny'",
        "months",
        "keep",
        "patch",
        "denoise",
        "all pairs",
        "workers",
        "bfloat16",
    ):
        assert any(hint in fault for fault in said), hint


def test_lines_are_found_between_texts_and_lists_of_several_lines() -> None:
    text = '[[a]]\nx = [\n  1,\n]\n[[a]]\n[a.b]\nc.d = """\nx = 1\n"""\ny = 2\n'
    found = lines_of(text)
    assert found[("a", 0, "x")] == 2
    assert found[("a", 1, "b", "c", "d")] == 7
    assert found[("a", 1, "b", "y")] == 10
    assert ("a", 1, "b", "x") not in found


def test_every_line_of_a_prompt_file_is_judged_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lensdepth.scale.work.load_model", None)
    good = '{"clean": "a", "corrupted": "b", "target": "x", "foil": "y"}\n'
    bad = '{"clean": "a", "corrupted": 3, "target": "x", "foil": "y"}\n'
    (tmp_path / "p.jsonl").write_text(good + "{\n" + good + bad + '{"clean": "a"}\n')
    (tmp_path / "q.csv").write_text("prompt\na\n")
    tasks = [{"prompts": str(tmp_path / name)} for name in ("p.jsonl", "q.csv", "r.jsonl")]
    with pytest.raises(ConfigError) as caught:
        run_sweep(with_(tasks=tasks), tmp_path / "out")
    said = caught.value.faults
    assert [line for line in said if "line 2: not JSON" in line]
    assert [line for line in said if "line 4: corrupted must be text" in line]
    assert [line for line in said if "line 5: corrupted is missing" in line]
    assert [line for line in said if "q.csv" in line and "ablate needs pairs" in line]
    assert [line for line in said if "r.jsonl" in line and "does not exist" in line]
    assert len(said) == 5
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError) as caught:  # beside those of the configuration
        run_sweep(with_(tasks=tasks, sead=1), tmp_path / "out")
    assert len(caught.value.faults) == 6


def test_settings_vary_and_models_come_in_dtypes() -> None:
    vary = {
        "analysis": "patch",
        "settings": {"also": ["kl"]},
        "vary": {"mode": ["denoise", "noise"]},
    }
    models = [{"model": "tiny", "dtypes": ["float32", "bfloat16"]}]
    read = read_config(with_(models=models, analyses=[vary]))
    assert [one.dtype for one in read.models] == ["float32", "bfloat16"]
    assert [one.settings for one in read.analyses] == [
        {"also": ["kl"], "mode": mode} for mode in ("denoise", "noise")
    ]


def test_the_example_runs_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--init"]) == 0
    (tmp_path / "s.toml").write_text(capsys.readouterr().out)
    assert main(["sweep", str(tmp_path / "s.toml"), "--out", str(tmp_path / "o"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["shards"] >= 8
    asked = ["--to", "t.parquet", "--means", "m.csv", "--figure", "f.html"]
    asked = [str(tmp_path / a) if "." in a else a for a in asked]
    assert main(["sweep", "--collect", str(tmp_path / "o"), *asked]) == 0
    means = pd.read_csv(tmp_path / "m.csv")
    assert set(means["analysis"]) == {"lens", "patch", "ablate"}
    assert "plotly" in (tmp_path / "f.html").read_text()[:5_000_000]


# ---------------------------------------------------------------- shards


@pytest.mark.parametrize(("n", "longest"), [(1, 5), (5, 5), (6, 5), (11, 5), (64, 64), (129, 64)])
def test_slices_cover_all_pairs_once_and_none_is_much_shorter(n: int, longest: int) -> None:
    found = list(slices(n, longest))
    assert [i for start, stop in found for i in range(start, stop)] == list(range(n))
    sizes = [stop - start for start, stop in found]
    assert max(sizes) <= longest
    assert max(sizes) - min(sizes) <= 1


def test_slices_give_what_the_whole_task_gives(
    swept: Sweep, trained: DepthModel, task: Any
) -> None:
    """Rows of pairs are those of one analysis of all of them; means and intervals as well."""
    frame = swept.to_frame()
    lens, own = frame[frame["analysis"] == "lens"], logit_lens(trained, task)
    at = lens.sort_values(["depth", "pair"])
    assert at["pair"].tolist() == [*range(13)] * 4
    whole = own.to_frame()
    for name in ("kl", "contrast", "target_rank"):
        np.testing.assert_allclose(at[name], whole[name], atol=1e-4)
    assert "answer_kl" not in frame  # over the answers of other pairs
    ablated = ablation_sweep(trained, task)
    means = swept.means()
    mine = means[
        (means["analysis"] == "ablate") & (means["edit"] == "norm")
        & (means["quantity"] == "transferred")
    ]  # fmt: skip
    values = ablated.of("transferred", edit="norm", scope="local", position="prediction")
    expected = stats.mean_interval(values.numpy(), units=task.units)
    for name, numbers in zip(("mean", "low", "high"), expected, strict=True):
        np.testing.assert_allclose(mine[name], numbers, atol=1e-4)
    assert set(mine["pairs"]) == {13}


def test_one_slice_is_the_analysis_itself(tmp_path: Path, trained: DepthModel, task: Any) -> None:
    made = run_sweep(with_(pairs_per_shard=13), tmp_path / "out")
    frame = made.to_frame()
    ablate = frame[frame["analysis"] == "ablate"].reset_index(drop=True)
    whole = ablation_sweep(trained, task).to_frame()
    for name in ("edit", "depth", "logit_diff", "angle"):
        assert ablate[name].tolist() == whole[name].tolist(), name


def test_what_reads_all_prompts_together_is_one_shard_and_keeps_the_pairs_numbers(
    tmp_path: Path,
) -> None:
    """Steering leaves pairs out whose labels no other prompt has."""
    made = run_sweep(
        with_(
            tasks=[TASK | {"n": 24}],
            analyses=[{"analysis": "steer"}, {"analysis": "geometry"}, {"analysis": "lens"}],
        ),
        tmp_path / "out",
    )
    assert [one.n_pairs for one in made.shards] == [24, 24, 4, 5, 5, 5, 5]
    frame = made.to_frame()
    steer = frame[frame["analysis"] == "steer"].drop_duplicates("pair").set_index("pair")
    lens = frame[frame["analysis"] == "lens"].drop_duplicates("pair").set_index("pair")
    assert 0 < len(steer) < 24
    inputs = lens.loc[steer.index, "unit_input_word"]
    assert steer["unit_input_word"].tolist() == inputs.tolist()
    assert frame[frame["analysis"] == "geometry"]["pair"].isna().all()


def test_questions_beyond_the_study_are_swept_as_they_are_asked(
    trained: DepthModel, tmp_path: Path
) -> None:
    """Their rows are those of the functions, and so are their means."""
    asked = {
        "confidence": {"factors": [0.5, 2.0]},
        "subspaces": {"dims": [1, 4], "bases": ["pca"]},
        "landmarks": {"n_halves": 20},
    }
    analyses = [{"analysis": name, "settings": settings} for name, settings in asked.items()]
    made = run_sweep(with_(tasks=[TASK | {"n": 24}], analyses=analyses), tmp_path / "out")
    assert [one.n_pairs for one in made.shards] == [24, 24, 24]
    task, frame = load_task("months", trained, template="all", n=24), made.to_frame()
    rows = {name: frame[frame["analysis"] == name].reset_index(drop=True) for name in asked}
    confidence = confidence_response(trained, task, factors=(0.5, 2.0))
    scaled = confidence.to_frame()
    subspaces = subspace_sweep(trained, task, dims=(1, 4), bases=("pca",)).to_frame()
    landmarks = find_landmarks(trained, task, n_halves=20).to_frame()
    for name, own, column in (
        ("confidence", scaled, "entropy"),
        ("subspaces", subspaces, "transferred"),
        ("landmarks", landmarks, "difference"),
    ):
        assert rows[name][column].to_numpy() == pytest.approx(own[column], nan_ok=True), name
    assert rows["landmarks"]["verdict"].tolist() == landmarks["verdict"].tolist()
    means = made.means()
    halved = means.query("quantity == 'entropy' and edit == 'norm' and factor == 0.5")
    own = confidence.of("entropy", edit="norm", factor=0.5).nanmean(0)
    assert halved["mean"].to_numpy() == pytest.approx(own.numpy())
    placed = means[means["analysis"] == "landmarks"].set_index("landmark")
    own = landmarks.set_index("landmark")[["depth", "low", "high"]].to_numpy()
    assert placed[["mean", "low", "high"]].to_numpy() == pytest.approx(own, nan_ok=True)


# ---------------------------------------------------------------- files


def test_the_table_is_read_by_arrow_and_pandas_with_plain_types(
    swept: Sweep, tmp_path: Path
) -> None:
    n = swept.write_table(tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    assert len(table) == n == len(swept.to_frame())
    assert {str(field.type) for field in table.schema} == {"string", "int64", "double"}
    assert table.column_names[:9] == [
        "model", "revision", "dtype", "task", "analysis", "settings", "shard", "pair", "depth"
    ]  # fmt: skip
    text = (tmp_path / "t.parquet").read_bytes()
    assert b"seconds" not in text  # no time: the same sweep is the same file


def test_the_manifest_says_what_was_run(swept: Sweep) -> None:
    told = json.loads((swept.folder / "manifest.json").read_text())
    assert told["models"][0]["info"]["fingerprint"] == load_model("tiny").info.fingerprint
    assert told["models"][0]["tasks"][0]["pairs"] == 13
    assert [shard["part"] for shard in told["shards"]] == [one.part for one in swept.shards]
    assert all({"sha256", "rows", "seconds", "finished"} <= set(s) for s in told["shards"])


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "receipt"])
def test_damage_is_found_and_made_anew(tmp_path: Path, damage: str) -> None:
    """In every part, at a random byte."""
    made = run_sweep(QUICK, tmp_path / "out")
    made.write_table(tmp_path / "before.parquet")
    rng = np.random.default_rng(0)
    for shard in made.shards:
        path = made.folder / (shard.receipt if damage == "receipt" else shard.part)
        data = bytearray(path.read_bytes())
        at = int(rng.integers(len(data)))
        if damage == "gone":
            path.unlink()
            continue
        if damage == "flip":
            data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data[:at] if damage in ("cut", "receipt") else data)
    with pytest.raises(ValueError, match=r"run the sweep again|run again"):
        made.write_table(tmp_path / "damaged.parquet")
    events: list[dict[str, Any]] = []
    run_sweep(QUICK, made.folder, watch=events.append).write_table(tmp_path / "after.parquet")
    assert sum(event["event"] == "shard" for event in events) == len(made.shards)
    before, after = ((tmp_path / f"{n}.parquet").read_bytes() for n in ("before", "after"))
    assert before == after


def test_kept_tasks_are_the_tasks_and_are_made_anew_when_damaged(tmp_path: Path) -> None:
    made = run_sweep(QUICK, tmp_path / "out")
    before = made.to_frame()
    (kept,) = (made.folder / "tasks").iterdir()
    asked: list[Any] = []
    for damage in (False, True):
        (made.folder / made.shards[0].receipt).unlink()
        if damage:
            kept.write_bytes(kept.read_bytes()[:-1] + b"x")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "lensdepth.scale.work.make_task", lambda *args: asked.append(1) or make_task(*args)
            )
            pd.testing.assert_frame_equal(run_sweep(QUICK, made.folder).to_frame(), before)
        assert len(asked) == damage


def test_what_is_done_is_not_done_again(swept: Sweep) -> None:
    events: list[dict[str, Any]] = []
    run_sweep(CONFIG, swept.folder, watch=events.append)
    assert [event["event"] for event in events] == ["model", "resumed", "finished"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "configuration.seed is 0 there and 1 here"),
        ({"pairs_per_shard": 6}, "configuration.pairs_per_shard is 5 there and 6 here"),
        ({"tasks": [TASK | {"n": 14}]}, r"tasks\[0\].options.n is 13 there and 14 here"),
        ({"analyses": CONFIG["analyses"][:1]}, "analyses has 2 entries there and 1 here"),
        ({"models": [{"model": "calendar", "name": "tiny"}]}, "models.tiny.*fingerprint"),
    ],
)
def test_another_sweep_is_not_mixed_in(swept: Sweep, change: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run_sweep(with_(**change), swept.folder)


def test_changed_weights_and_prompts_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundled_path("tiny"), folder)
    pairs = tmp_path / "pairs.jsonl"
    load_task("months", load_model("tiny"), n=4).to_frame()[
        ["clean", "corrupted", "target", "foil"]
    ].to_json(pairs, orient="records", lines=True)
    given = QUICK | {"models": [{"model": str(folder)}], "tasks": [{"prompts": str(pairs)}]}
    run_sweep(given, tmp_path / "out")
    text = pairs.read_text()
    pairs.write_text(text.replace("One", "Two"))
    with pytest.raises(ValueError, match=r"prompts.pairs is .* there and .* here"):
        run_sweep(given, tmp_path / "out")
    pairs.write_text(text)
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    weights[name] = weights[name] + torch.finfo(torch.float32).eps
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"models.model.fingerprint is .* there and .* here"):
        run_sweep(given, tmp_path / "out")


def test_two_runs_in_one_folder_are_one_too_many(swept: Sweep) -> None:
    with (
        alone_in(swept.folder, caller="run_sweep"),
        pytest.raises(ValueError, match=r"another run \(process \d+\) is at work"),
    ):
        run_sweep(CONFIG, swept.folder)


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other things \('thesis.tex'\)"):
        run_sweep(CONFIG, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_that_was_killed_before_its_manifest_is_gone_on_with(tmp_path: Path) -> None:
    made = run_sweep(QUICK, tmp_path / "out")
    before = made.to_frame()
    shutil.rmtree(made.folder / "parts")
    (made.folder / "manifest.json").unlink()
    assert (made.folder / "tasks").is_dir()
    pd.testing.assert_frame_equal(run_sweep(QUICK, made.folder).to_frame(), before)


def test_a_shard_that_cannot_be_run_stops_no_other(tmp_path: Path) -> None:
    """Steering needs labels that other prompts have as well."""
    few = with_(
        tasks=[{"task": "capitals", "n": 6}],
        analyses=[{"analysis": "steer"}, {"analysis": "lens"}],
    )
    events: list[dict[str, Any]] = []
    with pytest.raises(ValueError, match="1 of 3 shards could not be run, the first, tiny, capit"):
        run_sweep(few, tmp_path / "out", watch=events.append)
    assert [e["event"] for e in events] == [
        "model", "planned", "failed", "shard", "shard", "finished"
    ]  # fmt: skip

    made = Sweep.open(tmp_path / "out")
    assert [one.number for one in made.missing] == [0]
    with pytest.raises(ValueError, match="1 of 3 shards are missing"):
        made.means()
    assert set(made.means(partial=True)["analysis"]) == {"lens"}


# ---------------------------------------------------------------- foreseen


def test_a_plan_counts_what_is_run(tmp_path: Path, swept: Sweep) -> None:
    plan = plan_sweep(CONFIG)
    frame = plan.to_frame()
    assert frame["shards"].tolist() == [3, 3]
    assert plan.n_shards == len(swept.shards)
    assert frame["runs"][0] == 0
    assert frame["runs"][1] > 13 * 4 * 3  # three edits at four depths, and controls
    assert frame["seconds"].notna().all()


def test_the_command_says_all_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, out = tmp_path / "s.toml", tmp_path / "out"
    place.write_text('sead = 1\n[[models]]\nmodel = "tiny"\n[[tasks]]\ntask = "month"\n')
    for way in ("--validate", "--dry-run", f"--out={out}"):
        assert main(["sweep", str(place), way]) == 2
        said = capsys.readouterr().err.splitlines()
        assert [line.split(":")[1] for line in said[:3]] == [
            " s.toml, line 1", " s.toml, line 1", " s.toml, line 5"
        ]  # fmt: skip
        assert said[3] == "lensdepth: 3 errors; nothing was run."
    place.write_text(
        '[[models]]\nmodel = "tiny"\n[[tasks]]\ntask = "months"\nn = 4\n'
        '[[analyses]]\nanalysis = "lens"\n'
    )
    assert main(["sweep", str(place), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"]["shards"] == 1
    assert told["rows"][0]["pairs"] == 4
    assert not out.exists()


def test_first_rows_are_streamed(tmp_path: Path, trained: DepthModel) -> None:
    """Of a file, and of a folder that is a data set."""
    frame = load_task("months", trained, n=6).to_frame()[["clean", "corrupted", "target", "foil"]]
    (tmp_path / "data").mkdir()
    for place in (tmp_path / "p.jsonl", tmp_path / "data" / "train.jsonl"):
        frame.to_json(place, orient="records", lines=True)
    for source in ("p.jsonl", "data"):
        read = read_config(QUICK | {"tasks": [{"prompts": str(tmp_path / source), "first": 4}]})
        assert prompt_faults(read.tasks, read.analyses) == []
        made = make_task(read.tasks[0], trained, 0)
        assert list(made.clean) == frame["clean"][:4].tolist()


def test_a_pipe_gets_one_line_and_the_log_each_event(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[[models]]\nmodel = "tiny"\n[[tasks]]\ntask = "months"\nn = 4\n'
        '[[analyses]]\nanalysis = "lens"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "lensdepth", "sweep", "s.toml", "--out", "o", "--json-log", "l"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    events = [json.loads(line) for line in (tmp_path / "l").read_text().splitlines()]
    assert [event["event"] for event in events] == ["model", "planned", "shard", "finished"]
    assert events[2]["done"] == events[2]["total"] == 1
