"""Captures: the same numbers as the model, read lazily, whole after any end of the run."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import architectures
import numpy as np
import pytest
import torch
from conftest import Load
from safetensors.torch import save_file

from lensdepth import (
    Capture,
    DepthModel,
    ResidualStream,
    Task,
    capture,
    captured_geometry,
    captured_lens,
    geometry_profile,
    load_model,
    load_task,
    logit_lens,
)
from lensdepth.captures import shards
from lensdepth.cli import main
from lensdepth.provenance import Backend
from lensdepth.untrained import untrained

N_PROMPTS, SMALL = 24, 2**11
"""Prompts, and bytes of a shard: one holds four of their last tokens."""


@pytest.fixture(scope="module")
def model() -> DepthModel:
    return load_model("tiny")


@pytest.fixture(scope="module")
def task(model: DepthModel) -> Task:
    return load_task("months", model, n=N_PROMPTS)


@pytest.fixture
def made(model: DepthModel, task: Task, tmp_path: Path) -> Capture:
    return capture(model, task, tmp_path / "states", readout=True, shard_bytes=SMALL)


close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4, equal_nan=True)
"""States of other batches differ by rounding."""


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# ---------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("positions", ["last", "all", "input"])
@pytest.mark.parametrize("side", ["clean", "corrupted"])
def test_states_are_those_of_the_model(
    model: DepthModel, task: Task, tmp_path: Path, positions: str, side: str
) -> None:
    kept = capture(model, task, tmp_path / "s", positions=positions, side=side, shard_bytes=SMALL)  # type: ignore[arg-type]
    assert len(kept.shards) > 2
    batch = task.clean_tokens if side == "clean" else task.corrupted_tokens
    assert batch is not None
    own = task.input_positions if side == "clean" else task.corrupted_input_positions
    asked = own if positions == "input" else positions
    direct = model.residual_stream(batch, asked)  # type: ignore[arg-type]
    opened = ResidualStream.open(tmp_path / "s").stream()
    torch.testing.assert_close(opened.resid, direct.resid)
    assert torch.equal(opened.positions, direct.positions)
    assert torch.equal(opened.tokens.lengths, direct.tokens.lengths)
    assert opened.info == model.info
    some = [3, -1, 0]
    assert torch.equal(kept.read(depths=[2, 0], prompts=some), opened.resid[[2, 0]][:, some])


def test_prompts_of_several_lengths(model: DepthModel, tmp_path: Path) -> None:
    prompts = ["two months from January is", "May", "five days from Monday is"]
    kept = capture(model, prompts, tmp_path / "s", positions="all", shard_bytes=1)
    assert len(kept.shards) == 3
    direct = model.residual_stream(prompts, "all")
    torch.testing.assert_close(kept.stream().resid, direct.resid)  # of other batches
    assert torch.equal(kept.positions, direct.positions)
    assert kept.task is None


def test_a_task_comes_back_as_it_was(made: Capture, task: Task) -> None:
    assert made.task is not None
    assert made.task.to_frame().equals(task.to_frame())
    assert (made.task.units, made.task.origin) == (task.units, task.origin)


def test_geometry_and_lens_need_no_model(made: Capture, model: DepthModel, task: Task) -> None:
    options = {"n_resamples": 20, "n_permutations": 20, "seed": 3}
    own = geometry_profile(model, task, **options)  # type: ignore[arg-type]
    found = captured_geometry(ResidualStream.open(made.folder), **options)  # type: ignore[arg-type]
    assert found.measures == own.measures
    assert "angle_js" in found.measures
    for name in ("value", "low", "pair_angle", "pair_js", "cka", "step_angle"):
        close(getattr(found, name), getattr(own, name))
    assert found.curvature.isnan().all()  # one token a prompt is no path
    read, direct = captured_lens(made), logit_lens(model, task)
    for name in ("kl", "entropy", "target_rank", "foil_log_prob", "top_tokens"):
        close(getattr(read, name), getattr(direct, name))
    assert read.vocabulary == direct.vocabulary


def test_curvature_comes_of_whole_prompts(model: DepthModel, task: Task, tmp_path: Path) -> None:
    kept = capture(
        model, task, tmp_path / "s", positions="all", readout=True, shard_bytes=4 * SMALL
    )
    options = {"n_resamples": 2, "n_permutations": 2}
    found = captured_geometry(kept, **options)  # type: ignore[arg-type]
    own = geometry_profile(model, task, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(found.curvature, own.curvature)


def test_centroids_are_means_by_label(made: Capture, model: DepthModel, task: Task) -> None:
    resid = model.residual_stream(task.clean_tokens).resid
    found = made.centroids("alpha")
    assert set(found) == set(task.labels["alpha"])
    for value, centroid in found.items():
        rows = (task.labels["alpha"] == value).to_numpy()
        torch.testing.assert_close(centroid, resid[:, rows].mean(1))
    with pytest.raises(ValueError, match="no label 'word'; there are alpha"):
        made.centroids("word")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_states_are_kept_in_the_dtype_that_made_them(
    task: Task, tmp_path: Path, dtype: str
) -> None:
    narrow = load_model("tiny", dtype=dtype)
    kept = capture(narrow, task, tmp_path / "s", readout=True)
    assert kept.dtype == dtype
    states = narrow.residual_stream(task.clean_tokens).resid
    assert torch.equal(kept.read(), states)
    wanted = narrow.readout(states)
    assert (kept.readout(states) - wanted).abs().max() <= 0.05 * wanted.abs().max()


@pytest.mark.parametrize("architecture", architectures.CONFIGS)
def test_the_readout_of_every_architecture_is_kept(
    load_tiny: Load, backend: Backend, tmp_path: Path, architecture: str
) -> None:
    """Layer norms with biases, weights that are added to 1, caps: as the model has them."""
    tiny = load_tiny(architecture, backend)
    prompts = list(architectures.PROMPTS)
    kept = capture(tiny, prompts, tmp_path / "s", positions="all", readout=True)
    states = tiny.residual_stream(prompts).resid
    torch.testing.assert_close(kept.readout(states), tiny.readout(states), rtol=1e-5, atol=1e-5)


def test_logits_that_are_scaled_are_refused(load_tiny: Load, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in another way than by a norm"):
        capture(load_tiny("granite", "bridge"), "May", tmp_path / "s", readout=True)


def test_a_readout_that_is_another_is_not_kept(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = load_model("tiny")
    own = other.ending.read
    monkeypatch.setattr(other.ending, "read", lambda *args, **how: own(*args, **how).sinh())
    with pytest.raises(ValueError, match="in another way than by a norm"):
        capture(other, task, tmp_path / "s", readout=True)
    assert not [*(tmp_path / "s").glob("shard-*")]  # before any shard is made


# ---------------------------------------------------------------- lazily


def test_only_what_is_asked_for_is_read(made: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, str]] = []
    own = shards.read_tensor

    def counting(path: Path, name: str, known: str, *, caller: str) -> torch.Tensor:
        read.append((path.name, name))
        return own(path, name, known, caller=caller)

    monkeypatch.setattr("lensdepth.captures.opened.read_tensor", counting)
    opened = ResidualStream.open(made.folder)
    assert len(opened) == N_PROMPTS
    assert read == []
    last = made.shards[-1]
    opened.read(depths=[1], prompts=[last["first"]])
    assert read == [(last["file"], "depth.1")]


def test_a_damaged_shard_spoils_no_other(made: Capture) -> None:
    first, second = made.shards[:2]
    (made.folder / first["file"]).write_bytes(b"x" * 100)
    opened = ResidualStream.open(made.folder)
    opened.read(prompts=slice(second["first"], None))
    with pytest.raises(ValueError, match=r"shard-00000.safetensors' is damaged \(capture again"):
        opened.read()


# ---------------------------------------------------------------- whole or not at all


@pytest.mark.parametrize("how", ["truncated", "flipped", "removed", "emptied"])
def test_what_is_damaged_is_made_anew(
    made: Capture, model: DepthModel, task: Task, how: str
) -> None:
    before, drawn = contents(made.folder), random.Random(how)
    for file in [shard["file"] for shard in made.shards] + ["readout.safetensors"]:
        path = made.folder / file
        whole = before[file]
        # Behind the header: one of its blanks may change and nothing is wrong.
        at = drawn.randrange(8 + int.from_bytes(whole[:8], "little"), len(whole))
        if how == "removed":
            path.unlink()
            with pytest.raises(FileNotFoundError, match=f"{file}.* missing; capture again"):
                ResidualStream.open(made.folder).ending  # noqa: B018
        else:
            flipped = whole[:at] + bytes([whole[at] ^ (1 << drawn.randrange(8))]) + whole[at + 1 :]
            path.write_bytes({"truncated": whole[:at], "flipped": flipped, "emptied": b""}[how])
            opened = ResidualStream.open(made.folder)
            with pytest.raises(ValueError, match=f"{file}.* is damaged"):
                opened.readout(opened.read())
        capture(model, task, made.folder, readout=True, shard_bytes=SMALL)
        assert contents(made.folder) == before


def test_a_damaged_index_says_so(made: Capture, model: DepthModel, task: Task) -> None:
    path = made.folder / "capture.json"
    text = path.read_text()
    path.write_text(text.replace('"side": "clean"', '"side": "corrupted"'))
    with pytest.raises(ValueError, match="is damaged: it is not what was written"):
        ResidualStream.open(made.folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="there is no capture in"):
        ResidualStream.open(made.folder)
    capture(model, task, made.folder, readout=True, shard_bytes=SMALL)
    assert path.read_text() == text


def test_only_missing_shards_are_run(
    made: Capture, model: DepthModel, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = made.shards[1]
    (made.folder / lost["file"]).unlink()
    asked: list[int] = []
    own = DepthModel.read

    def counting(self: DepthModel, prompts: object, *args: object, **options: object) -> object:
        asked.append(len(prompts))  # type: ignore[arg-type]
        return own(self, prompts, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(DepthModel, "read", counting)
    capture(model, task, made.folder, readout=True, shard_bytes=SMALL)
    assert asked == [lost["stop"] - lost["first"]]


def test_a_full_disk_is_one_line_and_what_is_there_stays(
    made: Capture, model: DepthModel, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, own = tmp_path / "full", shards.write_shard

    def full(path: Path, *rest: object) -> dict[str, str]:
        if path.name == "shard-00002.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return own(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("lensdepth.captures.make.write_shard", full)
    with pytest.raises(OSError, match="No space left on device"):
        capture(model, task, folder, readout=True, shard_bytes=SMALL)
    monkeypatch.undo()
    assert len([*folder.glob("shard-*")]) == 2
    with pytest.raises(ValueError, match=r"unfinished \(2 of 6 shards are there\)"):
        ResidualStream.open(folder)
    capture(model, task, folder, readout=True, shard_bytes=SMALL)
    assert contents(folder) == contents(made.folder)


PROGRAM = """
import os, random, sys, time
from pathlib import Path
from lensdepth import capture, load_model, load_task

folder, number, n_kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
model = load_model("tiny")
task = load_task("months", model, n=48)
drawn, n = random.Random(number), 0
for point in range(n_kills):
    more = len([*folder.glob("shard-*")]) + drawn.randint(0, 3)
    child = os.fork()
    if not child:
        capture(model, task, folder, readout=True, shard_bytes=2000, positions="all")
        os._exit(0)
    while len([*folder.glob("shard-*")]) < more and not os.waitid(
        os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
    ):
        time.sleep(0.0002)
    time.sleep(drawn.random() * 0.01)
    os.kill(child, number)
    n += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
print(n)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_capture_goes_on(
    model: DepthModel, tmp_path: Path, number: signal.Signals
) -> None:
    """Killed at random points again and again; what is there in the end is what one run makes."""
    folder = tmp_path / "states"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(int(number)), "20"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15  # the last ones may come too late
    with pytest.raises(ValueError, match=r"is unfinished \("):
        ResidualStream.open(folder)
    task, whole = load_task("months", model, n=48), tmp_path / "whole"
    for place in (folder, whole):
        capture(model, task, place, readout=True, shard_bytes=2000, positions="all")
    assert contents(folder) == contents(whole)


# ---------------------------------------------------------------- one folder, one capture


def test_a_second_run_on_a_folder_refuses(
    model: DepthModel, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, said = DepthModel.read, []

    def meanwhile(self: DepthModel, *args: object, **options: object) -> object:
        if not said:
            said.append("")
            with pytest.raises(ValueError, match="is at work in") as caught:
                capture(model, task, tmp_path / "s")
            said[0] = str(caught.value)
        return own(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(DepthModel, "read", meanwhile)
    capture(model, task, tmp_path / "s")
    assert said[0].startswith("capture: another run (process ")
    assert len(ResidualStream.open(tmp_path / "s")) == N_PROMPTS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m, t: (untrained(m), t, {}), "of another model: its fingerprint is '"),
        (lambda m, t: (m, t.select(range(20)), {}), "of other prompts"),
        (lambda m, t: (m, t, {"positions": "all"}), "with other positions"),
        (lambda m, t: (m, t, {"depths": [1, 2]}), r"with other depths: '?\[0, 1, 2, 3\]'?, and"),
        (lambda m, t: (m, t, {"side": "corrupted"}), "of other prompts"),
        (lambda m, t: (m, t, {"shard_bytes": 1}), r"with other prompts in a shard \(shard_bytes"),
    ],
)
def test_what_differs_is_not_mixed(
    made: Capture,
    model: DepthModel,
    task: Task,
    change: Callable[[DepthModel, Task], tuple[DepthModel, Task, dict[str, object]]],
    said: str,
) -> None:
    before = contents(made.folder)
    other, prompts, options = change(model, task)
    with pytest.raises(ValueError, match=said):
        capture(other, prompts, made.folder, **{"shard_bytes": SMALL, **options})  # type: ignore[arg-type]
    assert contents(made.folder) == before


def test_a_folder_of_other_things_is_left_alone(
    model: DepthModel, task: Task, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other files \('notes.txt'\) and no capture"):
        capture(model, task, tmp_path)
    with pytest.raises(FileNotFoundError, match="absent/states' cannot be written: No such file"):
        capture(model, task, tmp_path / "absent" / "states")


def test_a_readout_can_be_added(model: DepthModel, task: Task, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    plain = capture(model, task, folder)
    with pytest.raises(ValueError, match="made without the model's readout"):
        captured_lens(plain)
    before = contents(folder)
    assert captured_lens(capture(model, task, folder, readout=True)).kl.isfinite().all()
    assert {name: contents(folder)[name] for name in before if name != "capture.json"} == {
        name: content for name, content in before.items() if name != "capture.json"
    }
    assert capture(model, task, folder).has_readout  # what is there stays


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depths": [3, 1]}, "depths must ascend within 0...3"),
        ({"depths": [4]}, "depths must ascend within 0...3"),
        ({"shard_bytes": 0}, "shard_bytes must be at least 1"),
    ],
)
def test_bad_options_are_refused_before_any_folder_is_made(
    model: DepthModel, task: Task, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        capture(model, task, tmp_path / "s", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a task of pairs"):
        capture(model, "May", tmp_path / "s", side="corrupted")
    with pytest.raises(ValueError, match="needs a task with input positions"):
        capture(model, "May", tmp_path / "s", positions="input")
    assert not (tmp_path / "s").exists()


def test_some_depths_are_no_stream(model: DepthModel, task: Task, tmp_path: Path) -> None:
    kept = capture(model, task, tmp_path / "s", depths=[1, 3])
    assert kept.depths == (1, 3)
    with pytest.raises(ValueError, match=r"needs all depths 0\.\.\.3; .* holds 1, 3"):
        kept.stream()
    with pytest.raises(ValueError, match="depth 2 was not kept; there are 1, 3"):
        kept.read(depths=[2])
    with pytest.raises(IndexError, match="there is no prompt 99"):
        kept.read(prompts=[99])


# ---------------------------------------------------------------- of others


@pytest.fixture
def foreign(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """Seven prompts, three depths, one array of each kind."""
    states = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    np.save(tmp_path / "a.npy", states[:4].numpy())
    save_file({"x": states[4:].to(torch.bfloat16).contiguous()}, tmp_path / "b.safetensors")
    states[4:] = states[4:].to(torch.bfloat16).float()
    told = {
        "depths": [0, 4, 8],
        "prompts": [f"prompt {i}" for i in range(7)],
        "labels": {"kind": ["x", "y", "x", "y", "x", "y", "x"]},
        "model": "somebody's",
    }
    (tmp_path / "states.json").write_text(json.dumps(told))
    return tmp_path, states


def test_a_folder_of_others_is_opened(foreign: tuple[Path, torch.Tensor]) -> None:
    folder, states = foreign
    kept = ResidualStream.open(folder)
    assert (len(kept), kept.depths, kept.info.name) == (7, (0, 4, 8), "somebody's")
    assert torch.equal(kept.read(depths=[4])[0, :, 0], states[:, 1])
    assert torch.equal(kept.read(prompts=[6, 2])[:, :, 0], states[[6, 2]].transpose(0, 1))
    torch.testing.assert_close(kept.centroids("kind")["x"][:, 0], states[::2].mean(0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"depths": [0, 4]}, r"must be \[prompt, depth, d_model\] with 2 depths"),
        ({"depths": [4, 0, 8]}, "depths must ascend"),
        ({"depths": "all"}, "depths must be a list of whole numbers, got 'all'"),
        ({"prompts": ["one"]}, "tells 1 prompts; its arrays hold 7"),
        ({"files": ["../a.npy"]}, "files are names in the folder itself"),
        ({"files": ["c.npy"]}, "c.npy' is missing"),
        (
            {"labels": {"kind": ["x"]}},
            "label 'kind' needs one text, number or truth value for each",
        ),
        ({"tokens": [[1]]}, "tokens must be a list of ids for each of 7 prompts"),
        ({"positions": [-1] * 7}, "positions must be 7 numbers from 0 on"),
        ({"n_layers": 4}, "depths go up to 8, beyond n_layers, 4"),
    ],
)
def test_what_others_tell_wrongly_is_said(
    foreign: tuple[Path, torch.Tensor], change: dict[str, object], said: str
) -> None:
    path = foreign[0] / "states.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        ResidualStream.open(foreign[0])


def test_arrays_that_are_no_numbers_are_refused(foreign: tuple[Path, torch.Tensor]) -> None:
    folder, states = foreign
    np.save(folder / "a.npy", np.array([object()] * 4), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy' cannot be read: Array can't be memory-mapped"):
        ResidualStream.open(folder)
    np.save(folder / "a.npy", np.arange(4 * 3 * 5).reshape(4, 3, 5))
    with pytest.raises(ValueError, match="must hold float32, float16, bfloat16, float64, got"):
        ResidualStream.open(folder)
    states[2, 1, 0] = torch.nan
    np.save(folder / "a.npy", states[:4].numpy())
    kept = ResidualStream.open(folder)
    kept.read(depths=[0, 8])
    with pytest.raises(ValueError, match="holds NaN or infinite numbers, the first of prompt 2"):
        kept.read(depths=[4])


# ---------------------------------------------------------------- the command


def test_the_command_says_what_it_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "states"
    base = ["capture", "--model", "tiny", "--n", "12", "--out", str(folder)]
    assert main([*base, "--depth", "3", "--depth", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["summary"]["depths"] == [1, 3]
    assert found["summary"]["prompts"] == 12
    assert found["rows"] == ResidualStream.open(folder).shards
    assert main(base) == 2
    assert "with other depths" in capsys.readouterr().err
    for out, said in (
        (folder / "capture.json", "is a file; name a folder"),
        (tmp_path / "no" / "states", "there is no folder"),
    ):
        assert main([*base[:-1], str(out)]) == 2
        assert said in capsys.readouterr().err
