"""Bad input: one readable line on standard error, exit code 2, nothing on standard output."""

import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import lensdepth.model
from lensdepth.bundled import bundled_path
from lensdepth.cli import main
from lensdepth.writing import whole_file

TINY = ("--model", "tiny")
PROMPT = "Two months from January is"
Fail = Callable[..., str]


@pytest.fixture
def fail(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Fail:
    """Run a command that must fail in an empty folder, and give its one line.

    Nothing may appear or change there.
    """
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, code: int = 2) -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert main(arguments) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert len(lines) == 1, printed.err
        assert lines[0].startswith("lensdepth: ")
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before
        return lines[0]

    return call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "nope"),
        (["lens", "--nope"], "--nope"),
        (["lens", "x", "--dtype", "float8"], "bfloat16"),
        (["lens", "x", "--backend", "jax"], "bridge"),
        (["lens", "x", "--positions", "first"], "last"),
        (["ablate", "--scope", "here"], "suffix"),
        (["ablate", "--to", "zero"], "shuffled"),
        (["ablate", "--position", "middle"], "an index"),
        (["ablate", "--dose", "--decode"], "not both"),
        (["ablate", "--reference", "x.csv"], "goes with --to mean"),
        (["ablate", "--dose", "--to", "mean"], "neither --to nor --scope"),
        (["ablate", "--decode", "--position", "-1"], "input or prediction"),
        (["ablate", *TINY, "--to", "mean", "--coordinates", "centred"], "directions cancel"),
        (["steer", "--position", "middle"], "input or prediction"),
        (["steer", "--folds", "2"], "--folds"),
        (["steer", *TINY, "--budget", "0"], "above 0, got 0.0"),
        (["steer", *TINY, "--n", "6"], "no other prompt"),
        (["steer", *TINY, "--input-label", "colour"], "no label column 'colour'"),
        (["patch", "--n", "0"], "--n"),
        (["patch", "--n", "-5"], "--n"),
        (["patch", "--seed", "-1"], "--seed"),
        (["patch", "--batch-size", "0"], "--batch-size"),
        (["patch", "--mode", "reverse"], "denoise"),
        (["patch", "--curves", "--position", "input"], "--position"),
        (["ablate", "--position", "both"], "prediction"),
        (["lens", ""], "empty"),
        (["lens", "  \n"], "empty"),
        (["lens", "x", "--task", "months"], "one of them"),
        (["lens", "x", "--value", "kl"], "--positions all"),
        (["lens", "x", "--tuned", "nowhere.safetensors"], "no such file"),
        (["lens", "x", *TINY, "--tuned", "."], "config.json"),
        (["geometry", "--figure", "cka"], "--out FILE.html"),
        (["patch", "--task", "months", "--prompts", "x.csv"], "not both"),
        (["patch", "--task", "monhts"], "months"),
        (["patch", "--template", "frmo"], "from"),
        (["patch", "--prompts", "x.csv"], "x.csv"),
        (["patch", "--prompts", "months"], "months"),
        (["steer", "--position", "input", "--output-label", "beta"], "--position prediction"),
        (["claims", "--mix-numerics"], "--against"),
        (["claims", "--dry-run", "--against", "tiny"], "leave out --against"),
        (["claims", "--dry-run", "--out", "plan.json"], "writes no file"),
        (["lens", "x", "--template", "from"], "--template chooses among the pairs"),
        (["lens", "x", "--n", "7"], "--n chooses among the pairs"),
        (["attribute", "x", "--keep", "correct"], "--keep chooses among the pairs"),
    ],
)
def test_options(fail: Fail, arguments: list[str], said: str) -> None:
    assert said in fail(*arguments, *(["--json"] if arguments != ["nope"] else []))


PLAIN = [
    ["patch"],
    ["ablate"],
    ["ablate", "--dose"],
    ["steer"],
    ["circuit", "--components", "MLP1"],
    ["graph"],
    ["claims"],
    ["claims", "--dry-run"],
]


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_plain_prompts_are_refused_before_a_model_is_loaded_for_what_needs_pairs(
    fail: Fail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(lensdepth.model, "load_model", None)
    Path("plain.jsonl").write_text('{"prompt": "Two months from May is"}\n')
    said = fail(*arguments, "--prompts", "plain.jsonl")
    assert "'plain.jsonl' has plain prompts alone, and this needs pairs" in said


def test_prompts_with_answers_alone_are_refused_with_what_pairs_need(
    fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lensdepth.model, "load_model", None)
    Path("one.csv").write_text("prompt,target,foil\nThe capital of France is,Paris,Rome\n")
    said = []
    monkeypatch.setattr("lensdepth.cli.console.note", said.append)
    assert "a second prompt beside it" in fail("patch", "--prompts", "one.csv")
    assert len(said) == 1


def test_labels_are_sought_in_the_file_before_a_model_is_loaded(
    fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lensdepth.model, "load_model", None)
    row = '{"clean": "a b", "corrupted": "a c", "target": "x", "foil": "y", "hue": "red"}\n'
    Path("pairs.jsonl").write_text(row)
    said = fail("steer", "--prompts", "pairs.jsonl", "--input-label", "hue")
    assert "'pairs.jsonl' has no label column 'corrupted_hue'; it has hue" in said
    Path("plain.jsonl").write_text('{"prompt": "a b"}\n')
    assert "--keep correct" in fail("lens", "--prompts", "plain.jsonl", "--keep", "correct")


@pytest.mark.parametrize("command", ["lens", "geometry", "ablate", "patch", "report"])
class TestOut:
    """Checked before anything is imported or loaded."""

    @pytest.fixture(autouse=True)
    def no_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lensdepth.model, "load_model", None)

    def test_there_already(self, fail: Fail, tmp_path: Path, command: str) -> None:
        (tmp_path / "x.html").write_text("mine")
        assert "--force" in fail(command, "--out", "x.html")

    def test_unknown_ending(self, fail: Fail, command: str) -> None:
        assert ".html" in fail(command, "--out", "x.png")

    def test_no_folder(self, fail: Fail, command: str) -> None:
        assert "no folder" in fail(command, "--out", "nowhere/x.html")

    def test_unwritable_folder(self, fail: Fail, command: str) -> None:
        assert "cannot be written" in fail(command, "--out", "/proc/x.html")

    def test_a_folder(self, fail: Fail, tmp_path: Path, command: str) -> None:
        (tmp_path / "x.html").mkdir()
        assert "folder" in fail(command, "--out", "x.html", "--force")


def test_report_whose_tables_are_there(fail: Fail, tmp_path: Path) -> None:
    (tmp_path / "report_tables").mkdir()
    assert "--force" in fail("report", *TINY)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--quick", "--thorough"), "--quick goes with neither"),
        (("--quick", "--sections", "dose"), "--quick goes with neither"),
        (("--sections", "dose,doze"), "there is no section 'doze'; there is lens, patch"),
    ],
)
def test_extents_of_a_report(
    fail: Fail, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(lensdepth.model, "load_model", None)
    assert said in fail("report", *options)


def test_unknown_models(fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensdepth.checkpoint.reachable", lambda source: False)
    assert "tiny" in fail("lens", "x", "--model", "tyni")
    assert "no folder" in fail("lens", "x", "--model", "./nowhere")


def test_devices_that_are_not_there(fail: Fail) -> None:
    assert "cpu" in fail("lens", "x", *TINY, "--device", "cuda:99")
    assert "cpu" in fail("lens", "x", *TINY, "--device", "toaster")


def test_prompt_beyond_the_context(fail: Fail) -> None:
    assert "256" in fail("lens", "May " * 400, *TINY)


def test_not_a_causal_model(fail: Fail, tmp_path: Path) -> None:
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "causal" in fail("lens", "x", "--model", str(tmp_path))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(fail: Fail, tmp_path: Path, value: float) -> None:
    for file in bundled_path("tiny").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"][3] = value
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert "NaN or infinite" in fail("lens", PROMPT, "--model", str(tmp_path))


def write_pairs(path: Path, *, target: str, foil: str) -> str:
    pair = {
        "clean": "Two months from January is", "corrupted": "Two months from May is",
        "target": target, "foil": foil,
    }  # fmt: skip
    path.write_text(json.dumps(pair) + "\n")
    return str(path)


def test_target_that_is_no_token(fail: Fail, tmp_path: Path) -> None:
    file = write_pairs(tmp_path / "pairs.jsonl", target="blorbing", foil="July")
    said = fail("patch", *TINY, "--prompts", file, "--json")
    assert "blorbing" in said
    assert "--on-multi-token drop" in said


def test_no_pair_answered_correctly(fail: Fail, tmp_path: Path) -> None:
    file = write_pairs(tmp_path / "pairs.jsonl", target="May", foil="June")
    assert "--keep all" in fail("patch", *TINY, "--prompts", file)


def test_plain_prompts_cannot_be_patched(fail: Fail, tmp_path: Path) -> None:
    file = tmp_path / "plain.csv"
    file.write_text("prompt\nTwo months from May is\n")
    for command in ("patch", "ablate"):
        assert "clean, corrupted" in fail(command, *TINY, "--prompts", str(file))
    assert "at least 3" in fail("geometry", *TINY, "--prompts", str(file))


def test_nothing_is_half_written(
    fail: Fail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle of writing leaves the old file."""

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "x.csv").write_text("old")
    monkeypatch.setattr("pandas.DataFrame.to_csv", no_space)
    assert "No space left" in fail("lens", PROMPT, *TINY, "--out", "x.csv", "--force")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


# ---------------------------------------------------------------- faults, interruptions, noise


def broken(error: BaseException) -> Callable[..., Any]:
    def load(*_: Any, **__: Any) -> None:
        raise error

    return load


def test_a_fault_of_ours(fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lensdepth.model, "load_model", broken(KeyError("oops")))
    said = fail("lens", PROMPT, code=1)
    assert "KeyError" in said
    assert "--debug" in said


@pytest.mark.parametrize(("error", "code"), [(KeyError("oops"), 1), (ValueError("bad"), 2)])
def test_debug_shows_where(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
) -> None:
    monkeypatch.setattr(lensdepth.model, "load_model", broken(error))
    assert main(["lens", PROMPT, "--debug"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" in printed.err


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(lensdepth.model, "load_model", broken(KeyboardInterrupt()))
    assert main(["lens", PROMPT]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_told_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    tidied = []

    def load(*_: Any, **__: Any) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            tidied.append(True)

    before = signal.getsignal(number)
    monkeypatch.setattr(lensdepth.model, "load_model", load)
    assert main(["lens", PROMPT]) == code
    assert tidied
    assert signal.getsignal(number) == before
    assert capsys.readouterr() == ("", "")


def test_a_path_reaches_the_terminal_as_text(
    fail: Fail, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fail("lens", PROMPT, "--out", "\x1b[31mred\n/x.csv")
    assert "\\x1b[31mred\\n" in said
    assert "\x1b" not in said
    name = "\x1b[31m\n.csv"
    assert main(["lens", PROMPT, *TINY, "--out", name, "--json"]) == 0
    assert capsys.readouterr().err == "lensdepth: wrote \\x1b[31m⏎.csv\n"
    assert (tmp_path / name).is_file()


@pytest.mark.filterwarnings("ignore:deprecated")
def test_others_noise_stays_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only lensdepth's own warnings are passed on, once each."""
    load = lensdepth.model.load_model

    def noisy(*arguments: Any, **options: Any) -> Any:
        print("Loaded pretrained model")  # noqa: T201
        warnings.warn("deprecated", stacklevel=1)
        logging.getLogger("transformers.noise").warning("tokens")
        logging.getLogger("someone.else").warning("elsewhere")
        for _ in range(2):
            logging.getLogger("lensdepth.model").warning("on the bridge")
        return load(*arguments, **options)

    monkeypatch.setattr(lensdepth.model, "load_model", noisy)
    assert main(["lens", PROMPT, *TINY, "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["provenance"]["analysis"] == "logit_lens"
    assert printed.err == "lensdepth: note: on the bridge\n"
    assert main(["lens", PROMPT, *TINY, "--json", "--debug"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)
    assert "Loaded pretrained model" in printed.err


def lensdepth_process(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lensdepth", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_real_process_prints_json_and_nothing_else() -> None:
    out, err = lensdepth_process("patch", *TINY, "--n", "6", "--json").communicate(timeout=300)
    assert json.loads(out)["summary"]["pairs"]["used"] == 6
    assert out.count("\n") == 1
    assert err == ""


def test_a_real_process_exits_with_2() -> None:
    process = lensdepth_process("lens", "", "--json")
    assert process.communicate(timeout=300) == ("", "lensdepth: the prompt is empty.\n")
    assert process.returncode == 2


def test_a_reader_that_leaves_is_no_error() -> None:
    """As in `lensdepth tasks --json | head -0`."""
    process = lensdepth_process("tasks", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=300) in (0, 1)


def test_whole_file_is_what_writing_goes_through(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), whole_file(tmp_path / "x.csv"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
