"""The report in a real browser: it folds, opens what a link leads to, fits a phone and paper."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import results
from playwright.sync_api import Browser, Page, sync_playwright

from lensdepth import load_model, load_task
from lensdepth.report.build import write_report

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get("CI"), reason="no chromium on this machine"
    ),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    task = load_task("months", load_model("tiny"), n=60)
    written = write_report(results.report(task), folder / "r.html", folder / "r_tables")
    return written.path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(params=[(1280, 800), (400, 800)], ids=["wide", "narrow"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A tab; whatever goes wrong in its scripts fails the test."""
    wide, high = request.param
    tab = browser.new_page(viewport={"width": wide, "height": high})
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    yield tab
    tab.close()
    assert faults == []


def is_open(page: Page, section: str) -> bool:
    return page.evaluate(f"document.querySelector('#{section} details.part').open")


def drawn(page: Page, section: str) -> int:
    return page.locator(f"#{section} .plot .main-svg").count()


def test_the_first_screen_and_contents_at_hand(page: Page, address: str) -> None:
    page.goto(address)
    narrow = page.viewport_size is not None and page.viewport_size["width"] == 400
    assert page.evaluate("document.getElementById('contents').open") is not narrow
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if not narrow:
        below = "document.getElementById('overview').getBoundingClientRect().bottom"
        assert page.evaluate(below) <= 800
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    top = page.evaluate("document.querySelector('nav').getBoundingClientRect().top")
    assert top == 0
    assert [is_open(page, name) for name in ("story", "patch", "geometry")] == [True, False, False]
    if narrow:
        page.click("#contents summary")
    page.click("#unfold")
    assert is_open(page, "geometry")
    page.wait_for_function("document.querySelectorAll('.plot').length == "
                           "document.querySelectorAll('.plot:has(.main-svg)').length")  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = """[...document.querySelectorAll('.part > figure > .plot')].filter(
        (one) => one.getBoundingClientRect().right > innerWidth + 1).length"""
    assert page.evaluate(cut) == 0


def test_a_link_opens_what_it_leads_to(page: Page, address: str) -> None:
    page.goto(f"{address}#ablation")
    assert is_open(page, "ablation")
    assert drawn(page, "ablation") > 0
    assert not is_open(page, "dose")
    inside = page.evaluate("document.querySelector('#dose figure').id")
    page.evaluate(f"location.hash = '{inside}'")
    page.wait_for_function("document.querySelector('#dose details.part').open")
    assert drawn(page, "dose") > 0
    page.locator("#lens summary").first.click()
    assert page.url.endswith("#lens")
    assert is_open(page, "lens")


def test_all_is_on_paper_and_nothing_is_left_open_after(page: Page, address: str) -> None:
    page.goto(address)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("[...document.querySelectorAll('details:not(.data)')].every(d => d.open)")
    missing = "[...document.querySelectorAll('.plot')].filter(p => !p.querySelector('.main-svg'))"
    assert page.evaluate(f"{missing}.length") == 0
    too_wide = """[...document.querySelectorAll('.plot .main-svg')].filter(
        (one) => Number(one.getAttribute('width')) > 665).length"""
    assert page.evaluate(too_wide) == 0
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not is_open(page, "geometry")


def test_the_printed_file_has_every_section(address: str, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    made = tmp_path / "r.pdf"
    subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
         f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={made}",
         "--virtual-time-budget=8000", address],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    pages = re.findall(rb"/Type\s*/Page\b", made.read_bytes())
    assert len(pages) >= 11  # the overview, and each of the ten sections on a page of its own
