"""Every example of every help text runs, and what `--json` prints is what the schemas say.

Models of other names are the bundled ones here, and few pairs are drawn; all else is as typed.
"""

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blocks
import pytest
from jsonschema import Draft202012Validator

import lensdepth
import lensdepth.model
from lensdepth import fetched, loading, report
from lensdepth.bundled import bundled_path
from lensdepth.cli import main
from lensdepth.cli.app import EXIT_CODES, app
from lensdepth.cli.json_schema import command_of, schema_names, schema_of
from lensdepth.fetchable import FETCHABLE
from lensdepth.model import DepthModel

COMMANDS = {command.callback.__name__: command for command in app.registered_commands}  # type: ignore[union-attr]
MONTHS = ("January", "March", "May", "July", "September", "November")
ANSWERS = ("March", "May", "July", "September", "November", "January")
HYPOTHESES = """[[hypothesis]]
name = "direction beats norm"
first = { intervention = "ablate", edit = "direction" }
second = { intervention = "ablate", edit = "norm" }
depths = ">= 2"
by = 0.2
"""
ONE_SHARD = """[[models]]
model = "tiny"
[[tasks]]
task = "months"
n = 6
[[analyses]]
analysis = "lens"
"""


def options_of(command: str) -> set[str]:
    callback: Any = COMMANDS[command].callback
    return {f"--{name.replace('_', '-')}" for name in inspect.signature(callback).parameters}


def examples_of(epilog: str | None) -> list[str]:
    return re.findall(r"^  lensdepth (.+)$", epilog or "", re.MULTILINE)


EXAMPLES = [
    *(example for command in COMMANDS.values() for example in examples_of(command.epilog)),
    *examples_of(app.registered_callback.epilog if app.registered_callback else None),  # type: ignore[arg-type]
]


def shown() -> list[str]:
    """Commands in readme and documents that no help text has; not those that need what they say."""
    found = [
        command.partition("#")[0].split(maxsplit=1)[1].rstrip()
        for path in blocks.documents().values()
        for block in blocks.blocks_of(path.read_text())
        for line in (block.code.splitlines() if block.language == "sh" else ())
        for command in line.split("; ")
        if command.startswith("lensdepth ") and "# needs " not in command
    ]
    known = {" ".join(example.split()) for example in EXAMPLES}
    return [one for one in dict.fromkeys(found) if " ".join(one.split()) not in known]


def june(model: DepthModel) -> lensdepth.SteeringVector:
    return lensdepth.difference_vector(model, "January is", "June is", depths=2)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """A folder with the files that examples name; gives an example's words, made small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LENSDEPTH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(bundled_path("tiny"), "my-model")
    for step in (10, 20):
        shutil.copytree(bundled_path("tiny"), f"runs/checkpoints/step-{step}")
    pairs = [
        {"clean": f"Two months from {a} is", "corrupted": f"Two months from {b} is",
         "target": right, "foil": foil}
        for a, b, right, foil in zip(MONTHS, (*MONTHS[1:], MONTHS[0]), ANSWERS,
                                     (*ANSWERS[1:], ANSWERS[0]), strict=True)
    ]  # fmt: skip
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    rows = [",".join(pair.values()) for pair in pairs]
    Path("pairs.csv").write_text("\n".join(["clean,corrupted,target,foil", *rows]))
    Path("texts.csv").write_text("\n".join(["prompt", *(pair["clean"] for pair in pairs)]))
    Path("corpus.txt").write_text("\n".join(f"{p['clean']} {p['target']} ." for p in pairs * 40))
    Path("texts.jsonl").write_text("\n".join(json.dumps({"prompt": p["clean"]}) for p in pairs))
    Path("mine.toml").write_text(HYPOTHESES)
    Path("sweep.toml").write_text(ONE_SHARD)

    load, build, kept = loading.load_model, report.build_report, {}

    def small(name: str, **options: Any) -> Any:
        if name not in ("calendar", "tiny"):
            name = "tiny"
        return kept.setdefault(name, load(name))

    def short(*arguments: Any, **options: Any) -> Any:
        return build(*arguments, **{**options, "sections": ("ablation",), "twins": 0})

    monkeypatch.setattr(lensdepth.model, "load_model", small)
    monkeypatch.setattr(report, "build_report", short)
    # Figures as files have their own tests, where kaleido is installed.
    monkeypatch.setattr("lensdepth.images.check_images", lambda **_: None)
    monkeypatch.setattr(report, "write_figures", lambda *_, **__: [])
    monkeypatch.setattr("lensdepth.explorer.serve", lambda offers, **_: list(offers.models))
    about = fetched.FETCHABLE
    monkeypatch.setattr(
        fetched, "fetch_model", lambda name, say: Path("my-model" * (name in about))
    )

    def words(example: str) -> list[str]:
        found = shlex.split(example.partition(" | ")[0].partition(" > ")[0])
        command = found[0]
        if command == "sweep":
            if "--collect" in found:
                assert main(["sweep", "sweep.toml", "--out", "out/sweep"]) == 0
            # Workers of Ray have their own tests.
            return [word for word in found if word not in ("--engine", "ray")]
        found = ["1" if word in ("4", "8") else word for word in found]
        options = options_of(command)
        prompt = len(found) > 1 and not found[1].startswith("-")
        if "--n 1 " in f"{example} ":
            pass  # of a single pair, as typed
        elif "--n" in found:
            found[found.index("--n") + 1] = "4" if command == "tasks" else "12"
        elif "--n" in options and not prompt and command != "tasks" and "--text" not in found:
            found += ["--n", "60" if command == "steer" or "units" in found else "12"]
        if command != "circuit" and "--model" in options and "--model" not in found:
            found += ["--model", "tiny"] if command not in ("tasks", "explore") else []
        if "tiny@all" in found:
            found[1:2] = ["tiny@0", "tiny@8000"]
        if "das" in found and "--folds" not in found:
            found += ["--folds", "2"]
        if "--fit" in found:
            found += ["--steps", "2"]
        if "--tuned" in found:
            fit = "lens --fit --text corpus.txt --steps 2 --model tiny --out tuned.safetensors"
            assert main(fit.split()) == 0
        if "--apply" in found:
            june(small("tiny")).save(found[found.index("--apply") + 1])
        if "--twins" in options and "--twins" not in found:
            found += ["--twins", "0"]
        return found

    return words


def at(value: Any, path: str) -> Any:
    """What `jq` finds at a plain path; an error where there is nothing."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        value = value[name] if name else value[int(index)]
    return value


@pytest.mark.long
@pytest.mark.parametrize("example", [*EXAMPLES, *shown()])
@pytest.mark.filterwarnings("ignore")
def test_every_example_runs(
    workplace: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str], example: str
) -> None:
    words = workplace(example)
    capsys.readouterr()
    code = main(words)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    if " | jq " in example:
        at(json.loads(printed.out), example.partition(" | jq ")[2])
    if "--out" in words and "--dry-run" not in words:
        assert Path(words[words.index("--out") + 1]).exists()


def test_every_command_has_two_examples_and_the_help_ends_with_them() -> None:
    for name, command in COMMANDS.items():
        found = examples_of(command.epilog)
        assert len(found) >= 2, name
        assert any(example.split()[0] == name for example in found)


def test_exit_codes_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """What leads to each of them, `test_cli_errors.py` tests."""
    assert main(["--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(f"{code} {what}" in out for code, what in EXIT_CODES.items())
    text = (Path(__file__).parents[1] / "README.md").read_text()
    assert all(f"`{code}` {what}" in text for code, what in EXIT_CODES.items())


# ---------------------------------------------------------------- schemas

PRINTED = {
    "report": ["report --n 30 --sections ablation,steering,dose --twins 0 --out {}/r.html"],
    "report-plan": ["report --n 12 --dry-run --sections ablation"],
    "lens": ["lens May", "lens --n 30", "lens --task graded --n 8"],
    "lens-fit": ["lens --fit --steps 2 --task months --n 30 --out {}/t.safetensors"],
    "geometry": ["geometry --n 20"],
    "landmarks": ["landmarks --n 12", "landmarks --n 24 --twin --beside {}/months.safetensors"],
    "ablate": ["ablate --n 8 --scope local --scope prefix --to mean", "ablate --n 6 --keep all"],
    "ablate-dose": ["ablate --dose --n 12"],
    "ablate-decode": ["ablate --decode --n 24 --task capitals"],
    "subspaces": [
        "subspaces --n 12 --dim 2 --dim 32 --twin",
        "subspaces --n 12 --basis das --dim 1 --depth 2 --folds 2",
    ],
    "confidence": ["confidence --n 12", "confidence --task drinks --n 20 --keep all"],
    "choose": ["choose --n 12 --sites 2", "choose --n 12 --stream resid_pre --position input"],
    "patch": [
        "patch --n 12",
        "patch --n 9 --position prediction --keep preferred",
        "patch --n 6 --stream z --heads --position prediction --attribution --verify 2",
        "patch --n 30 --curves --precision 0.5",
    ],
    "attribute": ["attribute --n 8", "attribute May"],
    "circuit": [
        "circuit --components MLP1,L1H0 --n 8",
        "circuit --components MLP1 --random 0 --n 8",
    ],
    "graph": ["graph --n 1 --random 0", "graph --n 6 --top 3 --edges 2", "graph --n 3 --top 1"],
    "steer": ["steer --n 60", "steer --n 60 --position prediction"],
    "steer-apply": [
        "steer --n 12 --apply {}/june.safetensors",
        "steer --n 12 --apply {}/june.safetensors --dose 1 --dose 20 --mode noise",
    ],
    "mistakes": ["mistakes --task drinks --n 20", "mistakes --n 9"],
    "compare": ["compare --n 6", "compare tiny --n 4 --positions last --other-dtype bfloat16"],
    "dynamics": ["dynamics tiny@0 tiny@8000 --n 12"],
    "write": [
        "write January",
        "write January --temperature 3 --n-tokens 4",
        "write January --edit full --source June --depth 1 --depth 2 --onward",
        "write January --apply {}/june.safetensors --strength 2",
    ],
    "write-dose": [
        "write January --edit full --source June --depth 1 --dose 1 --dose 0.5",
        "write January --edit scale --depth 1 --dose 2",
        "write January --apply {}/june.safetensors --dose -1 --dose 2",
    ],
    "claims": ["claims --n 40 --twins 0"],
    "claims-hypotheses": ["claims --hypotheses {}/mine.toml --n 12"],
    "claims-models": ["claims --against tiny --n 12 --twins 0"],
    "claims-plan": ["claims --dry-run --n 12"],
    "check": ["check --n 40", "check --task binding --n 8"],
    "capture": ["capture --n 6 --out {}/states"],
    "sweep": ["sweep {}/one.toml --out {}/swept"],
    "sweep-collect": ["sweep --collect {}/done --to {}/table.parquet"],
    "sweep-validate": ["sweep {}/one.toml --validate"],
    "sweep-plan": ["sweep {}/one.toml --dry-run"],
    "models": ["models"],
    "models-clean": ["models --clean"],
    "fetch": ["fetch"],
    "tasks": ["tasks", "tasks --n 2 --model tiny"],
    "doctor": ["doctor"],
}
"""Commands for each schema, among them those that leave out what may be left out."""


@pytest.mark.long
@pytest.mark.parametrize("name", schema_names())
def test_what_is_printed_is_what_its_schema_says(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LENSDEPTH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.toml").write_text(HYPOTHESES)
    (tmp_path / "one.toml").write_text(ONE_SHARD)
    if name in ("write", "write-dose", "steer-apply"):
        june(lensdepth.load_model("tiny")).save(tmp_path / "june.safetensors")
    if name == "landmarks":
        saved = f"{tmp_path}/months.safetensors"
        assert main(f"landmarks --n 12 --model calendar --out {saved}".split()) == 0
        capsys.readouterr()
    if name == "sweep-collect":
        assert main(f"sweep {tmp_path}/one.toml --out {tmp_path}/done".split()) == 0
        capsys.readouterr()
    schema = schema_of(name)
    Draft202012Validator.check_schema(schema)
    listed = ("models", "fetch", "tasks", "doctor", "sweep")
    for given in PRINTED[name]:
        words = given.replace("{}", str(tmp_path)).split()
        words += [] if words[0] in listed else ["--model", "tiny"]
        assert main([*words, "--json"]) == 0, capsys.readouterr().err
        Draft202012Validator(schema).validate(json.loads(capsys.readouterr().out))


def test_every_command_that_prints_json_has_a_schema() -> None:
    printing = {
        name
        for name, command in COMMANDS.items()
        if "json" in command.callback.__annotations__  # type: ignore[union-attr]
    }
    assert {command_of(name).split()[0] for name in schema_names()} == printing
    assert {*PRINTED} == {*schema_names()}


def test_a_schema_refuses_what_is_not_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "fetch"]) == 0
    schema = Draft202012Validator(json.loads(capsys.readouterr().out))
    row = {"name": "x", "licence": "MIT", "folder": None}
    whole = {"provenance": {"versions": {"python": "3"}}, "summary": {}, "rows": [row]}
    assert schema.is_valid(whole)
    for wrong in (
        whole | {"more": 1},
        {key: whole[key] for key in ("provenance", "rows")},
        whole | {"summary": {"n": 1}},
        whole | {"rows": [row | {"licence": None}]},
        whole | {"rows": [{"name": "x", "licence": "MIT"}]},
    ):
        assert not schema.is_valid(wrong)
    assert main(["schema", "nope"]) == 2
    assert "there is report, report-plan, lens" in capsys.readouterr().err


# ---------------------------------------------------------------- completion


def offered(*words: str, **environment: str) -> list[str]:
    """What bash is offered for the last word, by a process that must not import torch."""
    code = """
import sys
from lensdepth.cli import main
code = main([])
heavy = {"torch", "transformers", "pandas", "numpy", "plotly"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""
    asked = {
        "_LENSDEPTH_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["lensdepth", *words]),
        "COMP_CWORD": str(len(words)),
        "PATH": "/usr/bin",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_models_are_completed(tmp_path: Path) -> None:
    (tmp_path / "models--openai--gpt2").mkdir()
    (tmp_path / "datasets--a--b").mkdir()
    cache = {"HF_HUB_CACHE": str(tmp_path), "OLLAMA_MODELS": str(tmp_path / "none")}
    names = offered("patch", "--model", "", **cache)
    assert {"calendar", "tiny", *FETCHABLE, "openai/gpt2"} <= {*names}
    assert "a/b" not in names
    assert offered("explore", "--model", "cal", **cache) == ["calendar"]
    shutil.copytree(bundled_path("tiny"), tmp_path / "mine")
    (tmp_path / "m.gguf").touch()
    (tmp_path / "m.txt").touch()
    assert sorted(offered("lens", "--model", f"{tmp_path}/m", **cache)) == [
        f"{tmp_path}/m.gguf", f"{tmp_path}/mine", f"{tmp_path}/models--openai--gpt2/",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("patch", "--task", "week"), ["weekdays"]),
        (("lens", "--template", "a"), ["after", "all"]),
        (("patch", "--model", "tiny", "--depths", ""), ["auto", "all", "0", "1", "2", "3"]),
        (("patch", "--model", "tiny", "--depths", "0,2,"), ["0,2,1", "0,2,3"]),
        (("patch", "--model", "nowhere", "--depths", ""), ["auto", "all"]),
        (("steer", "--depths", "a"), ["auto", "all"]),
        (("fetch", "smol"), ["smollm2"]),
        (("schema", "ablate-d"), ["ablate-dose", "ablate-decode"]),
        (("doc",), ["doctor"]),
    ],
)
def test_tasks_templates_and_depths_are_completed(words: tuple[str, ...], found: list[str]) -> None:
    assert offered(*words) == found
