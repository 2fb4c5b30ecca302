"""The explorer in a real browser: every view, what it takes along, and what must not happen."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
import torch
from playwright.sync_api import Browser, Dialog, Page, Request, Route, expect, sync_playwright
from werkzeug.serving import make_server

import lensdepth
from lensdepth import (
    DepthModel,
    circuit_graph,
    generation_profile,
    intervene,
    load_model,
    load_task,
    logit_lens,
    pair_table,
    pair_task,
)
from lensdepth.explorer import Offers, create_app
from lensdepth.explorer import jobs as jobs_module
from lensdepth.explorer import shelf as shelf_module
from lensdepth.explorer.errors import readable
from lensdepth.explorer.jobs import MOST_WAITING, Jobs
from lensdepth.explorer.notes import VIEWS
from lensdepth.explorer.server import guard
from lensdepth.explorer.shelf import Shelf
from lensdepth.progress import watch
from lensdepth.replay import memory
from lensdepth.telling.numbers import number as to_text

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SHOTS = Path(__file__).parents[1] / "out" / "explorer"
BASE, SOURCE = "The capital of France is", "The capital of Spain is"
PAIR = "&prompt=The+capital+of+France+is&source=The+capital+of+Spain+is"
WAIT = 60_000
"""Milliseconds: a busy machine is no fault, and what comes at once is not waited for."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no chromium on this machine"
)


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    """What the explorer does in the background."""
    made = Jobs(describe=readable)
    yield made
    made.close()


@pytest.fixture(scope="module")
def address(trained: DepthModel, jobs: Jobs) -> Iterator[str]:
    """One explorer for all tests."""
    with served(trained, jobs) as running:
        yield running


@contextmanager
def served(trained: DepthModel, jobs: Jobs) -> Iterator[str]:
    """A running explorer on the small bundled model, and one model that is not there."""

    def load(name_or_path: str) -> DepthModel:
        if name_or_path != "tiny":
            raise ValueError(f"load_model: there is no folder {name_or_path!r}.")
        return trained

    offers = Offers(
        models={
            "tiny": {"name_or_path": "tiny"},
            "twin": {"name_or_path": "tiny"},
            "broken": {"name_or_path": "./broken"},
        },
        tasks={"capitals": {"name_or_path": "capitals"}, "months": {"name_or_path": "months"}},
    )
    shelf = Shelf(offers, load)
    app = create_app(offers, shelf=shelf, jobs=jobs)
    guard(app.server, host="127.0.0.1", token=None)
    # The system gives each worker a port of its own.
    server = make_server("127.0.0.1", 0, app.server, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join(10)
    server.server_close()
    shelf.close()


@pytest.fixture(scope="module")
def apart() -> DepthModel:
    """The same model again: the server's own may be at work in another thread."""
    return load_model("tiny")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new tab; whatever goes wrong in its scripts fails the test, as does a request elsewhere."""
    context = browser.new_context(
        viewport={"width": 1360, "height": 900}, accept_downloads=True, color_scheme="light"
    )
    tab = context.new_page()
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))

    def refused(dialog: Dialog) -> None:
        faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def watched(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            faults.append(f"asked {request.url}")

    tab.on("dialog", refused)
    tab.on("request", watched)
    yield tab
    context.close()
    assert faults == []


def opened(page: Page, address: str, query: str = "") -> Page:
    """The page once a view stands on it."""
    page.goto(address + query)
    page.wait_for_selector("main > .view:not([hidden])", timeout=WAIT)
    return page


def drawn(page: Page, name: str) -> Any:
    """A card's figure, once it is drawn."""
    plot = page.locator(f'[id*=\'"name":"{name}"\'][id*=\'"graph"\'] .js-plotly-plot')
    expect(plot.locator(".main-svg").first).to_be_visible(timeout=WAIT)
    return plot


def number(text: str) -> float:
    """The first number in a text."""
    found = re.search(r"[+−-]?\d+\.?\d*(e[−-]?\d+)?", text)
    assert found is not None, text
    return float(found[0].replace("−", "-"))


def transferred(page: Page, scope: str, *, patience: int = WAIT) -> float:
    """What a scope's column says of the transferred fraction."""
    shown = page.locator(f"td.scope-{scope} strong").first
    expect(shown).to_be_visible(timeout=patience)
    return number(shown.inner_text())


def quiet(page: Page) -> None:
    """Wait until no callback is on its way and what the last ones brought is painted."""
    page.wait_for_function("window.store && !window.store.getState().isLoading", timeout=WAIT)
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")


def click_cell(page: Page, plot: Any, row: int, column: int, **how: Any) -> None:
    """Click a cell of a token map, rows counted from the bottom.

    As people do: when the map stands still, and once the pointer has found the cell. Plotly takes
    no click on a cell that it does not know to be pointed at, and forgets that when it redraws.
    """
    quiet(page)
    plot.scroll_into_view_if_needed()
    x, y = plot.evaluate(
        """(plot, [row, column]) => { const {xaxis, yaxis} = plot._fullLayout;
            const {left, top} = plot.getBoundingClientRect();
            return [left + xaxis._offset + xaxis.d2p(column),
                    top + yaxis._offset + yaxis.d2p(row)]; }""",
        [row, column],
    )
    for key in how.get("modifiers", []):
        page.keyboard.down(key)
    page.mouse.move(x - 3, y - 3)
    page.mouse.move(x, y)
    expect(plot.locator(".hoverlayer .hovertext").first).to_be_visible(timeout=WAIT)
    page.mouse.down()
    page.mouse.up()
    for key in how.get("modifiers", []):
        page.keyboard.up(key)


def choose_cell(page: Page, plot: Any, row: int, column: int, query: str, **how: Any) -> None:
    """Click a cell; the address says so."""
    click_cell(page, plot, row, column, **how)
    expect(page).to_have_url(re.compile(query), timeout=WAIT)


def test_it_opens_and_reads(page: Page, address: str, apart: DepthModel) -> None:
    opened(page, address, f"?view=read{PAIR}")
    plot = drawn(page, "map")
    lens = logit_lens(apart, BASE, positions="all")
    top = lens.text(int(lens.top_tokens[-1, 0, -1, 0]))
    assert top in plot.inner_text()
    for token in ("capital", "France"):
        assert token in plot.inner_text()
    assert top in drawn(page, "next").inner_text()
    assert "Paris" in plot.inner_text() or top != " Paris"
    # Another colour is another scale.
    page.get_by_text("Entropy", exact=True).click()
    expect(plot).to_contain_text("entropy, nats", timeout=WAIT)
    assert "value=entropy" in page.url


def test_the_map_does_not_wait_for_the_tasks_switch(
    page: Page, trained: DepthModel, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The switch, which takes many prompts, comes later and is then drawn into the map. The small
    model has no depths to show one at; the other bundled model's stands in."""
    other, go = load_model("calendar"), threading.Event()
    task = load_task("capitals", other, n=60, keep="all")
    found = lensdepth.find_transition(logit_lens(other, task))

    def late(*_: Any, **__: Any) -> Any:
        assert go.wait(WAIT / 1000)
        return found

    monkeypatch.setattr(lensdepth, "find_transition", late)
    # Of its own: the others have looked for the switch already.
    with served(trained, jobs) as address:
        try:
            opened(page, address, "?view=read&task=capitals&prompt=The+capital+of+Italy+is")
            expect(drawn(page, "map")).to_contain_text("Italy")
            assert page.locator(".zone-note").count() == 0
        finally:
            go.set()
        expect(page.locator(".zone-note")).to_contain_text("The lens switches", timeout=WAIT)


def test_pointing_at_a_cell_shows_the_likeliest_tokens(page: Page, address: str) -> None:
    opened(page, address, f"?view=read{PAIR}")
    plot = drawn(page, "map")
    plot.scroll_into_view_if_needed()
    click_cell(page, plot, 2, 3)
    expect(plot.locator(".hoverlayer")).to_contain_text(re.compile(r"0\.\d{2}"), timeout=WAIT)


def test_a_token_is_found_at_every_depth(page: Page, address: str, apart: DepthModel) -> None:
    opened(page, address, f"?view=read{PAIR}")
    drawn(page, "map")
    page.locator("#follow").fill("Madrid")
    page.locator("#follow").press("Enter")
    plot = drawn(page, "followed")
    lens = logit_lens(apart, BASE, follow=["Madrid"])
    assert lens.followed_log_prob is not None
    expected = lens.followed_log_prob[:, 0, 0, 0].exp().tolist()
    drawn_there = plot.evaluate("(plot) => plot.calcdata[0].map((point) => point.y)")
    assert drawn_there == pytest.approx(expected, abs=1e-5)
    page.locator("#follow").fill("Madrid is")
    page.locator("#follow").press("Enter")
    card = page.locator("section[id*='followed']")
    expect(card).to_contain_text("takes single tokens of this model", timeout=WAIT)
    page.locator("#follow").fill("")
    page.locator("#follow").press("Enter")
    expect(card).to_be_hidden(timeout=WAIT)


def test_a_prompt_of_several_lines_keeps_them(page: Page, address: str) -> None:
    opened(page, address, "?view=read&prompt=The+capital%0AFrance+is&source=The+capital+is")
    drawn(page, "map")
    field = page.locator("#prompt")
    assert field.input_value() == "The capital⏎France is"
    field.focus()
    page.locator("#source").focus()
    page.get_by_text("Entropy", exact=True).click()
    expect(page).to_have_url(re.compile("value=entropy"), timeout=WAIT)
    assert "prompt=The+capital%0AFrance+is" in page.url
    field.fill("The capital⏎of France is")
    field.press("Enter")
    expect(page).to_have_url(re.compile("prompt=The.capital%0Aof"), timeout=WAIT)


def test_depths_stay_in_sight_below_which_a_long_prompt_scrolls(page: Page, address: str) -> None:
    words = "+".join(["The+capital+of+France+is"] * 6)
    opened(page, address, f"?view=read&prompt={words}&depth=1&position=29")
    plot = drawn(page, "map")
    scroll = page.locator(".plot-scroll", has=plot)
    # The chosen cell is at the end, and is scrolled into sight.
    page.wait_for_function(
        "document.querySelector('.depths')?.parentElement.scrollLeft > 300", timeout=WAIT
    )
    left = box(page, ".plot-scroll")[0]
    for at in (0, 400):
        scroll.evaluate("(part, at) => { part.scrollLeft = at; }", at)
        depths = box(page, ".depths")
        assert depths[0] == pytest.approx(left, abs=2)
        rows = plot.evaluate("(plot) => plot._fullLayout.yaxis._length / 4")
        top = plot.evaluate("(p) => p.getBoundingClientRect().top + p._fullLayout.yaxis._offset")
        for depth in range(4):
            label = page.locator(".depths > div").nth(depth).bounding_box()
            assert label is not None
            middle = label["y"] + label["height"] / 2
            assert middle == pytest.approx(top + (3.5 - depth) * rows, abs=3)


def test_a_poke_gives_the_librarys_numbers(page: Page, address: str, apart: DepthModel) -> None:
    opened(page, address, f"?view=poke&depth=2&edit=direction{PAIR}")
    found = intervene(apart, BASE, SOURCE, depth=2, edit="direction").to_frame().set_index("run")
    for scope in ("local", "suffix", "window"):
        shown = transferred(page, scope)
        assert shown == pytest.approx(found.loc[scope, "transferred"], abs=0.006)
    drawn(page, "predictions")
    drawn(page, "trajectory")


def box(page: Page, selector: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what is shown first, in pixels of the window."""
    found = page.locator(selector).first.bounding_box()
    assert found is not None, selector
    return found["x"], found["y"], found["x"] + found["width"], found["y"] + found["height"]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1440, 900)])
def test_prompt_map_edit_and_result_fit_one_screen(
    page: Page, address: str, width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    opened(page, address, f"?view=poke&depth=2{PAIR}")
    drawn(page, "pick")
    transferred(page, "local")
    quiet(page)
    parts = ["#prompt", "#source", "[id*='pick'] .js-plotly-plot", "#depth", "#edit", "#strength",
             "#poke-said", "th.scope-window"]  # fmt: skip
    parts += [f"tr:nth-child({i}) td.scope-{s}" for i in (1, 2) for s in ("local", "window")]
    for part in parts:
        left, top, right, bottom = box(page, part)
        assert left >= 0, part
        assert top >= 0, part
        assert right <= width, part
        assert bottom <= height, part


@pytest.mark.parametrize(
    ("query", "menus", "said"),
    [
        ("depth=2", ["From depth", "2: after block 1"], "depth 2"),
        ("stream=mlp_out&depth=1", ["From block", "block 1 (into depth 2)"],
         "block 1 (into depth 2)"),
        ("stream=attn_out&depth=0&last=1", ["Window to block", "block 1 (into depth 2)"],
         "block 0 (into depth 1)"),
    ],
)  # fmt: skip
def test_a_site_has_one_number_on_map_menu_title_and_sentence(
    page: Page, address: str, query: str, menus: list[str], said: str
) -> None:
    opened(page, address, f"?view=poke&{query}{PAIR}")
    plot = drawn(page, "pick")
    transferred(page, "local")
    rows = plot.evaluate(
        """(plot) => { const {shapes, yaxis} = plot._fullLayout;
            const frame = shapes.find((shape) => shape.line.width === 2.5);
            return [frame.y0 + 0.5, frame.y1 - 0.5].map((row) => yaxis.ticktext[row]); }"""
    )
    framed = [int(number(text)) for text in rows]
    assert framed[1] == 2
    menu = page.locator(".field-last" if "last" in query else ".field-depth")
    for text in menus:
        expect(menu).to_contain_text(text)
    # What is edited here is the first row of the frame.
    assert number(said.replace("block 0 (into ", "").replace("block 1 (into ", "")) == framed[0]
    expect(page.locator("th.scope-local")).to_contain_text(said)
    expect(page.locator("#poke-said")).to_contain_text(f"Here, {said}: ")
    title = page.locator("[id*='pick'][id*='title']")
    chosen = "block 0 to 1 (into depth 1 to 2)" if "last" in query else said
    expect(title).to_have_text(f"Where to intervene: {chosen}, token 5", timeout=WAIT)


def test_a_slider_that_is_held_asks_for_its_newest_value_alone(page: Page, address: str) -> None:
    opened(page, address, f"?view=poke&depth=2{PAIR}")
    transferred(page, "local")
    quiet(page)
    held: list[Route] = []

    def hold(route: Route, request: Request) -> None:
        asked = (request.post_data_json or {}).get("changedPropIds")
        if asked == ["live.data"]:
            held.append(route)
        else:
            route.continue_()

    def strength(route: Route) -> float:
        said = route.request.post_data or ""
        return float(re.findall(r"strength=([\d.]+)", said)[-1])

    page.route("**/_dash-update-component*", hold)
    left, top, right, bottom = box(page, "#strength [role=slider], .field-strength [role=slider]")
    y = (top + bottom) / 2
    page.mouse.move((left + right) / 2, y)
    page.mouse.down()
    for step in range(1, 7):
        page.mouse.move((left + right) / 2 - 20 * step, y)
    until(lambda: bool(held) or bool(page.wait_for_timeout(20)))
    expect(page.locator("#poke-said")).to_have_attribute("aria-busy", "true")
    assert len(held) == 1  # the others wait for it, but for the newest one they are forgotten
    first = strength(held[0])
    held[0].continue_()
    until(lambda: len(held) == 2 or bool(page.wait_for_timeout(20)))
    now = float(page.locator(".field-strength input").input_value())
    assert strength(held[1]) == pytest.approx(now, abs=1e-6)
    assert now < first < 1
    held[1].continue_()
    expect(page.locator("td.scope-local .changed").first).to_be_attached(timeout=WAIT)
    assert "strength" not in page.url
    page.mouse.up()
    expect(page).to_have_url(re.compile("strength="), timeout=WAIT)
    quiet(page)
    assert len(held) == 2
    said = page.locator("#poke-said")
    expect(said).to_have_attribute("aria-busy", "false")
    expect(said).to_contain_text(re.compile(r"Here, depth 2: the next token (stays|turns from) "))
    page.locator("#view label", has_text="Keep").click()
    expect(page.locator(".history li")).to_have_count(2, timeout=WAIT)


def test_cells_are_chosen_by_clicks_and_ranges_by_shift(page: Page, address: str) -> None:
    opened(page, address, f"?view=poke&depth=3{PAIR}")
    plot = drawn(page, "pick")
    transferred(page, "local")
    choose_cell(page, plot, 1, 4, "depth=1&position=4&to=4")
    choose_cell(page, plot, 3, 5, "depth=1&last=3&position=4&to=5", modifiers=["Shift"])
    expect(page.locator("th.scope-window")).to_contain_text("depth 1 to 3", timeout=WAIT)


def test_edits_and_their_strength_are_chosen_with_the_keyboard(page: Page, address: str) -> None:
    opened(page, address, f"?view=poke&depth=3{PAIR}")
    assert transferred(page, "local") == 1.0
    thumb = page.locator("#strength [role=slider], .field-strength [role=slider]").first
    thumb.focus()
    page.keyboard.press("Home")
    expect(page.locator("td.scope-local strong").first).to_have_text("0.00", timeout=WAIT)
    assert "strength=0.0" in page.url
    page.locator("#edit").click()
    page.get_by_role("option", name="Scale the norm").click()
    expect(page.locator("#edit-does")).to_contain_text("Multiply the norm", timeout=WAIT)
    assert "strength" not in page.url


def test_a_chosen_label_can_be_read_and_enter_takes_a_strength(page: Page, address: str) -> None:
    page.goto(f"{address}?view=poke&edit=rotate{PAIR}")
    label = page.locator("#focus label", has_text="From here on")
    label.click()
    expect(label).to_have_css("color", "rgb(255, 255, 255)", timeout=WAIT)
    expect(page).to_have_url(re.compile("focus=suffix"), timeout=WAIT)
    box = page.locator(".field-strength input")
    box.fill("90")
    box.press("Enter")
    expect(page).to_have_url(re.compile("strength=90"), timeout=WAIT)


def test_a_map_is_walked_over_with_the_keyboard(page: Page, address: str) -> None:
    opened(page, address, f"?view=read&depth=2&position=5{PAIR}")
    plot = drawn(page, "map")
    quiet(page)
    plot.evaluate("(plot) => plot.closest('.plot-scroll').focus()")
    for key in ("ArrowDown", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    expect(page).to_have_url(re.compile("depth=1&position=3&to=3"), timeout=WAIT)
    title = page.locator("[id*='cell'][id*='title']")
    expect(title).to_have_text("At the chosen cell: depth 1, token 3", timeout=WAIT)
    expect(title).to_have_attribute("aria-live", "polite")
    quiet(page)
    page.keyboard.press("Shift+ArrowUp")
    expect(page).to_have_url(re.compile("depth=1&last=2&position=3&to=3"), timeout=WAIT)


def test_nothing_stands_in_the_way_of_keyboard_and_screen_reader(page: Page, address: str) -> None:
    """By axe-core, which the tests' extra brings, in every view. A theme changes colours alone, so
    that contrast is all that is asked for in the second."""
    axe = find_spec("axe_playwright_python")
    if axe is None and not os.environ.get("CI"):
        pytest.skip("no axe-core here: pip install axe-playwright-python")
    assert axe is not None
    assert axe.origin is not None
    rules = (Path(axe.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    looks: tuple[tuple[Literal["light", "dark"], dict[str, Any], int], ...] = (
        ("light", {}, 20),
        ("dark", {"runOnly": ["color-contrast"]}, 0),
    )
    for view in VIEWS:
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        opened(page, address, f"?view={view}&components=L2H1,MLP2&position=4&note=mine{PAIR}")
        if view != "keep":
            page.locator("#note-part summary").click()
        page.evaluate(rules)
        for theme, asked, fewest in looks:
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            page.wait_for_function(
                "theme => document.documentElement.dataset.theme === theme", arg=theme
            )
            quiet(page)
            found = page.evaluate("asked => axe.run(asked)", asked)
            said = [(v["id"], n["html"][:200]) for v in found["violations"] for n in v["nodes"]]
            assert said == [], (view, theme)
            assert len(found["passes"]) > fewest


def test_views_are_reached_with_the_keyboard(page: Page, address: str) -> None:
    opened(page, address, f"?view=read{PAIR}")
    drawn(page, "map")
    page.locator("#view input").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#view-poke")).to_be_visible(timeout=WAIT)
    ring = page.evaluate("getComputedStyle(document.activeElement.closest('label')).outlineStyle")
    assert ring == "solid"


def test_a_sweep_says_how_far_it_is_and_a_click_sets_up_a_poke(
    page: Page, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(memory.MAX_TOKENS, "cpu", 16)
    seen_there = threading.Event()
    # The sweep waits after its first part until the page has said so, however busy the machine.
    monkeypatch.setattr(
        shelf_module,
        "watch",
        lambda seen: watch(lambda *state: (seen(*state), state[1] and seen_there.wait(60))[0]),
    )
    opened(page, address, f"?view=sweep&pairs=20{PAIR}")
    expect(page.locator("#sweep-said")).to_contain_text("Nothing has been swept", timeout=WAIT)
    page.locator("#run").click()
    expect(page.locator("#job-text")).to_contain_text(re.compile(r"\d of \d+ runs"), timeout=WAIT)
    seen_there.set()
    plot = drawn(page, "patch-map")
    expect(page.locator("#job-strip")).to_be_hidden()
    drawn(page, "patch")
    expect(page.locator("#sweep-said")).to_contain_text("position", timeout=WAIT)
    click_cell(page, plot, 1, 4)
    expect(page.locator("#view-poke")).to_be_visible(timeout=WAIT)
    expect(page).to_have_url(re.compile("depth=1.*position=4"), timeout=WAIT)


@pytest.mark.usefixtures("slow")
def test_a_sweep_can_be_cancelled_and_the_page_stays_usable(page: Page, address: str) -> None:
    at_work(page, address, "&sweep=ablate")
    # Another view answers while the sweep is at work.
    page.locator("#view label").nth(1).click()
    assert 0 <= abs(transferred(page, "local")) < 2
    expect(page.locator("#job-strip")).to_be_visible()
    page.locator("#cancel").click()
    expect(page.locator("#job-strip")).to_be_hidden(timeout=WAIT)
    page.locator("#view label", has_text="Sweep").click()
    expect(page.locator("#sweep-said")).to_contain_text("Nothing has been swept", timeout=WAIT)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Analyses of many parts of half a second, as a large model has."""
    monkeypatch.setitem(memory.MAX_TOKENS, "cpu", 16)
    monkeypatch.setattr(
        shelf_module, "watch", lambda seen: watch(lambda *state: (time.sleep(0.5), seen(*state))[1])
    )


def at_work(page: Page, address: str, query: str) -> Page:
    """A page whose sweep has begun."""
    opened(page, address, f"?view=sweep&pairs=40{query}{PAIR}")
    expect(page.locator("#sweep-said")).to_contain_text("Nothing has been swept", timeout=WAIT)
    page.locator("#run").click()
    expect(page.locator("#job-text")).to_contain_text("runs", timeout=WAIT)
    return page


def until(true: Callable[[], bool]) -> None:
    """Wait until something holds, as `expect` does for what stands on the page."""
    late = time.monotonic() + WAIT / 1000
    while not true():
        assert time.monotonic() < late
        time.sleep(0.02)


@pytest.mark.usefixtures("slow")
def test_a_closed_tab_ends_its_analysis_and_one_loaded_anew_goes_on_with_it(
    page: Page, address: str, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = at_work(page.context.new_page(), address, "&sweep=ablate&stream=attn_out")
    (work,) = jobs._work.values()
    other.reload()
    until(lambda: len(jobs._tickets) == 2)
    assert list(jobs._work.values()) == [work]
    expect(other.locator("#job-text")).to_contain_text("runs", timeout=WAIT)
    monkeypatch.setattr(jobs_module, "FAREWELL", 0.0)
    other.close()
    until(lambda: not jobs._threads)
    assert (jobs._work, jobs._tickets) == ({}, {})


@pytest.mark.usefixtures("slow")
def test_a_page_that_was_away_is_told_and_can_start_again(
    page: Page, address: str, jobs: Jobs
) -> None:
    at_work(page, address, "&sweep=ablate&stream=mlp_out")
    with jobs._lock:  # as if it had been asleep
        for ticket in jobs._tickets.values():
            ticket.until = 0.0
    expect(page.locator("#sweep-said")).to_contain_text("had not been heard of", timeout=WAIT)
    expect(page.locator("#job-strip")).to_be_hidden(timeout=WAIT)
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / "away.png")
    page.locator("#run").click()
    expect(page.locator("#job-text")).to_contain_text("runs", timeout=WAIT)
    page.locator("#view label").nth(0).click()
    expect(page.locator("#view-read")).to_be_visible(timeout=WAIT)
    with jobs._lock:
        for ticket in jobs._tickets.values():
            ticket.until = 0.0
    expect(page.locator("#banner")).to_contain_text("had not been heard of", timeout=WAIT)
    until(lambda: not jobs._threads)


def test_a_full_line_is_said_on_the_page(page: Page, address: str, jobs: Jobs) -> None:
    gate = threading.Event()
    held = [jobs.start(f"at work {i}", lambda _: gate.wait(WAIT / 1000)) for i in range(2)]
    until(lambda: not jobs._line)
    held += [jobs.start(f"waiting {i}", lambda _: None) for i in range(MOST_WAITING)]
    opened(page, address, f"?view=sweep&pairs=10{PAIR}")
    page.locator("#run").click()
    said = page.locator("#sweep-said")
    expect(said).to_contain_text(f"{MOST_WAITING} analyses are waiting", timeout=WAIT)
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / "refused.png")
    for ticket in held:
        jobs.cancel(ticket)
    gate.set()
    page.locator("#run").click()
    drawn(page, "patch-map")


@pytest.mark.usefixtures("slow")
def test_a_cancelled_tuned_lens_leaves_the_logit_lens(page: Page, address: str) -> None:
    opened(page, address, f"?view=read{PAIR}")
    drawn(page, "map")
    page.get_by_text("Tuned lens", exact=True).click()
    expect(page.locator("#job-text")).to_contain_text("Tuned lens", timeout=WAIT)
    page.locator("#cancel").click()
    expect(page.locator("#job-strip")).to_be_hidden(timeout=WAIT)
    drawn(page, "map")
    expect(page).not_to_have_url(re.compile("lens=tuned"), timeout=WAIT)


def test_the_circuit_of_a_pair(page: Page, address: str) -> None:
    opened(page, address, f"?view=circuit{PAIR}")
    for name in ("attribution", "heads", "attention"):
        drawn(page, name)
    choose_cell(page, drawn(page, "attribution"), 2, 1, "layer=2&looked=1")
    page.locator("#pin").click()
    expect(page).to_have_url(re.compile("components=L2H1"), timeout=WAIT)
    page.locator("#pin-mlp").click()
    expect(page).to_have_url(re.compile("L2H1%2CMLP2"), timeout=WAIT)
    drawn(page, "components")
    details = page.locator("[id*='components'] details.numbers summary")
    details.click()
    expect(page.locator("[id*='components'] table")).to_contain_text("complement")
    for said in ("at the prediction position", "Is the set enough?", "Is it needed?", ", here: ",
                 "1 pair cannot speak for others."):  # fmt: skip
        expect(page.locator("#view-circuit")).to_contain_text(said)
    opened(page, address, f"?view=circuit&components=MLP0@input{PAIR}")
    expect(page.locator("#view-circuit")).to_contain_text("Only by the input, here", timeout=WAIT)


def test_two_prompts_and_two_models_are_compared(page: Page, address: str) -> None:
    opened(page, address, f"?view=compare{PAIR}")
    assert "second prompt" in drawn(page, "both").inner_text()
    drawn(page, "second")
    page.get_by_text("Another model", exact=True).click()
    expect(drawn(page, "both")).to_contain_text("twin", timeout=WAIT)


def test_history_undo_redo_and_the_browsers_back(page: Page, address: str) -> None:
    opened(page, address, f"?view=poke&depth=3{PAIR}")
    transferred(page, "local")
    for edit in ("Norm only", "Direction only"):
        page.locator("#edit").click()
        page.get_by_role("option", name=edit).click()
        expect(page).to_have_url(re.compile(f"edit={edit.split()[0].lower()}"), timeout=WAIT)
        transferred(page, "local")
    page.locator("#undo").click()
    expect(page).to_have_url(re.compile("edit=norm"), timeout=WAIT)
    expect(page.locator("#edit")).to_contain_text("Norm only", timeout=WAIT)
    page.locator("#undo").click()
    expect(page.locator("#edit")).to_contain_text("Swap the whole state", timeout=WAIT)
    expect(page.locator("#undo")).to_be_disabled(timeout=WAIT)
    page.locator("#redo").click()
    expect(page.locator("#edit")).to_contain_text("Norm only", timeout=WAIT)
    page.locator("#view label", has_text="Keep").click()
    expect(page.locator(".history li")).to_have_count(3, timeout=WAIT)
    expect(page.locator(".history")).to_contain_text("transferred")
    page.locator(".history a").first.click()
    expect(page.locator("#edit")).to_contain_text("Direction only", timeout=WAIT)
    page.go_back()
    expect(page.locator("#view-keep")).to_be_visible(timeout=WAIT)


def test_a_link_opens_the_same_numbers_in_another_tab(page: Page, address: str) -> None:
    opened(page, address, f"?view=poke&depth=2&position=4&to=5&edit=rotate&strength=60.0{PAIR}")
    shown = page.locator("#scopes").inner_text() if transferred(page, "local") else ""
    other = page.context.new_page()
    other.goto(page.url)
    transferred(other, "local")
    assert other.locator("#scopes").inner_text() == page.locator("#scopes").inner_text()
    assert shown in ("", other.locator("#scopes").inner_text())


def taken(page: Page, button: str) -> tuple[str, bytes]:
    """What a button downloads: name and bytes."""
    with page.expect_download(timeout=WAIT) as event:
        page.locator(button).first.click()
    path = event.value.path()
    return event.value.suggested_filename, Path(path).read_bytes()


def test_what_is_downloaded_gives_the_numbers_on_the_screen(
    page: Page, address: str, tmp_path: Path
) -> None:
    opened(page, address, f"?view=poke&depth=2&position=4&to=5{PAIR}")
    on_screen = {scope: transferred(page, scope) for scope in ("local", "suffix", "window")}
    drawn(page, "predictions")
    name, content = taken(page, "[id*='predictions'][id*='csv']")
    assert name == "lensdepth-poke-predictions.csv"
    table = pd.read_csv(StringIO(content.decode())).set_index("run")
    name, content = taken(page, "[id*='predictions'][id*='parquet']")
    again = pd.read_parquet(BytesIO(content)).set_index("run")
    assert again["transferred"].round(6).equals(table["transferred"].round(6))
    name, content = taken(page, "[data-figure=predictions][data-kind=svg]")
    assert name == "lensdepth-predictions.svg"
    assert b"<svg" in content
    name, content = taken(page, "[data-figure=trajectory][data-kind=png]")
    assert content.startswith(b"\x89PNG")
    name, content = taken(page, "#script")
    assert name == "lensdepth-poke.py"
    (tmp_path / name).write_bytes(content)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "300"}
    done = subprocess.run(
        [sys.executable, name], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=240, check=True,
    )  # fmt: skip
    assert "Other weights" not in done.stdout
    assert (tmp_path / "predictions.html").stat().st_size > 1000
    for scope, shown in on_screen.items():
        (line,) = re.findall(rf"^\d+ +{scope} .*$", done.stdout, re.MULTILINE)[:1]
        columns = line.split()
        assert float(columns[-3]) == pytest.approx(shown, abs=0.006), line
        assert float(columns[-3]) == pytest.approx(table.loc[scope, "transferred"], abs=1e-4)
    name, content = taken(page, "#notebook")
    assert b"nbformat" in content


def test_the_circuit_as_a_graph(page: Page, address: str, apart: DepthModel) -> None:
    """Drawn, pinned by clicks, pruned, one edge by itself, and taken along."""
    opened(page, address, f"?view=circuit{PAIR}")
    view = page.locator("#view-circuit")
    expect(view).to_contain_text("Nothing has been measured for this pair yet", timeout=WAIT)
    page.locator("#draw-graph").click()
    plot = drawn(page, "graph")
    drawn(page, "graph-set")
    found = circuit_graph(apart, pair_task(SOURCE, BASE, apart, target="Madrid", foil="Paris"))
    head = next(name for name in found.components if "H" in name)
    for name in found.nodes:
        assert name.partition("@")[0] in plot.inner_text()
    # Where a node stands, the figure itself says.
    place = """([plot, name]) => {
        const { _fullData: data, _fullLayout: layout } = plot;
        const trace = data.find((one) => one.customdata?.includes(name));
        const at = trace.customdata.indexOf(name);
        const box = plot.getBoundingClientRect();
        const { xaxis: x, yaxis: y } = layout;
        const [right, down] = [x._offset + x.l2p(trace.x[at]), y._offset + y.l2p(trace.y[at])];
        return [box.left + right, box.top + down];
    }"""

    def click(name: str, **how: Any) -> None:
        plot.scroll_into_view_if_needed()
        x, y = page.evaluate(place, [plot.element_handle(), name])
        page.mouse.move(x - 3, y)
        page.mouse.move(x, y)
        # Plotly's click is on what it has last found under the pointer, which takes it a moment.
        page.wait_for_function(
            "([plot, name]) => plot._hoverdata?.some((one) => one.customdata === name)",
            arg=[plot.element_handle(), name], timeout=WAIT,
        )  # fmt: skip
        if how:
            page.keyboard.down("Shift")
        page.mouse.click(x, y)
        if how:
            page.keyboard.up("Shift")

    click(head)
    pinned = re.compile("components=" + head.replace("@", "%40"))
    expect(page).to_have_url(pinned, timeout=WAIT)
    drawn(page, "graph")
    click(head)
    expect(page).not_to_have_url(pinned, timeout=WAIT)
    # Two clicks with Shift choose an edge, here one that there is not.
    drawn(page, "graph")
    click("LOGIT", shift=True)
    expect(page).to_have_url(re.compile("upstream=LOGIT"), timeout=WAIT)
    drawn(page, "graph")
    click(head, shift=True)
    expect(page).to_have_url(re.compile("downstream=" + head.replace("@", "%40")), timeout=WAIT)
    expect(view).to_contain_text("nothing reads it", timeout=WAIT)
    effect = next(  # of an edge that is measured, the graph's own number
        (up, down, float(found.edge(up, down)))
        for up, down in zip(found.upstream, found.downstream, strict=True)
    )
    up, down, size = effect
    opened(page, address, f"?view=circuit&graphed=1&kept=4&upstream={up}&downstream={down}{PAIR}")
    card = page.locator('[id*=\'"name":"edge"\'][id*=\'"message"\']')
    expect(card).to_contain_text(f"changes the logit difference by {to_text(size)} nats",
                                 timeout=WAIT)  # fmt: skip
    drawn(page, "graph")
    name, content = taken(page, "#graph-json")
    whole = json.loads(content)
    assert name == "lensdepth-graph.json"
    assert len(whole["nodes"]) == len(found.prune(keep=4).nodes) + 1 == 5
    page.locator(".field-kept [role=slider]").first.focus()
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile("kept=3"), timeout=WAIT)
    drawn(page, "graph-set")
    program = taken(page, "#script")[1].decode()
    assert "graph_faithfulness(model, pair, graph, n_nodes=3)" in program
    compile(program, "program", "exec")


def place_of(page: Page, name: str, row: int, column: int) -> tuple[float, float]:
    """Where a cell of a map is in the window, once nothing moves any more."""
    plot = drawn(page, name)
    quiet(page)
    plot.scroll_into_view_if_needed()
    x, y = plot.evaluate(
        """(plot, [row, column]) => { const {xaxis, yaxis} = plot._fullLayout;
            const {left, top} = plot.getBoundingClientRect();
            return [left + xaxis._offset + xaxis.d2p(column),
                    top + yaxis._offset + yaxis.d2p(row)]; }""",
        [row, column],
    )
    return x, y


def test_a_state_is_moved_by_dragging_by_clicks_and_with_the_keyboard(
    page: Page, address: str, apart: DepthModel
) -> None:
    said, hint = page.locator("#move-said"), page.locator("#move-hint")
    opened(page, address, f"?view=move{PAIR}")
    expect(said).to_contain_text("put at depth 2, token 5 (is) of the base prompt", timeout=WAIT)

    def does(giver: str, taker: str, **options: Any) -> None:
        """The page says what the public function gives."""
        prompts = (BASE, SOURCE) if taker == "base" else (SOURCE, BASE)
        who = "base" if giver == taker else "source"
        found = intervene(apart, *prompts, scopes=("local",), given_by=who, **options)
        expect(said).to_contain_text(
            f"of the {giver} prompt, put at depth {options['depth']}, token "
            f"{options['positions'][0]} ", timeout=WAIT
        )  # fmt: skip
        fraction = found.number("local", "transferred")
        expect(said).to_contain_text(f"transferred fraction {fraction}, random", timeout=WAIT)
        assert number(page.locator("#move-table td.scope-local strong").first.inner_text()) == (
            pytest.approx(fraction.value, abs=0.006)
        )

    # Dragged from one prompt to another depth and token of the other.
    x, y = place_of(page, "source-map", 1, 4)
    to_x, to_y = place_of(page, "base-map", 2, 5)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + to_x) / 2, (y + to_y) / 2)
    page.mouse.move(to_x, to_y)
    expect(page.locator(".cell-mark.over")).to_have_count(1)
    expect(page.locator(".cell-ghost")).to_have_text("source prompt, depth 1, token 4 (Spain)")
    page.mouse.up()
    expect(page.locator("#move-remarks")).to_contain_text(
        "a state of depth 1 (after block 0) stands at depth 2 (after block 1), where", timeout=WAIT
    )
    does("source", "base", depth=2, positions=(5,), source_depth=1, source_positions=(4,))
    expect(page.locator("#from-depth")).to_contain_text("1: after block 0")
    # Two clicks, within the other prompt; a click in one place and a let go change nothing.
    page.mouse.click(*place_of(page, "source-map", 3, 1))
    expect(hint).to_contain_text("Taken: source prompt, depth 3, token 1 (The)", timeout=WAIT)
    page.keyboard.press("Escape")
    expect(hint).to_contain_text("Let go", timeout=WAIT)
    page.mouse.click(*place_of(page, "source-map", 1, 4))
    expect(hint).to_contain_text("Taken", timeout=WAIT)
    page.mouse.click(*place_of(page, "source-map", 1, 5))
    does("source", "source", depth=1, positions=(5,), source_depth=1, source_positions=(4,))
    expect(page.locator("#move-remarks")).not_to_contain_text("The depths differ")
    expect(page.locator("#move-remarks")).to_contain_text("and so the base")
    # The keyboard alone: from where the frame is, arrow keys and Enter, twice.
    quiet(page)
    drawn(page, "base-map").evaluate("(plot) => plot.closest('.plot-scroll').focus()")
    for key in ("ArrowDown", "ArrowLeft", "Enter", "ArrowUp", "ArrowRight"):
        page.keyboard.press(key)
    expect(hint).to_contain_text("base prompt, depth 3, token 5 (is): Enter puts it", timeout=WAIT)
    page.keyboard.press("Enter")
    does("base", "base", depth=3, positions=(5,), source_depth=2, source_positions=(4,))
    expect(page.locator("#move-remarks")).to_contain_text("what the lens reads of this state")
    # Menus do the same, and the link opens it again, without a pointer.
    page.get_by_text("Direction only", exact=True).click()
    does("base", "base", depth=3, positions=(5,), source_depth=2, source_positions=(4,),
         edit="direction")  # fmt: skip
    program = taken(page, "#script")[1].decode()
    assert "given_by='base'" in program
    assert "source_depth=2" in program
    there = said.inner_text()
    page.reload()
    expect(said).to_have_text(there, timeout=WAIT)


HOSTILE = "<script>alert(1)</script>"


def drop_file(page: Page, name: str, content: str) -> None:
    """Let a file fall onto the page."""
    page.wait_for_function("document.getElementById('choose-file')", timeout=WAIT)
    data = page.evaluate_handle(
        """([name, content]) => { const data = new DataTransfer();
            data.items.add(new File([content], name)); return data; }""",
        [name, content],
    )
    for kind in ("dragover", "drop"):
        page.dispatch_event("body", kind, {"dataTransfer": data})


def test_notes_a_dropped_file_and_the_whole_session(
    page: Page, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    opened(page, address, f"?view=poke&depth=2{PAIR}")
    shown = transferred(page, "local")
    quiet(page)
    # A note by the keyboard alone; it is text, and another question has its own.
    page.locator("#note-part summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#note-text")).to_be_focused(timeout=WAIT)
    page.keyboard.type(f"{HOSTILE} it stays")
    expect(page).to_have_url(re.compile("note=.*it.stays"), timeout=WAIT)
    page.keyboard.press("Escape")
    expect(page.locator("#note-part summary")).to_be_focused()
    expect(page.locator("#note-start")).to_have_text(f": {HOSTILE} it stays")
    page.locator("#view label").nth(0).click()
    expect(page).not_to_have_url(re.compile("note="), timeout=WAIT)
    drawn(page, "map")
    # What is no prompt file is refused with its line, what is too large is not even sent.
    said = page.locator("#dropped-said")
    drop_file(page, "bad.csv", "clean,corrupted,target,foil\na b,a c,d\n")
    expect(said).to_contain_text("prompt file 'bad.csv', line 2: 3 cells", timeout=WAIT)
    drop_file(page, "big.csv", "x" * (2**20 + 1))
    expect(said).to_contain_text("'big.csv' is larger than 1 MiB", timeout=WAIT)
    words = [("France", "Spain", "Paris", "Madrid"), ("Spain", "Italy", "Madrid", "Rome")]
    rows = [
        {"clean": f"The capital of {a} is", "corrupted": f"The capital of {b} is",
         "target": c, "foil": d}
        for a, b, c, d in words
    ]  # fmt: skip
    drop_file(page, "mine.jsonl", "\n".join(map(json.dumps, rows)))
    expect(said).to_contain_text("Read 2 pairs of 'mine.jsonl'", timeout=WAIT)
    expect(page.locator("#task")).to_contain_text("mine.jsonl")
    expect(page.locator("#prompt")).to_have_value("The capital of Spain is", timeout=WAIT)
    page.locator("#view label", has_text="Pairs").click()
    page.locator("#list-pairs").click()
    drawn(page, "pair-dots")
    expect(page.locator("#pair-rows tbody tr")).to_have_count(2, timeout=WAIT)
    expect(said).to_be_empty()
    # All of it as one program, which runs by itself.
    page.locator("#view label", has_text="Keep").click()
    expect(page.locator(".history .noted")).to_have_text(f"{HOSTILE} it stays", timeout=WAIT)
    assert page.locator(".history script").count() == 0
    name, content = taken(page, "#session-script")
    assert name == "lensdepth-session.py"
    monkeypatch.chdir(tmp_path)
    there: dict[str, Any] = {}
    exec(compile(content, name, "exec"), there)
    printed = capsys.readouterr().out
    assert printed.index("it stays") < printed.index(". Read") < printed.index(". Pairs")
    found = there["found"].to_frame().set_index("run")
    assert found.loc["local", "transferred"] == pytest.approx(shown, abs=0.006)
    assert there["pairs"].corrupted == tuple(row["corrupted"] for row in rows)
    # Another explorer does not have the file.
    gone = re.sub("mine.jsonl%23[0-9a-f]{12}", "mine.jsonl%23" + "0" * 12, page.url)
    page.goto(gone)
    expect(page.locator("#banner")).to_contain_text(
        "The prompt file 'mine.jsonl' is not here any more", timeout=WAIT
    )


@pytest.mark.parametrize("view", ["read", "poke", "circuit", "compare"])
def test_markup_in_a_prompt_stays_text(page: Page, address: str, view: str) -> None:
    text = f"The capital of {HOSTILE} <img src=x onerror=alert(2)> <a href='javascript:x'>is"
    opened(page, address, f"?view={view}{PAIR}")
    page.locator("#prompt").fill(text)
    page.locator("#prompt").press("Enter")
    expect(page).to_have_url(re.compile("alert"), timeout=WAIT)
    page.wait_for_timeout(1200)
    assert page.locator("#prompt").input_value() == text
    assert page.locator("main script, main img[src=x], main a[href^=javascript]").count() == 0
    page.locator("#view label", has_text="Keep").click()
    expect(page.locator(".history")).to_contain_text("<script>", timeout=WAIT)
    assert page.locator(".history script").count() == 0


def test_two_tabs_do_not_disturb_each_other(page: Page, address: str) -> None:
    other = page.context.new_page()
    opened(page, address, f"?view=poke&depth=3{PAIR}")
    opened(other, address, "?view=poke&depth=0&task=months")
    first, second = transferred(page, "local"), other.locator("#prompt").input_value()
    other.locator("#edit").click()
    other.get_by_role("option", name="Norm only").click()
    expect(other).to_have_url(re.compile("edit=norm"), timeout=WAIT)
    assert page.locator("#prompt").input_value() == BASE != second
    assert transferred(page, "local") == first == 1.0
    assert "edit=" not in page.url
    page.locator("#view label", has_text="Keep").click()
    expect(page.locator(".history li")).to_have_count(1, timeout=WAIT)


def test_what_goes_wrong_is_said_and_the_page_goes_on(page: Page, address: str) -> None:
    banner = page.locator("#banner")
    opened(page, address, "?view=nowhere")
    expect(banner).to_contain_text("view must be one of read", timeout=WAIT)
    drawn(page, "map")
    page.locator("#prompt").fill("France is " * 200)
    page.locator("#prompt").press("Enter")
    expect(banner).to_contain_text("tokens; 'tiny' reads at most", timeout=WAIT)
    page.locator("#prompt").fill("The capital of wunderland is")
    page.locator("#prompt").press("Enter")
    note = page.locator("#view-read .notice.warning").first
    expect(note).to_contain_text("does not know every word", timeout=WAIT)
    expect(page.locator("#unknown")).to_contain_text("does not know “wunderland”", timeout=WAIT)
    expect(drawn(page, "map")).to_contain_text("⚠ wunderland", timeout=WAIT)
    expect(banner).to_be_empty()
    page.locator("#model").click()
    page.get_by_role("option", name="broken").click()
    expect(banner).to_contain_text("there is no folder './broken'", timeout=WAIT)
    page.goto(address + "?view=poke&depth=1&position=3&to=3&prompt=The+capital+of+France+is"
              "&source=The+is")  # fmt: skip
    expect(page.locator("#scopes")).to_contain_text("has no counterpart", timeout=WAIT)
    page.locator("#source").fill(SOURCE)
    page.locator("#source").press("Enter")
    assert 0 <= abs(transferred(page, "local")) < 2


def test_sweeps_that_do_not_fit_say_why(page: Page, address: str) -> None:
    opened(page, address, f"?view=sweep&sweep=steer&on=pair&run=1{PAIR}")
    expect(page.locator("#sweep-said")).to_contain_text("pair", timeout=WAIT)
    opened(page, address, "?view=circuit&prompt=The+capital+of+France+is&source=The+capital+of"
           "+France+is")  # fmt: skip
    expect(page.locator("#view-circuit .notice").first).to_be_visible(timeout=WAIT)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("lost"), "should not happen happened (KeyError"),
        (MemoryError(), "There is not enough memory for this; the page goes on."),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "Tried to alloc"),
    ],
)
def test_an_analysis_that_fails_is_said_in_one_line_and_the_page_goes_on(
    page: Page, address: str, error: Exception, said: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(lensdepth, "steering_sweep", fail)
    # A strength of its own: what another test has poked is known.
    opened(page, address, f"?view=sweep&sweep=steer&pairs=20&strength=0.61{PAIR}")
    expect(page.locator("#sweep-said")).to_contain_text("Nothing has been swept", timeout=WAIT)
    page.locator("#run").click()
    shown = page.locator("#view-sweep .notice.error")
    expect(shown).to_contain_text(said, timeout=WAIT)
    assert "\n" not in shown.inner_text().strip()
    expect(page.locator("#job-strip")).to_be_hidden(timeout=WAIT)
    # So is a poke that fails; then both go on.
    monkeypatch.setattr(lensdepth, "intervene", fail)
    page.locator("#view label").nth(1).click()
    expect(page.locator("#scopes .notice.error")).to_contain_text(said, timeout=WAIT)
    expect(page.locator("#poke-said")).to_be_empty()
    monkeypatch.undo()
    page.locator("#edit").click()
    page.get_by_role("option", name="Norm only").click()
    assert abs(transferred(page, "local")) < 2


def test_twenty_tabs_each_have_their_own_numbers(
    page: Page, address: str, apart: DepthModel
) -> None:
    tabs = [page, *(page.context.new_page() for _ in range(19))]
    asked = [(i % 4, 0.3 + 0.01 * i) for i in range(len(tabs))]
    for tab, (depth, strength) in zip(tabs, asked, strict=True):
        where = f"{address}?view=poke&depth={depth}&strength={strength}{PAIR}"
        tab.goto(where, wait_until="commit")
    for tab, (depth, strength) in zip(tabs, asked, strict=True):
        shown = transferred(tab, "local", patience=5 * WAIT)
        found = intervene(apart, BASE, SOURCE, depth=depth, strength=strength).to_frame()
        expected = found.set_index("run").loc["local", "transferred"]
        assert shown == pytest.approx(expected, abs=0.006)
        assert f"depth={depth}" in tab.url
    for tab in tabs[1:]:
        tab.close()


@pytest.mark.usefixtures("slow")
def test_a_storm_of_runs_and_cancels_leaves_nothing_at_work(
    page: Page, address: str, jobs: Jobs
) -> None:
    opened(page, address, f"?view=sweep&sweep=ablate&pairs=100{PAIR}")
    expect(page.locator("#sweep-said")).to_contain_text("Nothing has been swept", timeout=WAIT)
    for _ in range(12):  # faster than any answer
        page.evaluate("document.getElementById('run').click()")
        page.evaluate("document.getElementById('cancel').click()")
    quiet(page)
    expect(page.locator("#job-strip")).to_be_hidden(timeout=WAIT)
    until(lambda: not jobs._work and not jobs._tickets)
    expect(page).not_to_have_url(re.compile("run=1"))
    page.locator("#run").click()
    expect(page.locator("#job-text")).to_contain_text("runs", timeout=WAIT)
    page.locator("#cancel").click()
    expect(page.locator("#job-strip")).to_be_hidden(timeout=WAIT)
    until(lambda: not jobs._threads)


def test_light_and_dark(page: Page, address: str) -> None:
    opened(page, address, f"?view=read{PAIR}")
    drawn(page, "map")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.locator("#theme").click()
    expect(page.locator("#theme")).to_have_text("Light")
    assert page.evaluate(paper) != light
    fill = page.locator("[id*='map'] .js-plotly-plot text").first
    expect(fill).to_have_css("fill", re.compile(r"rgb\((2[0-9]{2}|1[5-9]\d)"), timeout=WAIT)


def test_pictures_of_every_view(page: Page, address: str) -> None:
    """Kept for people to look at; the page must never be wider than the window."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    cards = {
        "read": "map", "poke": "trajectory", "move": "moved", "sweep": "patch-map",
        "circuit": "graph-set", "write": "edited-map", "pairs": "pair-dots",
        "compare": "second", "keep": None,
    }  # fmt: skip
    opened(page, address, "?view=read&run=1&pairs=20&graphed=1&components=L2H1,MLP2&writes=1"
           f"&held=onward&length=10&lists=1&rows=20{PAIR}")  # fmt: skip
    for i, (view, card) in enumerate(cards.items()):
        page.set_viewport_size({"width": 1360, "height": 900})
        page.emulate_media(color_scheme="light")
        page.locator("#view label").nth(i).click()
        expect(page.locator(f"#view-{view}")).to_be_visible(timeout=WAIT)
        if card is not None:
            drawn(page, card)
        looks: Any = ((1360, "light"), (680, "dark"))
        for width, theme in looks:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=theme)
            page.wait_for_timeout(350)
            page.screenshot(path=SHOTS / f"{view}-{width}-{theme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_writes_and_an_edit_is_held_on_meanwhile(
    page: Page, address: str, apart: DepthModel
) -> None:
    opened(page, address, f"?view=write&length=10&depth=3{PAIR}")
    said = page.locator("#write-said")
    expect(said).to_contain_text("Nothing has been written yet", timeout=WAIT)
    page.locator("#let-write").click()
    drawn(page, "written")
    drawn(page, "written-map")
    shown = page.locator(".written p")
    expect(shown).to_have_text([apart.generate(BASE, max_new_tokens=10)], use_inner_text=False)
    page.get_by_text("At its tokens", exact=True).click()
    drawn(page, "edited-map")
    last = len(apart.tokenize(BASE).row(0)) - 1
    found = generation_profile(
        apart, BASE, n_tokens=10, edit="full", source=SOURCE, depths=3, positions=[last]
    )
    expect(shown).to_have_text([BASE + text for text in found.texts[:2]], timeout=WAIT)
    first = found.first_difference
    assert first is not None
    expect(shown.nth(1).locator("mark")).to_have_text(found.pieces[1][first])
    expect(page.locator("#held-edit")).to_contain_text("Swap the whole state, 1")
    # The link opens the same page in another tab, where nobody pressed anything.
    other = page.context.new_page()
    other.goto(page.url)
    drawn(other, "edited-map")
    expect(other.locator(".written p")).to_have_text(
        [BASE + text for text in found.texts[:2]], timeout=WAIT
    )
    other.close()


def test_pairs_are_sorted_filtered_and_opened(page: Page, address: str, apart: DepthModel) -> None:
    table = pair_table(apart, load_task("capitals", apart, n=10))
    opened(page, address, "?view=pairs&rows=10&task=capitals")
    expect(page.locator("#pairs-said")).to_contain_text("have not been measured", timeout=WAIT)
    page.locator("#list-pairs").click()
    drawn(page, "pair-dots")
    rows = page.locator("#pair-rows tbody tr")

    def listed(*given: Any, **options: Any) -> None:
        """The rows are the library's, in its order."""
        frame = table.sorted_frame(*given, **options)
        expect(rows.locator("td:first-child")).to_have_text(
            [str(pair) for pair in frame.pair], timeout=WAIT
        )

    listed()
    expect(page.locator("#pairs-said")).to_contain_text("Distance is how far a pair lies")
    page.locator("#farthest").click()
    listed("distance", descending=True)
    expect(page).to_have_url(re.compile("order=distance&descending=1"))
    page.locator("#pair-rows th button", has_text="effect").click()
    listed("effect")
    expect(page.locator("#pair-rows th", has_text="effect")).to_have_attribute(
        "aria-sort", "ascending"
    )
    word = table.provenance.prompts[3].split()[-2]
    page.locator("#find").fill(word)
    page.locator("#find").press("Enter")
    listed("effect", text=word)
    address_of_table = page.url
    frame = table.sorted_frame("effect", text=word)
    rows.first.click()
    expect(page.locator("#view-read")).to_be_visible(timeout=WAIT)
    opened_pair = frame.iloc[0]
    expect(page.locator("#prompt")).to_have_value(opened_pair.corrupted, timeout=WAIT)
    expect(page.locator("#source")).to_have_value(opened_pair.clean)
    expect(page).to_have_url(re.compile("target=.*foil="), timeout=WAIT)
    page.goto(address_of_table)
    listed("effect", text=word)
    # A dot opens its pair as well.
    page.locator("#find").fill("")
    page.locator("#find").press("Enter")
    listed("effect")
    x = page.evaluate(
        """() => { const plot = document.querySelector("[id*=pair-dots] .js-plotly-plot");
            const trace = plot.data.find((one) => one.x.length);
            return [trace.y[0], trace.x[0], trace.meta.pairs[0]]; }"""
    )
    click_cell(page, drawn(page, "pair-dots"), x[0], x[1])
    expect(page.locator("#view-read")).to_be_visible(timeout=WAIT)
