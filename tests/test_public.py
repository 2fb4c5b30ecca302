"""The public names exist, cost nothing until they are used, and are documented."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lensdepth

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", lensdepth.__all__)
def test_every_public_name_resolves_and_says_what_it_is(name: str) -> None:
    thing = getattr(lensdepth, name)
    assert inspect.getdoc(thing), f"{name} has no docstring"
    for member, value in vars(thing).items() if inspect.isclass(thing) else ():
        if not member.startswith("_") and inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{member} has no docstring"


@pytest.mark.parametrize("name", lensdepth.__all__)
def test_every_public_function_names_the_errors_it_raises(name: str) -> None:
    thing = getattr(lensdepth, name)
    if inspect.isfunction(thing) and re.search(r"\braise ", inspect.getsource(thing)):
        assert "Raises:" in (inspect.getdoc(thing) or ""), f"{name} does not say what it raises"


def test_the_list_of_public_names_is_one_list() -> None:
    stub = ast.parse((ROOT / "lensdepth/__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    names = [str(alias.asname) for node in imports for alias in node.names]
    assert sorted(lensdepth.__all__) == sorted(names)
    assert [alias.name for node in imports for alias in node.names] == names
    assert set(lensdepth.__all__) <= set(dir(lensdepth))


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'pandas', 'plotly', 'transformers', 'transformer_lens', 'typer'}"
    code = f"import sys, lensdepth; sys.exit(repr({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "''"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'steer'"):
        lensdepth.steer  # type: ignore[attr-defined]  # noqa: B018


def test_the_changelog_tells_of_this_version() -> None:
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert versions[0] == lensdepth.__version__
    assert f'version = "{lensdepth.__version__}"' in (ROOT / "pyproject.toml").read_text()


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_our_calls_in_the_table_beside_those_of_others_run() -> None:
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
    text = (ROOT / "README.md").read_text().partition("## Coming from")[2].partition("\n## ")[0]
    calls = [
        call for row in re.findall(r"^\|.*\| (`.*`) \|$", text, re.MULTILINE)
        for call in re.findall(r"`(.+?)`", row)
    ]  # fmt: skip
    assert len(calls) > 12
    for call in calls:
        # The model here has three blocks.
        eval(
            call.replace("[5]", "[2]").replace("depths=5", "depths=1").replace("post3", "post2"),
            names,
        )


DOCUMENTS = ("README.md", "docs/tutorial.md", "docs/own.md")
"""Documents whose blocks of Python run here, each by itself, and print what stands below them."""
BLOCKS = [
    pytest.param(code, printed, id=f"{document}-{place}")
    for document in DOCUMENTS
    for place, (code, printed) in enumerate(
        re.findall(
            r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```",
            (ROOT / document).read_text(),
            flags=re.DOTALL,
        )
    )
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_shows_what_it_prints(document: str) -> None:
    shown = [block.values[0] for block in BLOCKS if str(block.id).startswith(document)]
    assert shown == python_blocks((ROOT / document).read_text())


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.stem)
def test_the_documents_import_public_names_alone(path: Path) -> None:
    for code in python_blocks(path.read_text()):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module == "lensdepth":
                assert {alias.name for alias in node.names} <= set(lensdepth.__all__)


@pytest.mark.parametrize(("code", "printed"), BLOCKS)
def test_blocks_run_by_themselves(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    printed: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "a block", "exec"), {})
    assert capsys.readouterr().out == printed
