"""One state, one number: page, explorer, terminal and JSON say the same of the same state."""

import csv
import io
import json
import re
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
import results

from lensdepth import find_crossing, load_task, logit_lens, patch_sweep
from lensdepth.cli import main
from lensdepth.explorer import Offers, cards
from lensdepth.explorer.filling import Filled, fill
from lensdepth.explorer.menus import menus
from lensdepth.explorer.settle import Setting, settle
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.model import DepthModel
from lensdepth.report.build import Report, write_report
from lensdepth.report.measured import Measured
from lensdepth.telling.depths import explained, place, spread
from lensdepth.telling.numbers import number
from lensdepth.transition import find_transition

HOVER = re.compile(r"^depth ([\d.]+) of (\d+) \((\d+)%\)(?:, (.*))?<br>(.*)$")
NONE = "not asked for here"


@pytest.fixture(scope="module")
def report(trained: DepthModel, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report of lens and patching on a few pairs."""
    task = load_task("months", trained, n=12)
    lens, patch = logit_lens(trained, task), patch_sweep(trained, task)
    crossing = find_crossing(patch, n_resamples=100)
    assert crossing.verdict == "crossing"
    nothing = dict.fromkeys(
        ("steering", "steering_crossing", "sustained_crossing", "commitment", "change_point",
         "locality", "ablation", "dose", "decoding", "geometry", "claims")
    )  # fmt: skip
    findings = Measured(
        task=task,
        lens=lens,
        tokens=logit_lens(trained, task.clean[0], positions="all"),
        transition=find_transition(lens, n_resamples=50),
        patch=patch,
        crossing=crossing,
        seed=0,
        absent=dict.fromkeys(nothing, NONE),
        seconds={},
        **nothing,
    )
    folder = tmp_path_factory.mktemp("surfaces")
    return write_report(findings, folder / "r.html", folder / "r_tables")


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    """The page without the library that draws its figures."""
    whole = report.path.read_text(encoding="utf-8")
    return re.sub(r'<script id="plotly">.*?</script>', "", whole, flags=re.S)


def figures_of(text: str) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="(\w+)-json">(.*?)</script>', text)
    return {key: json.loads(figure) for key, figure in found}


def tables_of(text: str) -> dict[str, list[list[str]]]:
    """Section -> rows of its table by depth, each cell as it is shown."""
    found = {}
    for key, section in re.findall(r'<section id="(\w+)"(.*?)</section>', text, flags=re.S):
        table = re.search(
            r"<summary>Table by depth</summary>.*?<tbody>(.*?)</tbody>", section, re.S
        )
        if table:
            rows = re.findall(r"<tr>(.*?)</tr>", table[1], flags=re.S)
            cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
            found[key] = [[unescape(cell) for cell in row] for row in cells]
    return found


def check_axis(figure: Any, n_layers: int) -> int:
    """Ticks and hovers of a figure over depth name the depth at which they stand."""
    scale = figure["layout"]["meta"]["scale"]
    axes = [axis for name, axis in figure["layout"].items() if name.startswith("xaxis")]
    for axis in axes:
        for at, label in zip(axis["tickvals"], axis["ticktext"], strict=True):
            shown, _, fraction = label.partition("<br>")
            assert int(shown) == pytest.approx(at / scale)
            assert f"{int(shown) / n_layers:.2f}".startswith(re.sub("<.*?>", "", fraction))
    assert figure["layout"]["meta"]["labels"] == axes[-1]["ticktext"]  # of so few depths, all
    n_said = 0
    for trace in figure["data"]:
        if "customdata" not in trace:
            continue
        for x, said in zip(values(trace["x"]), trace["customdata"], strict=True):
            depth, of, percent, after, _ = HOVER.match(said).groups()  # type: ignore[union-attr]
            assert float(depth) == pytest.approx(x / scale)
            assert int(of) == n_layers
            assert int(percent) == round(100 * float(depth) / n_layers)
            assert after == explained(int(depth), n_layers)
            n_said += 1
    return n_said


def values(numbers: Any) -> list[float]:
    """Numbers of a figure's JSON, which may be packed."""
    if not isinstance(numbers, dict):
        return numbers
    from base64 import b64decode

    import numpy as np

    return np.frombuffer(b64decode(numbers["bdata"]), numbers["dtype"]).tolist()


def hover_values(trace: Any) -> list[str]:
    """What a curve's hovers say: number and interval."""
    return [HOVER.match(said)[5] for said in trace["customdata"]]  # type: ignore[index]


def joined(cell: str) -> str:
    """A table's cell as a hover would say it."""
    value, _, bounds = cell.replace("</span>", "").partition("<span>")
    return f"{value} ({bounds})" if bounds else value


def test_the_page_says_one_number_for_one_state(report: Report, text: str) -> None:
    n_layers = report.lens.n_layers
    figures, tables = figures_of(text), tables_of(text)
    assert set(tables) == {"lens", "patch"}
    for key in ("story", "lens", "patch"):
        assert check_axis(figures[key], n_layers) >= 2 * (n_layers + 1)
    for rows in tables.values():
        assert [row[0] for row in rows] == [str(d) for d in range(n_layers + 1)]
        assert [row[1] for row in rows] == [explained(d, n_layers) for d in range(n_layers + 1)]
    # Contrast: hover of its curve in two figures, table, CSV, JSON, and the tensor itself.
    assert report.lens.contrast is not None
    contrast = report.lens.contrast.nanmean((1, 2)).tolist()
    column = [row[3] for row in tables["lens"]]
    assert [cell.partition("<")[0] for cell in column] == [number(x) for x in contrast]
    for figure in ("lens", "story"):
        curve = next(t for t in figures[figure]["data"] if "customdata" in t)
        assert hover_values(curve) == [joined(cell) for cell in column]
    assert report.summary["lens"]["contrast"] == pytest.approx(contrast, abs=1e-6)
    link = re.search(r'href="data:text/csv;charset=utf-8,([^"]*)" download="lens', text)
    rows = list(csv.DictReader(io.StringIO(unquote(unescape(link[1])))))  # type: ignore[index]
    assert [(int(row["depth"]), number(float(row["contrast"]))) for row in rows] == list(
        enumerate(map(number, contrast))
    )
    # Efficacy at the prediction position, likewise; and the ends that the sentence tells.
    assert report.patch is not None
    found = report.patch.efficacy("prediction").nanmean(0).tolist()
    assert report.summary["patch"]["efficacy"]["prediction"] == pytest.approx(found)
    heads = re.search(r'id="patch".*?<thead>(.*?)</thead>', text, re.S)
    names = re.findall(r"<th[^>]*>(.*?)</th>", heads[1])  # type: ignore[index]
    at = names.index("prediction position, efficacy")
    shown = [row[at].partition("<")[0] for row in tables["patch"]]
    assert shown == [number(x) for x in found]
    curve = next(t for t in figures["patch"]["data"]
                 if t.get("customdata") and t["name"] == "prediction position")  # fmt: skip
    assert [said.partition(" ")[0] for said in hover_values(curve)] == shown
    assert f"at the prediction position in {100 * found[0]:.0f}%" in unescape(text)


def test_a_switch_lies_where_every_surface_puts_it(report: Report, text: str) -> None:
    assert report.crossing is not None
    at, low, high = report.crossing.depth, report.crossing.low, report.crossing.high
    before, after = report.crossing.between
    said = f"between depth {before:g} and {after:g} of {report.n_layers}"
    short = f"depth {number(at)} of {report.n_layers}"
    plain = unescape(re.sub("<script.*?</script>", "", text, flags=re.S))
    assert plain.count(said) >= 2  # summary, section
    assert plain.count(short) >= 3  # key number, two legends
    assert place(at, low, high, (before, after), report.n_layers) in plain
    row = plain[plain.index("patching, crossing") :]
    assert re.findall(r"<td[^>]*>(.*?)</td>", row)[:2] == [
        number(at), spread(at, low, high).removeprefix("95% interval "),
    ]  # fmt: skip
    assert report.summary["patch"]["crossing"]["depth"] == pytest.approx(at)
    shapes = figures_of(text)["patch"]["layout"]["shapes"]
    assert {(s["x0"], s["x1"]) for s in shapes} == {(low, high), (at, at)}


def test_no_surface_counts_in_blocks_where_a_state_is_meant(text: str) -> None:
    plain = unescape(re.sub("<[^>]*>", " ", text))
    pairs = re.findall(r"depth (\d+) \(after block (\d+)", plain)
    assert pairs
    assert all(int(depth) == int(block) + 1 for depth, block in pairs)
    assert not re.search(r"output of block|\bembed\b|= final", plain)


def test_the_map_of_tokens_counts_in_depths(report: Report, text: str) -> None:
    n_layers, figure = report.n_layers, figures_of(text)["tokens"]
    labels = [re.sub("<.*?>", "", label) for label in figure["layout"]["yaxis"]["ticktext"]]
    assert [label.split()[0] for label in labels] == [str(d) for d in range(n_layers + 1)]
    for depth, row in enumerate(figure["data"][0]["customdata"]):
        assert f"depth {depth} of {n_layers} (" in row[0]
        assert explained(depth, n_layers) in row[0]
        kl = report.tokens.kl[depth, 0, 0].item()
        assert f"KL {number(kl)}," in row[0]


@pytest.fixture
def shelf(trained: DepthModel) -> Any:
    offers = Offers(
        models={"tiny": {"name_or_path": "tiny"}}, tasks={"months": {"name_or_path": "months"}}
    )
    made = Shelf(offers, lambda name_or_path: trained)
    yield made
    made.close()


def shown(screen: Screen, shelf: Shelf) -> tuple[Setting, dict[str, Filled]]:
    setting = settle(screen, shelf)
    return setting, {
        card.name: fill(card, setting.screen, shelf) for card in cards.cards_of(setting.screen)
    }


@pytest.mark.parametrize(("stream", "chosen"), [("resid_pre", 2), ("attn_out", 1)])
def test_the_explorer_says_one_number_for_one_state(
    shelf: Shelf, trained: DepthModel, stream: str, chosen: int
) -> None:
    """The state after block 1 is depth 2, whichever of the two was chosen."""
    start = Screen(model="tiny", task="months", depth=chosen, position=4, to=4)
    setting, filled = shown(replace(start, stream=stream), shelf)
    menu = {option["value"]: option["label"] for option in menus(setting)["depth"]}
    if stream == "resid_pre":
        assert menu == {d: f"{d}: {explained(d, 3)}" for d in range(4)}
    else:
        assert menu == {b: f"block {b} (into depth {b + 1})" for b in range(3)}
    figure = filled["map"].figure["figure"]  # type: ignore[index]
    labels = [label.split()[0] for label in figure["layout"]["yaxis"]["ticktext"]]
    assert labels == ["0", "1", "2", "3"]
    (frame,) = [s for s in figure["layout"]["shapes"] if s["type"] == "rect"]
    assert (frame["y0"], frame["y1"]) == (1.5, 2.5)  # round the row of depth 2
    assert filled["cell"].title == "At the chosen cell: depth 2, token 4"
    bars = filled["cell"].figure["figure"]  # type: ignore[index]
    assert "at depth 2 of 3" in bars["layout"]["title"]["text"]
    lens = logit_lens(trained, setting.screen.prompt, positions="all")
    probability = number(lens.top_log_probs[2, 0, 4, 0].exp().item())
    assert bars["data"][0]["text"][0] == probability
    hover = figure["data"][0]["customdata"][2][4]
    assert "depth 2 of 3 (67%), after block 1" in hover
    assert f"<br>{probability}  " in hover
    kl = number(lens.kl[2, 0, 4].item())
    assert f"KL {kl}," in hover
    table = filled["map"].numbers
    depth, token, column = (table["head"].index(c) for c in ("depth", "position", "kl"))
    (row,) = [r for r in table["rows"] if (r[depth], r[token]) == ("2", "4")]
    assert row[column] == kl


def test_the_explorers_sweep_counts_in_depths(shelf: Shelf) -> None:
    start = Screen(model="tiny", task="months", view="sweep", pairs=20, stream="attn_out")
    _, filled = shown(start, shelf)
    figure = filled["patch"].figure["figure"]  # type: ignore[index]
    assert check_axis(figure, 3) > 0
    table = filled["patch"].numbers
    depth, layer = table["head"].index("depth"), table["head"].index("layer")
    assert {int(row[depth]) - int(row[layer]) for row in table["rows"]} == {1}
    heat = filled["patch-map"].figure["figure"]  # type: ignore[index]
    assert heat["layout"]["yaxis"]["title"]["text"] == "block"
    assert list(heat["layout"]["yaxis"]["ticktext"]) == ["0", "1", "2"]
    assert heat["data"][0]["text"][1][0].startswith("block 1 (into depth 2)<br>")


def test_the_terminal_says_what_the_json_says(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["lens", "--model", "tiny", "--n", "12"]
    assert main([*command, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert main(command) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {int(line[0]): line[2] for line in lines if line and re.fullmatch(r"\d", line[0])}
    assert rows == {depth: number(x) for depth, x in enumerate(summary["contrast"])}


def test_pair_counts_have_one_set_of_keys(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["patch", "--model", "tiny", "--n", "12", "--curves", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["summary"]["pairs"]
    assert set(found) == set(report.summary["pairs"]) == {"drawn", "used", "multi_token", "wrong"}
    assert report.summary["pairs"]["used"] == len(report.task)


def test_block_curves_say_the_depth_after_the_block() -> None:
    """Attention of block 3 moves most: its curve peaks at depth 4, and so says the JSON."""
    from lensdepth.analyses import analysis

    profile = results.locality()
    told = analysis("locality")
    table = told.table(profile)
    assert table is not None
    frame: pd.DataFrame = table.frame
    assert frame.depth[frame.local.argmax()] == 4
    assert told.summary(profile)["best_depth"] == 4
    assert told.summary(profile)["best_layer"] == 3
    traces = json.loads(str(profile.plot().to_json()))["data"]
    curve = next(t for t in traces if t.get("name") == "local effect" and "customdata" in t)
    peak = values(curve["y"])
    best = peak.index(max(peak))
    assert curve["customdata"][best].startswith("depth 4 of 8 (50%), after block 3<br>2.00")
