"""The course is in step, its prose computes its numbers, and its hidden solutions are right."""

import ast
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from lensdepth.teaching.exercises import EXERCISES
from notebooks.tools import course
from notebooks.tools.course import Solution, with_solutions
from notebooks.tools.pair import pair, with_beginning

SOURCES = course.sources()
NAMES = [source.stem for source in SOURCES]
TYPED = re.compile(r"\d[.,]\d|\d ?%|\d ?nats\b|±")
"""A number that somebody measured and wrote down."""
CONVENTIONS = re.compile(
    r"95 %|10(–| to )90 %|arXiv\s+\d{4}\.\d{5}(\s+and\s+\d{4}\.\d{5})?|"
    r"Llama 3\.1 8B|Mistral 0\.3 7B|Qwen 2\.5 7B|GPT-2"
)
"""Levels, papers and names have numbers too."""


def prose_of(source: str) -> str:
    """Markdown without code, links, hidden solutions and conventions."""
    text = re.sub(r"<details>.*?</details>", "", source, flags=re.DOTALL)
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
    return CONVENTIONS.sub("", text)


def fixed_places(code: str) -> list[str]:
    """Depths, layers and heads that are written as numbers, and so hold for one model only."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg in ("depths", "depth", "layer", "head", "heads"):
                    literal = [
                        n.value for n in ast.walk(keyword.value) if isinstance(n, ast.Constant)
                    ]
                    if any(isinstance(value, int) for value in literal):
                        found.append(ast.unparse(keyword))
    return found


@pytest.fixture(params=SOURCES, ids=NAMES)
def source(request: pytest.FixtureRequest) -> Path:
    """Each notebook in turn."""
    return request.param


def test_there_are_eleven_in_order() -> None:
    assert [int(name[:2]) for name in NAMES] == list(range(1, 12))


def test_the_two_forms_are_in_step_and_without_outputs(source: Path) -> None:
    assert pair(source, write=False) == [], "run make pair"
    book = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(book)
    for cell in book.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_a_notebook_out_of_step_is_found(tmp_path: Path) -> None:
    first = SOURCES[0]
    copy = tmp_path / first.name
    copy.write_text(first.read_text().replace("**The question.**", "**A question.**"))
    copy.with_suffix(".ipynb").write_text(first.with_suffix(".ipynb").read_text())
    assert pair(copy, write=False) == [copy.with_suffix(".ipynb").name]
    pair(copy, write=True)
    assert pair(copy, write=False) == []
    assert "**A question.**" in copy.with_suffix(".ipynb").read_text()


def test_every_notebook_has_its_parts(source: Path) -> None:
    book = course.read(source)
    cells = book.cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert cells[0].source.startswith(f"# {int(source.stem[:2])} · ")
    assert course.badge(source.stem) in cells[0].source
    for part in ("**The question.**", "## A prediction, before you go on", "## Exercises",
                 "**Further reading.**"):  # fmt: skip
        assert part in text, part
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    named = 'MODEL = "calendar"  # or "gpt2", "Qwen/Qwen2.5-0.5B", ..., or a folder'
    if source.stem[:2] == "10":
        named = (
            'MODEL = "smollm2"  # or "gemma3-270m", "gpt2", "Qwen/Qwen2.5-0.5B", ..., or a folder'
        )
    if source.stem[:2] == "11":
        named = 'MODEL = "tiny"  # a bundled model with checkpoints; your own: their folder below'
    assert re.findall(r"^MODEL = .*", code, re.MULTILINE) == [named]
    # The models stand in the first lines alone, those to compare with as well.
    assert not re.search(
        r'"(calendar|tiny|smollm2)"', re.sub(r"(?m)^(MODEL|BESIDE) = .*", "", code)
    )


def test_every_exercise_is_asked_checked_and_solved(source: Path) -> None:
    book = course.read(source)
    mine = [name for name in EXERCISES if name[:2] == source.stem[:2]]
    assert 2 <= len(mine) <= 3
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    assert re.findall(r'check\("([\w.]+)"', code) == mine
    solved = [re.findall(r'check\("([\w.]+)"', s.code) for s in course.solutions(book)]
    assert solved == [[name] for name in mine]
    for name in mine:
        for function in re.findall(r"^Write `(\w+)\(", EXERCISES[name].asks):
            assert f"def {function}(" in code, f"{name} asks for {function}"


def figures_of(code: str) -> int:
    """How many figures a cell shows; tables are shown by the same word."""
    calls = [
        line.value
        for line in ast.parse(code).body
        if isinstance(line, ast.Expr) and ast.unparse(line).startswith("show(")
    ]
    return sum(not re.search(r"pd\.|\.round\(", ast.unparse(call)) for call in calls)


def test_every_figure_says_what_to_see(source: Path) -> None:
    cells = course.read(source).cells
    for place, cell in enumerate(cells):
        if cell.cell_type == "code" and figures_of(cell.source):
            near = "".join(after.source for after in cells[place + 1 : place + 3])
            assert "What to see" in near, cell.source


def test_numbers_in_the_prose_are_computed(source: Path) -> None:
    for cell in course.read(source).cells:
        if cell.cell_type == "markdown":
            found = TYPED.search(prose_of(cell.source))
            assert found is None, f"{found[0]!r} in: {cell.source}"


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("It falls by 4.6 nats.", True),
        ("It is right for 88 % of the prompts.", True),
        ("It is 7 nats.", True),
        ("A 95 % interval; arXiv 2303.08112; Llama 3.1 8B; depth 0.", False),
        ("`x = 0.5` and [a link](https://a.b/1.5).", False),
    ],
)
def test_typed_numbers_are_found(text: str, typed: bool) -> None:
    assert bool(TYPED.search(prose_of(text))) == typed


def test_no_cell_names_a_place_in_one_model(source: Path) -> None:
    for cell in course.read(source).cells:
        if cell.cell_type == "code":
            assert fixed_places(cell.source) == []


def test_places_in_one_model_are_found() -> None:
    assert fixed_places("f(model, depths=[8])") == ["depths=[8]"]
    assert fixed_places("plot(layer=4, head=h)") == ["layer=4"]
    assert fixed_places("f(model, depths=[model.n_layers], name='8')") == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (re.findall(r'check\("([\w.]+)"', one.code)[0], one.code)
        for source in SOURCES
        for one in course.solutions(course.read(source))
        if EXERCISES[re.findall(r'check\("([\w.]+)"', one.code)[0]].cases is not None
    ],
)
def test_hidden_solutions_of_functions_pass(name: str, code: str) -> None:
    """The others need what their notebook measured; `make notebooks` runs all."""
    import numpy as np
    import torch

    from lensdepth.teaching import check

    *before, last = code.strip().splitlines()
    namespace = {"np": np, "torch": torch, "check": check}
    exec("\n".join(before), namespace)
    found = eval(last, namespace)
    assert found.exercise == name
    assert found.passed, found


def test_a_solution_runs_behind_its_exercise_and_must_pass() -> None:
    code = "```python\nx = 1\ncheck(x)\n```"
    hidden = f"<details><summary>Solution</summary>\n\n{code}\n\n</details>"
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("## Exercises"),
            nbformat.v4.new_markdown_cell(hidden),
        ]
    )
    assert course.solutions(book) == [Solution(cell=1, code="x = 1\ncheck(x)\n")]
    added = with_solutions(book).cells[2]
    assert added.source == "x = 1\n_found = check(x)\nassert _found.passed, _found"


def test_another_model_is_named_in_one_place() -> None:
    book = course.read(SOURCES[0])
    course.name_model(book, "C:\\models\\mine")
    (cell,) = [c for c in book.cells if c.source.startswith("MODEL = ")]
    line = cell.source.splitlines()[0]
    assert line.endswith('# or "gpt2", "Qwen/Qwen2.5-0.5B", ..., or a folder')
    named: dict[str, str] = {}
    exec(line, named)
    assert named["MODEL"] == "C:\\models\\mine"


def test_a_model_of_its_own_is_kept() -> None:
    (source,) = [one for one in SOURCES if one.stem[:2] == "10"]
    book = course.read(source)
    course.name_model(book, "tiny")
    assert course.model_of(book) == "smollm2"


def test_a_model_that_cannot_be_had_is_said_aloud(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is executed, nothing fails, and both the last line and the page say so."""
    from notebooks.tools import run

    def refuse(name: str) -> Path:
        raise ValueError(f"fetch: {name} cannot be had.")

    monkeypatch.setattr(run, "fetch_model", refuse)
    monkeypatch.setattr(
        run, "ProcessPoolExecutor", lambda jobs: nullcontext(SimpleNamespace(map=map))
    )
    monkeypatch.setattr("sys.argv", ["run", "10", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("10_a_real_model was SKIPPED, nothing in it was executed")
    assert said.endswith("fetch: smollm2 cannot be had.")
    written = nbformat.read(tmp_path / "10_a_real_model.ipynb", as_version=4)
    assert "**Not executed.** fetch: smollm2 cannot be had." in written.cells[1].source
    assert not any(cell.get("outputs") for cell in written.cells)


def test_no_value_of_a_cell_is_lost_to_a_script(source: Path) -> None:
    """A bare last value shows itself in a notebook alone; `show` and `say` do so everywhere."""
    quiet = ("pd.set_option(", "result.insert(", "figure.", "found.save(")
    for cell in course.read(source).cells:
        if cell.cell_type == "code":
            for line in ast.parse(cell.source).body:
                if isinstance(line, ast.Expr):
                    text = ast.unparse(line)
                    assert text.startswith(("say(", "show(", "check(", "lap(", *quiet)), text


@pytest.mark.long
def test_a_notebook_runs_as_a_script(tmp_path: Path) -> None:
    """Sentences, tables and a line for each figure; open exercises say so and stop nothing."""
    book = course.read(SOURCES[0])
    course.name_model(book, "tiny")
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    script, figures = tmp_path / "01_copy.py", tmp_path / "figures"
    script.write_text(code)
    environment = {
        **os.environ,
        "LENSDEPTH_FIGURES": str(figures),
        "PYTHONPATH": str(course.ROOT),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-W", "ignore", str(script)]
    done = subprocess.run(
        command, env=environment, cwd=course.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout
    assert "What to see." in said
    assert "**" not in said
    assert not re.search(r"Figure\(|<lensdepth|Feedback\(|Prose\(", said)
    n_shown = len(re.findall(r"(?m)^show\(", code))
    assert len(re.findall(r"(?m)^\[Figure \d+: .+\.html\]$", said)) == n_shown
    assert len(list(figures.glob("01_copy-*.html"))) == n_shown
    for name in [one for one in EXERCISES if one[:2] == "01"]:
        assert re.search(rf"(?m)^{re.escape(name)}: no answer\. .+$", said)


def test_an_address_gives_links_and_none_gives_instructions() -> None:
    with_address = course.badge("01_x", "someone/lensdepth")
    assert "github/someone/lensdepth/blob/main/notebooks/01_x.ipynb" in with_address
    assert "git+https://github.com/someone/lensdepth" in course.setup("someone/lensdepth")
    assert "Upload notebook" in course.badge("01_x", "")
    for repository in ("", "someone/lensdepth"):
        compile(course.setup(repository), "setup", "exec")


def test_a_beginning_is_written_once(source: Path) -> None:
    once = with_beginning(source).cells[0].source
    assert once.count("Colab") == course.badge(source.stem).count("Colab")
    assert once == course.read(source).cells[0].source


def test_the_readme_lists_every_notebook() -> None:
    text = (course.FOLDER / "README.md").read_text()
    for source in SOURCES:
        title = course.read(source).cells[0].source.partition("\n")[0].lstrip("# ")
        assert f"[{title}]({source.stem}.ipynb)" in text


def test_pages_link_to_one_another_and_hold_their_figures() -> None:
    pages = pytest.importorskip("notebooks.tools.pages")
    body = '<a href="02_lenses.ipynb">2</a> <a href="../docs/claims.md#x">c</a> <a href="a.b">o</a>'
    names = {"02_lenses.ipynb": "02_lenses", "docs/claims.md": "claims"}
    assert pages.linked(body, names) == (
        '<a href="02_lenses.html">2</a> <a href="claims.html#x">c</a> <a href="a.b">o</a>'
    )
    figure = {"data": [{"name": "</script><b>"}], "layout": {"height": 300}}
    made = pages.figure_html(figure, 1)
    assert "</script><b>" not in made
    assert "min-height:300px" in made
