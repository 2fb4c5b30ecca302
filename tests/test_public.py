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
