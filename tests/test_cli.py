"""The commands on the tiny bundled model: what they print, write and leave alone."""

import inspect
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pytest
import typer
from plotly.graph_objects import Figure
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lensdepth import converted
from lensdepth.analyses import analysis
from lensdepth.bundled import bundled_names
from lensdepth.cli import main, session, sweep_options, tables, task_options
from lensdepth.cli.app import app as app_of_all
from lensdepth.cli.console import one_line, visible
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import spread
from lensdepth.lens import LensProfile, fit_tuned_lens, logit_lens
from lensdepth.model import load_model
from lensdepth.patching import PatchProfile
from lensdepth.sweep.adaptive import MOST_BLOCKS
from lensdepth.sweep.controls import CONTROL_PAIRS
from lensdepth.tasks import load_task
from lensdepth.telling.numbers import Interval

TINY = ("--model", "tiny")
PROMPT = "Two months from January is"
COMMANDS = (
    *("report", "lens", "geometry", "ablate", "patch", "attribute", "circuit", "steer"),
    *("models", "tasks", "doctor"),
)
Run = Callable[..., str]

CROSSING = {"verdict", "depth", "low", "high", "between", "n_pairs", "n_units"}
"""Fixed keys of a crossing in JSON."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must succeed, and give its standard output."""

    def call(*arguments: str) -> str:
        code = main(arguments)
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return call


@pytest.fixture
def run_json(run: Run) -> Callable[..., dict[str, Any]]:
    """The same with `--json`; the output must be one line, one object and no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    def call(*arguments: str) -> dict[str, Any]:
        out = run(*arguments, "--json")
        assert out.count("\n") == 1
        found = json.loads(out, parse_constant=refuse)
        assert list(found) == ["provenance", "summary", "rows"]
        return found

    return call


# ---------------------------------------------------------------- help and lists


def test_help_needs_no_heavy_library() -> None:
    """Checked by what is loaded and not by the clock, which a busy machine slows."""
    code = f"""
import sys
from lensdepth.cli import main
for command in {("", *COMMANDS)!r}:
    assert main([*command.split(), "--help"]) == 0
heavy = {{"torch", "transformers", "transformer_lens", "pandas", "plotly", "numpy", "scipy"}}
sys.exit(sorted(heavy & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert f"lensdepth {command}" in done.stdout


def test_without_a_command_there_is_help(run: Run) -> None:
    assert all(command in run() for command in COMMANDS)


def test_version(run: Run) -> None:
    out = run("--version")
    assert out.startswith("lensdepth ")
    assert "transformer-lens" in out


def test_models_lists_the_bundled_ones_with_their_size(run: Run, run_json: Any) -> None:
    rows = {row["name"]: row for row in run_json("models")["rows"]}
    assert set(rows) == set(bundled_names())
    tiny = load_model("tiny").model
    assert rows["tiny"]["n_layers"] == tiny.cfg.n_layers
    assert rows["tiny"]["n_parameters"] > 20 * tiny.cfg.d_vocab
    out = run("models")
    assert "tiny" in out
    assert "GPT-NeoX" in out


def test_tasks_lists_examples_and_templates(run: Run, run_json: Any) -> None:
    rows = {row["name"]: row for row in run_json("tasks")["rows"]}
    assert "from" in rows["months"]["templates"]
    assert rows["months"]["description"] in run("tasks")


# ---------------------------------------------------------------- JSON


def test_lens_of_a_prompt_is_the_librarys(run_json: Any) -> None:
    found = run_json("lens", PROMPT, *TINY, "--positions", "all")
    profile = logit_lens(load_model("tiny"), PROMPT, positions="all")
    assert found["summary"]["kl"] == pytest.approx(profile.kl.mean((1, 2)).tolist(), abs=1e-5)
    assert found["summary"]["transition"]["verdict"] == "too few"
    assert len(found["rows"]) == profile.kl.numel()
    assert found["provenance"]["model"]["name"] == "tiny"
    assert found["provenance"]["prompts"] == [PROMPT]


def test_lens_of_a_task(run_json: Any) -> None:
    summary = run_json("lens", *TINY, "--n", "20")["summary"]
    n_depths = load_model("tiny").n_layers + 1
    for key in ("kl", "entropy", "top1_agreement"):
        assert len(summary[key]) == n_depths
    assert summary["kl"][-1] == pytest.approx(0, abs=1e-5)
    assert summary["top1_agreement"][-1] == 1
    assert summary["pairs"]["drawn"] == summary["pairs"]["used"] == 20


def test_patch_gives_the_crossing(run_json: Any) -> None:
    found = run_json("patch", "--curves", *TINY, "--n", "20")
    summary = found["summary"]
    assert set(summary["crossing"]) >= CROSSING
    assert summary["crossing"]["verdict"] == "crossing"
    assert summary["crossing"]["between"][0] <= summary["crossing"]["depth"]
    assert 0 < summary["crossing"]["depth"] < load_model("tiny").n_layers
    assert summary["efficacy"]["prediction"][-1] == 1
    pairs = summary["pairs"]
    assert pairs["used"] + pairs["wrong"] + pairs["multi_token"] == pairs["drawn"] == 20
    assert len(found["rows"]) == 2 * len(summary["depths"]) * pairs["used"]


def test_one_position_has_no_crossing(run_json: Any) -> None:
    options = ("--position", "prediction", "--mode", "noise")
    summary = run_json("patch", *TINY, "--n", "9", *options)["summary"]
    assert summary["crossing"] is None
    assert list(summary["efficacy"]) == ["prediction"]
    assert summary["mode"] == "noise"


def test_ablate_gives_each_part_at_each_depth(run_json: Any) -> None:
    summary = run_json("ablate", *TINY, "--n", "20")["summary"]
    n_depths = load_model("tiny").n_layers + 1
    for part in ("full", "direction", "norm"):
        assert len(summary["transferred"][part]) == n_depths
    assert summary["transferred"]["full"][-1] == pytest.approx(1, abs=1e-4)
    assert summary["transferred"]["norm"][-1] == pytest.approx(0, abs=1e-4)


def test_geometry_writes_null_for_what_is_not_known(run_json: Any) -> None:
    found = run_json("geometry", *TINY, "--n", "20")
    assert set(found["summary"]) >= {"norm", "step_angle", "effective_rank", "angle_js", "norm_js"}
    assert {row["p"] for row in found["rows"] if row["measure"] == "norm"} == {None}


def test_the_seed_decides(run_json: Any) -> None:
    same, again, other = (
        run_json("patch", *TINY, "--n", "9", "--seed", seed)["rows"] for seed in ("1", "1", "2")
    )
    assert same == again != other


def write_pairs(path: Path, answers: dict[str, str]) -> str:
    """Pairs of "Two months from ... is": each start month is corrupted by the next one."""
    starts = list(answers)
    lines = [
        {
            "clean": f"Two months from {a} is", "corrupted": f"Two months from {b} is",
            "target": answers[a], "foil": answers[b],
        }
        for a, b in zip(starts, starts[1:] + starts[:1], strict=True)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def test_pairs_answered_wrongly_are_left_out_and_counted(run_json: Any, tmp_path: Path) -> None:
    answers = {"January": "March", "May": "July", "June": "August", "July": "Monday"}
    prompts = ("--prompts", write_pairs(tmp_path / "pairs.jsonl", answers))
    for given, n_wrong in ((), 2), (("--keep", "correct"), 2), (("--keep", "all"), 0):
        pairs = run_json("patch", *TINY, *prompts, *given)["summary"]["pairs"]
        assert pairs == {"drawn": 4, "used": 4 - n_wrong, "multi_token": 0, "wrong": n_wrong}
    assert run_json("lens", *TINY, *prompts)["summary"]["pairs"]["used"] == 4


def test_plain_prompts_do_for_the_lens_and_geometry(run_json: Any, tmp_path: Path) -> None:
    file = tmp_path / "plain.csv"
    file.write_text(
        "prompt\n" + "\n".join(f"{n} months from May is" for n in ("Two", "Six", "Ten"))
    )
    for command in ("lens", "geometry"):
        summary = run_json(command, *TINY, "--prompts", str(file))["summary"]
        assert summary["pairs"]["used"] == 3


# ---------------------------------------------------------------- tables


def test_lens_of_a_prompt_in_the_terminal(run: Run) -> None:
    out = run("lens", PROMPT, *TINY)
    assert "\x1b" not in out
    assert "depth" in out
    assert "fraction" in out
    assert "The model predicts March" in out
    assert "top 3" in out
    assert "top 4" not in out


def test_lens_of_every_token(run: Run) -> None:
    out = run("lens", PROMPT, *TINY, "--positions", "all")
    assert all(word in out for word in PROMPT.split())


def test_lens_of_every_token_as_a_map(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    every = ("--positions", "all", "--out", str(page))
    run("lens", PROMPT, *TINY, *every, "--value", "entropy")
    text = page.read_text()
    assert '"type":"heatmap"' in text
    assert "entropy, nats" in text


def test_lens_with_translators(run: Run, run_json: Any, tmp_path: Path) -> None:
    file = tmp_path / "tuned.safetensors"
    prompts = [PROMPT, "Two months from May is", "Two months from July is"]
    model = load_model("tiny")
    lens = fit_tuned_lens(model, prompts, n_steps=2)
    lens.save(file)
    profile = logit_lens(model, PROMPT, translators=lens)
    found = run_json("lens", PROMPT, *TINY, "--tuned", str(file))
    assert found["summary"]["kl"] == pytest.approx(profile.kl.mean((1, 2)).tolist(), abs=1e-5)
    assert found["provenance"]["settings"]["translators"]["kind"] == "tuned"
    assert run("lens", PROMPT, *TINY, "--tuned", str(file)).startswith("Tuned lens of tiny")


@pytest.mark.parametrize("command", [("patch", "--curves"), ("patch",), ("steer",)])
def test_a_transferred_fraction_stands_beside_what_it_is_made_of(
    run: Run, command: tuple[str, ...]
) -> None:
    out = run(*command, *TINY, "--n", "60" if command == ("steer",) else "12")
    words = " ".join(out.split())
    assert "fraction" in words
    assert words.count("target gain") >= 1
    assert words.count("foil loss") >= 1


@pytest.mark.parametrize("command", ["lens", "geometry", "ablate", "patch", "steer"])
def test_a_table_has_one_row_a_depth(run: Run, command: str) -> None:
    # Centroids need other prompts with the same labels than those that are steered.
    n = "60" if command == "steer" else "12"
    lines = run(command, *TINY, "--n", n).splitlines()
    n_layers = load_model("tiny").n_layers
    rows = [line.split()[:2] for line in lines if re.match(r"\s*\d+\s\s", line)]
    # What transferred fractions are made of stands in further tables; of a map, that of its
    # largest effects.
    n_tables = 1 if command == "patch" else len(rows) // (n_layers + 1)
    assert n_tables == 1 or command in ("ablate", "steer")
    seen = [row[0] for row in rows]
    if command == "patch":
        seen = seen[: n_layers + 1]
    assert seen == [str(depth) for depth in range(n_layers + 1)] * n_tables
    assert [row[1] for row in rows][: n_layers + 1 : n_layers] == ["0", "1"]
    assert f"{n} of {n} pairs of months" in lines[0]
    assert lines[-1].strip().endswith(".")


def test_ablate_by_dose_and_by_decoding(run_json: Any, run: Run) -> None:
    few = (*TINY, "--n", "24")
    dosed = run_json("ablate", "--dose", *few)["summary"]["parts"]
    assert dosed["direction"]["doses"] == [0, 0.25, 0.5, 0.75, 1]
    assert len(dosed["norm"]["kl"]) == 5
    assert "norm ×" in run("ablate", "--dose", *few)
    decoded = run_json("ablate", "--decode", *few, "--task", "capitals")["summary"]
    assert set(decoded["labels"]["entropy"]) == {"norm", "direction", "state"}


def test_ablate_in_several_scopes(run_json: Any) -> None:
    found = run_json(
        "ablate", *TINY, "--n", "8", "--to", "mean", "--scope", "local", "--scope", "prefix",
        "--position", "-1", "--coordinates", "final_norm",
    )  # fmt: skip
    summary = found["summary"]
    assert (summary["to"], summary["scope"], summary["coordinates"]) == (
        "mean", "local", "final_norm",
    )  # fmt: skip
    assert list(summary["scopes"]) == ["prefix"]
    assert {row["scope"] for row in found["rows"]} == {"local", "prefix"}
    assert summary["identity_depth"] == load_model("tiny").n_layers


def test_ablate_to_the_mean_of_other_prompts(run_json: Any, tmp_path: Path) -> None:
    model = load_model("tiny")
    task = load_task("capitals", model, n=5, seed=3)
    file = tmp_path / "reference.csv"
    task.to_frame()[["clean", "corrupted", "target", "foil"]].to_csv(file, index=False)
    found = run_json(
        "ablate", *TINY, "--n", "6", "--task", "capitals", "--to", "mean", "--reference", str(file)
    )
    assert found["summary"]["n_reference"] == 5
    assert found["provenance"]["settings"]["reference"]["name"] == "reference.csv"


@pytest.mark.parametrize("figure", ["depth", "cka", "procrustes", "coupling"])
def test_geometry_draws_what_is_asked_for(run: Run, tmp_path: Path, figure: str) -> None:
    file = tmp_path / "g.html"
    run("geometry", *TINY, "--n", "12", "--sample", "9", "--figure", figure, "--out", str(file))
    assert ('"prefix":"depth "' in file.read_text()) == (figure == "coupling")


def test_steer_draws_its_crossing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "s.html"
    run("steer", "--n", "40", "--out", str(file))
    assert '"layer":"below"' in file.read_text()


def test_steer_gives_the_crossing_or_null(run_json: Any) -> None:
    summary = run_json("steer", *TINY, "--n", "60", "--budget", "0.5")["summary"]
    assert summary["budget"] == 0.5
    assert set(summary["crossing"]) >= CROSSING
    there = summary["crossing"]["verdict"] == "crossing"
    assert (summary["crossing"]["depth"] is not None) == there
    assert set(summary["scopes"]["local"]["efficacy"]["full"]) == {"input", "prediction"}
    one = run_json("steer", *TINY, "--n", "60", "--position", "prediction")["summary"]
    assert one["crossing"] is one["crossing_verdict"] is None


def test_colours_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "stdout_console", lambda: Console(color_system="truecolor"))
    pale, dark = tables.shade(0.0), tables.shade(1.0)
    assert pale.bgcolor != dark.bgcolor
    assert pale.color != dark.color
    assert tables.shade(float("nan")).bgcolor is None
    monkeypatch.setattr(tables, "stdout_console", lambda: Console(color_system=None))
    assert tables.shade(1.0).bgcolor is None


@pytest.mark.parametrize("width", [42, 61, 100, 300])
def test_tables_are_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Columns that do not fit go into a further table; nothing is cut."""
    model = load_model("tiny")
    profile = logit_lens(model, f"{PROMPT} March . {PROMPT}", positions="all")
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    monkeypatch.setattr(tables, "stdout_console", lambda: console)
    curves = analysis("lens").curves(
        logit_lens(
            model, [f"Two months from {m} is" for m in ("May", "June", "July", "March", "April")]
        )
    )
    for parts, n_columns in (
        (tables.lens_grid(profile), profile.position.shape[1]),
        (tables.lens_table(profile, top=3), 5),
        (tables.curve_tables(curves, model.n_layers), 3),
    ):
        tables.show(*parts)
        found = [part for part in parts if isinstance(part, Table)]
        assert sum(len(table.columns) - 2 for table in found) == n_columns
        assert {table.row_count for table in found} == {model.n_layers + 1}
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(cell_len, printed.splitlines())) <= width
    assert "…" not in printed
    banded = sum(bool(bounds) for curve in curves for _, bounds in curve.cells)
    assert len(re.findall(r"\(\S+ to \S+\)", printed)) == banded > 3


@pytest.mark.parametrize(
    "command",
    [
        ("circuit", "--components", "MLP1,L1H0", "--n", "12"),
        ("patch", "--n", "12"),
        ("claims", "--n", "12", "--twins", "0"),
        ("tasks", "--n", "1"),
        ("doctor",),
        ("models",),
    ],
    ids=lambda command: command[0],
)
def test_nothing_is_wider_than_columns_says(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Also of what stands in two columns only: a row's name is wrapped, never cut."""
    monkeypatch.setenv("COLUMNS", "64")
    out = run(*command, *(() if command[0] in ("doctor", "models") else TINY))
    assert max(map(cell_len, out.splitlines())) <= 64
    assert "…" not in out
    if command[0] == "circuit":  # each of its tables has every row
        n_tables = sum(line.startswith("patched") for line in out.splitlines())
        assert n_tables == out.count("nothing (base") > 1


def test_a_pipe_is_wide_unless_columns_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, width in (("", tables.PIPE_WIDTH), ("0", tables.PIPE_WIDTH), ("77", 77)):
        monkeypatch.setenv("COLUMNS", said)
        assert tables.stdout_console().width == width


@pytest.mark.parametrize("command", ["lens", "attribute"])
def test_a_space_at_the_end_of_a_prompt_is_said(
    model_folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Where the tokenizer reads it; that of the second model splits at spaces and drops them."""
    for architecture, n in (("gpt2", 1), ("llama", 0)):
        folder = str(model_folder(architecture))
        assert main([command, "Two months from May is ", "--model", folder]) == 0
        assert capsys.readouterr().err.count("the prompt ends in a space") == n
        assert main([command, "Two months from May is", "--model", folder]) == 0
        assert "ends in a space" not in capsys.readouterr().err


def test_a_space_at_the_end_of_plain_prompts_in_a_file_is_said(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.csv"
    file.write_text("prompt\nTwo months from May is \nTwo months from May is\n")
    assert main(["lens", "--model", str(model_folder("gpt2")), "--prompts", str(file)]) == 0
    assert "belongs to the word that follows: line 2." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" March", "·March"),
        ("[bold]", "[bold]"),
        ("\n\n", "⏎⏎"),
        ("  ", "··"),
        ("", "∅"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202e", "�"),
        ("internationalisation", "internation…"),
        ("日本語の長い単語です", "日本語の長…"),
    ],
)
def test_tokens_show_as_they_are(text: str, shown: str) -> None:
    assert tables.token_cell(text) == shown
    assert cell_len(tables.token_cell(text)) <= tables.CELL


def test_markup_in_a_token_is_text() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(tables.plain_table(("a",), [("[bold]x[/bold]",)]))
    assert "[bold]x[/bold]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_numbers() -> None:
    assert tables.number(-0.001) == "0.00"
    assert tables.number(float("nan")) == "–"
    alone = Interval(value=0.5, low=float("nan"), high=float("nan"))
    assert tables.with_interval(alone) == Text("0.50")


# ---------------------------------------------------------------- files


def test_out_in_every_format(run: Run, tmp_path: Path) -> None:
    written = {}
    for suffix in ("html", "json", "csv", "parquet", "safetensors"):
        written[suffix] = tmp_path / f"patch.{suffix}"
        run("patch", "--curves", *TINY, "--n", "6", "--out", str(written[suffix]))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in written.values())
    profile = PatchProfile.load(written["safetensors"])
    frame = pd.read_parquet(written["parquet"])
    pd.testing.assert_frame_equal(frame, profile.to_frame())
    assert len(pd.read_csv(written["csv"])) == len(frame)
    assert len(json.loads(written["json"].read_text())["rows"]) == len(frame)
    page = written["html"].read_text()
    assert "Plotly.newPlot" in page
    assert 'src="https' not in page


def test_a_spreadsheet_finds_no_formula(run: Run, tmp_path: Path) -> None:
    """Unless it is told that what reads the file is none."""

    class Signed:
        def to_frame(self) -> pd.DataFrame:
            return pd.DataFrame({"token": ["=1+1", "a"], "kl": [-0.5, 1.0]})

    file = tmp_path / "x.csv"
    for raw, first in ((False, "'=1+1,-0.5"), (True, "=1+1,-0.5")):
        session.write(Signed(), {}, file, Figure, raw_csv=raw)
        assert file.read_text().splitlines()[1] == first
    assert "--raw-csv" in run("lens", "--help")


def test_force_replaces(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lens.safetensors"
    file.write_text("old")
    run("lens", PROMPT, *TINY, "--out", str(file), "--force")
    assert LensProfile.load(file).n_layers == load_model("tiny").n_layers


def test_a_dry_run_of_a_report_plans_its_sections_and_writes_nothing(
    run: Run, run_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    asked = (
        "report",
        *TINY,
        "--n",
        "12",
        "--sections",
        "ablation",
        "--dry-run",
        "--out",
        str(page),
    )
    found = run_json(*asked)
    assert [row["section"] for row in found["rows"]] == ["lens", "patch", "ablation"]
    assert found["summary"]["seconds"] == pytest.approx(
        sum(row["seconds"] for row in found["rows"])
    )
    assert "ablation" in run(*asked)
    assert not any(tmp_path.iterdir())


def test_report_writes_a_page_and_says_where(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    out = run("report", *TINY, "--n", "12", "--out", str(page))
    assert str(page) in out
    assert page.is_file()
    assert "12 of 12 pairs of months" in out


def test_report_in_json(run_json: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = run_json("report", *TINY, "--n", "60", "--out", str(page))
    assert found["summary"]["path"] == str(page)
    assert Path(found["summary"]["tables"]).is_dir()
    assert {"lens", "patch", "steer", "ablate", "dose", "geometry"} <= set(found["summary"])
    assert [row["depth"] for row in found["rows"]] == list(range(load_model("tiny").n_layers + 1))


# ---------------------------------------------------------------- parts


def options_of_commands() -> dict[str, dict[str, Any]]:
    """By command and name, as typer makes them."""
    group: Any = typer.main.get_command(app_of_all)
    return {
        command: {one.name: one for one in made.params if one.opts[0].startswith("--")}
        for command, made in group.commands.items()
    }


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("mode", {"ablate", "choose", "circuit", "graph", "patch", "steer", "subspaces"}),
        ("depths", {"ablate", "claims", "confidence", "landmarks", "report", "steer", "subspaces"}),
        ("twins", {"check", "claims", "report"}),
    ],
)
def test_shared_options_are_told_alike(name: str, commands: set[str]) -> None:
    having = {c: options[name] for c, options in options_of_commands().items() if name in options}
    if name == "depths":
        assert "or blocks" in str(having.pop("patch").help)  # and single ones, which it alone has
        assert "Where to edit" in str(having.pop("write").help)  # one edit's, not a sweep's
    assert {*having} == commands
    assert len({(one.help, *one.opts) for one in having.values()}) == 1


def test_no_help_shows_an_object(run: Run) -> None:
    for command in options_of_commands():
        assert " object at " not in run(command, "--help")


def test_spread_turns_option_groups_into_options() -> None:
    seen = {}

    @spread
    def command(model: ModelOptions, n: Annotated[int, typer.Option()] = 3) -> None:
        seen.update(model=model, n=n)

    app = typer.Typer()
    app.command()(command)
    app(args=["--model", "x", "--n", "4"], standalone_mode=False)
    assert seen == {"model": ModelOptions(model="x"), "n": 4}


@dataclass(frozen=True, kw_only=True)
class Inner:
    a: Annotated[int, typer.Option()] = 1
    b: Annotated[int, typer.Option()] = 2


@dataclass(frozen=True, kw_only=True)
class Wider(Inner):
    c: Annotated[int, typer.Option()] = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    first: Annotated[int, typer.Option()] = 0
    inner: Wider = field(default_factory=Wider)
    last: Annotated[int, typer.Option()] = 9


def test_a_group_within_a_group_stands_where_it_is_a_field() -> None:
    seen = []

    @spread
    def command(*, options: Outer) -> None:
        seen.append(options)

    assert [*inspect.signature(command).parameters] == ["first", "c", "a", "b", "last"]
    app = typer.Typer()
    app.command()(command)
    app(args=["--b", "5", "--last", "7"], standalone_mode=False)
    assert seen == [Outer(inner=Wider(b=5), last=7)]


def test_messages_speak_in_options() -> None:
    error = ValueError("load_task: no pair.\nUse on_multi_token='drop' or keep='all', n=3.")
    assert one_line(error) == "no pair. Use --on-multi-token drop or --keep all, n=3."
    assert one_line("8 of 120 rows are used; n=None takes all.") == (
        "8 of 120 rows are used; a larger --n takes more."
    )
    assert one_line(KeyError()) == "KeyError"
    assert visible("a\nb\x07") == "a⏎b\\x07"


def test_converted_models_are_listed_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LENSDEPTH_CACHE", str(tmp_path))
    about = converted.About(
        name="m", source="m.gguf", sha256="0" * 64, quantization="Q4_0 (1 Q4_0)"
    )
    with converted.keeping(converted.place_of("m", "0" * 64), about) as folder:
        (folder / "model.safetensors").write_bytes(b"x" * 2_000_000)
    assert main(["models", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["summary"]["converted"]
    assert listed["name"] == "m"
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "Unpacked from GGUF files, 2.0 MB" in out
    assert re.search(r"m +Q4_0 +2.0 MB", out)
    assert main(["models", "--clean"]) == 0
    assert "1 converted model removed from" in capsys.readouterr().out
    assert main(["models", "--clean", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["removed"] == 0


def test_deep_models_are_edited_on_fewer_pairs() -> None:
    assert task_options.MOST_BLOCKS == MOST_BLOCKS  # read without torch
    usual, asked = task_options.TaskOptions(), task_options.TaskOptions(n=7)

    def drawn(n_layers: int, keep: str, *, edited: bool) -> int:
        assert asked.n_pairs(n_layers, edited=edited, keep=keep) == 7
        return usual.n_pairs(n_layers, edited=edited, keep=keep)

    shallow, deep = MOST_BLOCKS, MOST_BLOCKS + 1
    assert drawn(shallow, "correct", edited=True) == drawn(deep, "all", edited=False) == 200
    assert drawn(deep, "correct", edited=True) == 48
    assert drawn(deep, "all", edited=True) == 72


@pytest.mark.parametrize("command", ["patch", "ablate", "ablate --dose", "steer"])
def test_controls_are_run_on_as_many_pairs_as_are_asked_for(
    run_json: Any, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert sweep_options.CONTROL_PAIRS == CONTROL_PAIRS  # read without torch
    base = [*command.split(), "--model", "tiny", "--task", "months", "--n", "40"]
    used = run_json(*base)["summary"]["control_pairs"]
    for asked, n in (("5", 5), ("all", used)):
        assert run_json(*base, "--control-pairs", asked)["summary"]["control_pairs"] == n
    assert main([*base, "--control-pairs", "none"]) == 2
    assert "a number of pairs or all, got 'none'" in one_line(capsys.readouterr().err)
