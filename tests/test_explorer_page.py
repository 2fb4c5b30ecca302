"""The explorer in a real browser: every view, what it takes along, and what must not happen."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, expect, sync_playwright
from werkzeug.serving import make_server

from lensdepth import DepthModel, intervene, load_model, logit_lens
from lensdepth.explorer import Offers, create_app
from lensdepth.explorer import shelf as shelf_module
from lensdepth.explorer.jobs import Jobs
from lensdepth.explorer.server import free_port, guard
from lensdepth.explorer.shelf import Shelf
from lensdepth.progress import watch
from lensdepth.replay import memory

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SHOTS = Path(__file__).parents[1] / "out" / "explorer"
BASE, SOURCE = "The capital of France is", "The capital of Spain is"
PAIR = "&prompt=The+capital+of+France+is&source=The+capital+of+Spain+is"
WAIT = 20_000

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no chromium on this machine"
)


@pytest.fixture(scope="module")
def address(trained: DepthModel) -> Iterator[str]:
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
    shelf, jobs = Shelf(offers, load), Jobs()
    app = create_app(offers, shelf=shelf, jobs=jobs)
    guard(app.server, host="127.0.0.1", token=None)
    port = free_port("127.0.0.1", None)
    server = make_server("127.0.0.1", port, app.server, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}/"
    server.shutdown()
    thread.join(10)
    server.server_close()
    jobs.close()
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
    found = re.search(r"[+−-]?\d+\.?\d*(e-?\d+)?", text)
    assert found is not None, text
    return float(found[0].replace("−", "-"))


def transferred(page: Page, scope: str) -> float:
    """What a scope's card says of the transferred fraction."""
    shown = page.locator(f".scope-{scope} dd strong").first
    expect(shown).to_be_visible(timeout=WAIT)
    return number(shown.inner_text())


def click_cell(page: Page, plot: Any, row: int, column: int, **how: Any) -> None:
    """Click a cell of a token map, rows counted from the bottom."""
    box = plot.locator(".bglayer .bg, .plot").first.bounding_box()
    area = plot.evaluate(
        """(plot) => { const {_offset: x, _length: w} = plot._fullLayout.xaxis;
            const {_offset: y, _length: h} = plot._fullLayout.yaxis;
            const at = (axis, v) => axis.d2p(v);
            return {x, y, w, h, left: plot.getBoundingClientRect().left,
                    top: plot.getBoundingClientRect().top}; }"""
    )
    assert box is not None
    x = plot.evaluate("(plot, v) => plot._fullLayout.xaxis.d2p(v)", column)
    y = plot.evaluate("(plot, v) => plot._fullLayout.yaxis.d2p(v)", row)
    for key in how.get("modifiers", []):
        page.keyboard.down(key)
    page.mouse.move(area["left"] + area["x"] + x - 3, area["top"] + area["y"] + y - 3)
    page.mouse.move(area["left"] + area["x"] + x, area["top"] + area["y"] + y)
    page.mouse.down()
    page.mouse.up()
    for key in how.get("modifiers", []):
        page.keyboard.up(key)


def choose_cell(page: Page, plot: Any, row: int, column: int, query: str, **how: Any) -> None:
    """Click a cell until the address says so: a click in the midst of a redraw is lost."""
    for patience in (5_000, 5_000, 5_000, WAIT):
        click_cell(page, plot, row, column, **how)
        try:
            expect(page).to_have_url(re.compile(query), timeout=patience)
            return
        except AssertionError:
            if patience == WAIT:
                raise


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


def test_pointing_at_a_cell_shows_the_likeliest_tokens(page: Page, address: str) -> None:
    opened(page, address, f"?view=read{PAIR}")
    plot = drawn(page, "map")
    plot.scroll_into_view_if_needed()
    click_cell(page, plot, 2, 3)
    expect(plot.locator(".hoverlayer")).to_contain_text(re.compile(r"0\.\d{3}"), timeout=WAIT)


def test_a_poke_gives_the_librarys_numbers(page: Page, address: str, apart: DepthModel) -> None:
    opened(page, address, f"?view=poke&depth=2&edit=direction{PAIR}")
    found = intervene(apart, BASE, SOURCE, depth=2, edit="direction").to_frame().set_index("run")
    for scope in ("local", "suffix", "window"):
        shown = transferred(page, scope)
        assert shown == pytest.approx(found.loc[scope, "transferred"], abs=0.006)
    drawn(page, "predictions")
    drawn(page, "trajectory")


def test_cells_are_chosen_by_clicks_and_ranges_by_shift(page: Page, address: str) -> None:
    opened(page, address, f"?view=poke&depth=3{PAIR}")
    plot = drawn(page, "pick")
    transferred(page, "local")
    choose_cell(page, plot, 1, 4, "depth=1&position=4&to=4")
    choose_cell(page, plot, 3, 5, "depth=1&last=3&position=4&to=5", modifiers=["Shift"])
    expect(page.locator(".scope-window .scope-head")).to_contain_text("1–3", timeout=WAIT)


def test_edits_and_their_strength_are_chosen_with_the_keyboard(page: Page, address: str) -> None:
    opened(page, address, f"?view=poke&depth=3{PAIR}")
    assert transferred(page, "local") == 1.0
    thumb = page.locator("#strength [role=slider], .field-strength [role=slider]").first
    thumb.focus()
    page.keyboard.press("Home")
    expect(page.locator(".scope-local dd strong").first).to_have_text("0.00", timeout=WAIT)
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
    opened(page, address, f"?view=sweep&pairs=20{PAIR}")
    expect(page.locator("#sweep-said")).to_contain_text("Nothing has been swept", timeout=WAIT)
    page.locator("#run").click()
    expect(page.locator("#job-text")).to_contain_text(re.compile(r"\d of \d+ runs"), timeout=WAIT)
    plot = drawn(page, "patch-map")
    expect(page.locator("#job-strip")).to_be_hidden()
    drawn(page, "patch")
    expect(page.locator("#sweep-said")).to_contain_text("position", timeout=WAIT)
    click_cell(page, plot, 1, 4)
    expect(page.locator("#view-poke")).to_be_visible(timeout=WAIT)
    expect(page).to_have_url(re.compile("depth=1.*position=4"), timeout=WAIT)


def test_a_sweep_can_be_cancelled_and_the_page_stays_usable(
    page: Page, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(memory.MAX_TOKENS, "cpu", 16)
    # Parts of a tenth of a second, as a large model has.
    monkeypatch.setattr(
        shelf_module, "watch", lambda seen: watch(lambda *state: (time.sleep(0.1), seen(*state))[1])
    )
    opened(page, address, f"?view=sweep&sweep=ablate&pairs=40{PAIR}")
    expect(page.locator("#sweep-said")).to_contain_text("Nothing has been swept", timeout=WAIT)
    page.locator("#run").click()
    expect(page.locator("#job-text")).to_contain_text("runs", timeout=WAIT)
    # Another view answers while the sweep is at work.
    page.locator("#view label").nth(1).click()
    assert 0 <= abs(transferred(page, "local")) < 2
    expect(page.locator("#job-strip")).to_be_visible()
    page.locator("#cancel").click()
    expect(page.locator("#job-strip")).to_be_hidden(timeout=WAIT)
    page.locator("#view label").nth(2).click()
    expect(page.locator("#sweep-said")).to_contain_text("Nothing has been swept", timeout=WAIT)


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
    page.locator("#view label").nth(5).click()
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


HOSTILE = "<script>alert(1)</script>"


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
    page.locator("#view label").nth(5).click()
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
    page.locator("#view label").nth(5).click()
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
        "read": "map", "poke": "trajectory", "sweep": "patch-map", "circuit": "components",
        "compare": "second", "keep": None,
    }  # fmt: skip
    opened(page, address, f"?view=read&run=1&pairs=20&components=L2H1,MLP2{PAIR}")
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
