"""What readme and documents show runs, prints what stands below it, and fails as they say."""

import ast
import json
import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import blocks
import ggufs
import pytest
import yaml
from transformers import LlamaConfig

import lensdepth
from lensdepth import load_hypotheses
from lensdepth.scale.config import ConfigError, read_config
from notebooks.tools.figures import drawn

PAGES = {name: blocks.blocks_of(path.read_text()) for name, path in blocks.documents().items()}
ALONE = ("README.md", "docs/tutorial.md")
"""Documents whose blocks of Python stand by themselves; those of others follow one another."""
ELSEWHERE = {
    "docs/howto/cluster.md": ["Slurm"],
    "docs/large-models.md": ["two CUDA devices"],
    "docs/scale.md": ["Slurm", "a Ray cluster"],
    "docs/howto/from-nnsight.md": ["nnsight"],
    "docs/howto/gguf-and-quantised.md": ["bitsandbytes"],
}
"""Blocks of Python and commands that need what is not here, as readers see in a title or a comment.
Those that need SmolLM2 run in `tests/real`; all other commands in `test_cli_examples.py`."""
MODEL = "SmolLM2"
LANGUAGES = {"python", "sh", "text", "toml", "csv", "yaml"}
LONG = ("docs/gallery.md", "docs/training.md")
ONE = """models = [{ model = "tiny" }]
tasks = [{ task = "months" }]
analyses = [{ analysis = "lens" }]
"""
"""What a configuration of engines alone lacks."""
PROGRAMS = {
    f"{name}#{place}" if name in ALONE else name: some
    for name, found in PAGES.items()
    for place, some in enumerate([[one] for one in found] if name in ALONE else [found])
    if any(one.language == "python" and not one.needs for one in some)
}


@pytest.fixture(scope="module")
def load_once() -> Callable[..., Any]:
    """`load_model`, of bundled models once."""
    fresh = lensdepth.load_model
    kept = cache(fresh)

    def load(name: str, **options: Any) -> Any:
        once = name in ("tiny", "calendar") and not options
        return kept(name) if once else fresh(name, **options)

    return load


@pytest.mark.parametrize(
    "program",
    [pytest.param(one, marks=pytest.mark.long) if one in LONG else one for one in PROGRAMS],
)
@pytest.mark.filterwarnings("ignore")
def test_python_runs_as_it_is_shown(
    program: str,
    load_once: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LENSDEPTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lensdepth, "load_model", load_once, raising=False)
    blocks.lay_out(tmp_path, PROGRAMS[program])
    if any("model.gguf" in one.code for one in PROGRAMS[program]):
        config = LlamaConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
        )
        ggufs.write(ggufs.tiny(config), tmp_path / "model.gguf", kind="Q8_0")
    names: dict[str, Any] = {}
    for one in PROGRAMS[program]:
        if one.language != "python" or one.needs:
            continue
        capsys.readouterr()
        if one.says is None:
            exec(compile(one.code, "a block", "exec"), names)
            assert capsys.readouterr().out == (one.prints or "")
        else:
            with pytest.raises(Exception) as failed:
                exec(compile(one.code, "a block", "exec"), names)
            said = f"{failed.type.__name__}: {failed.value}\n"
            assert said.replace(str(tmp_path), "/home/you") == one.says


def test_what_does_not_run_here_is_listed_and_marked() -> None:
    found = {
        name: [
            need
            for one in some
            for need in (one.needs, *re.findall(r"# needs (.+)", one.code))
            if need not in ("", MODEL)
        ]
        for name, some in PAGES.items()
    }
    assert {name: needs for name, needs in found.items() if needs} == ELSEWHERE
    assert {one.language for some in PAGES.values() for one in some} <= LANGUAGES


@pytest.mark.parametrize("name", PAGES)
def test_documents_use_public_names_alone(name: str) -> None:
    for one in PAGES[name]:
        for node in ast.walk(ast.parse(one.code)) if one.language == "python" else ():
            if isinstance(node, ast.ImportFrom) and node.module == "lensdepth":
                assert {alias.name for alias in node.names} <= set(lensdepth.__all__)


def test_our_calls_in_the_tables_beside_those_of_others_run() -> None:
    from lensdepth import load_model, load_task

    model = load_model("tiny")
    names = {
        **{name: getattr(lensdepth, name) for name in lensdepth.__all__},
        "model": model,
        "your_model": model.model,
        "text": "Two months from January is",
        "task": load_task("months", model, n=4),
        "vector": model.residual_stream("May is").resid[1, 0, 0],
    }
    calls = set()
    for name in ("transformerlens", "nnsight"):
        text = blocks.documents()[f"docs/howto/from-{name}.md"].read_text()
        for row in re.findall(r"^\|.*\| (`.*`) \|$", text, re.MULTILINE):
            calls |= set(re.findall(r"`(.+?)`", row))
    assert len(calls) > 12
    for call in calls:
        # The model here has three blocks.
        eval(
            call.replace("[5]", "[2]").replace("depths=5", "depths=1").replace("post3", "post2"),
            names,
        )


def test_the_figure_on_the_first_page_is_that_of_the_findings() -> None:
    (call,) = (one for one in PAGES["docs/index.md"] if one.needs == MODEL)
    told = json.loads((blocks.ROOT / "docs/findings/smollm2-ioi.json").read_text())
    found, n_layers = told["patch"]["crossing"], told["provenance"]["model"]["n_layers"]
    assert call.prints == (
        f"{found['verdict']} at {found['depth']:.1f} "
        f"({found['low']:.1f} to {found['high']:.1f}) of {n_layers}\n"
        f"{found['n_pairs']} pairs, {found['n_units']} units\n"
    )


def test_a_block_of_the_gallery_that_ends_in_a_figure_has_it_below() -> None:
    text = "```python\nfrom plotly.graph_objects import Figure\n```\n\n```python\nFigure()\n```\n"
    page = drawn(text)
    assert page.startswith(text)
    assert page.count("data-figure=") == 1
    assert {one.language for one in PAGES["docs/gallery.md"]} == {"python"}


# ---------------------------------------------------------------- other languages


def test_commands_are_ours_or_name_what_there_is() -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (blocks.ROOT / "Makefile").read_text(), re.MULTILINE)
    project = tomllib.loads((blocks.ROOT / "pyproject.toml").read_text())["project"]
    for some in PAGES.values():
        lines = [line for one in some if one.language == "sh" for line in one.code.splitlines()]
        for command, _, rest in (line.partition(" ") for line in lines if line):
            assert command in ("lensdepth", "make", "pip")  # ours run in `test_cli_examples.py`
            if command == "make":
                assert rest.split()[0] in targets
            for extra in re.findall(r"\[([a-z]+)\]", rest) if command == "pip" else ():
                assert extra in project["optional-dependencies"]


def test_tables_and_configurations_are_read(tmp_path: Path) -> None:
    for some in PAGES.values():
        for place, one in enumerate(some):
            file = tmp_path / f"{place}.toml"
            if one.language == "yaml":
                assert yaml.safe_load(one.code)["kind"] == "RayJob"
            elif one.title or one.language != "toml":
                continue  # files are read by their own page's Python
            elif "[[hypothesis]]" in one.code:
                file.write_text(one.code)
                assert load_hypotheses(file)
            else:
                file.write_text(one.code if "models" in one.code else ONE + one.code)
                faults: tuple[str, ...] = ()
                try:
                    read_config(file)
                except ConfigError as error:
                    faults = error.faults
                # A real model that was not fetched is all that may be missing.
                assert all("'lensdepth fetch " in fault for fault in faults), faults
