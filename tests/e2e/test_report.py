"""`tcia-covid report`, and its page in a real browser."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import tcia_covid
from tcia_covid.store.tree import Tree
from tests.e2e.command import run
from tests.fakes.browser import (
    BACKSPACE,
    CHROMIUM,
    DOWN,
    DRIVER,
    ENTER,
    ESCAPE,
    LEFT,
    RIGHT,
    Browser,
)
from tests.unit.operations.test_report import add, stack
from tests.unit.trees import new_tree

HOSTILE = "</script><img src=x onerror='document.title=1'><b>bold</b>"
in_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"
)


@pytest.fixture(name="tree")
def _tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path / "data")


def test_the_command_writes_the_page_and_says_where(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    add(tree, 2, [*stack(3), *stack(6)[4:]])
    result = run("report", "data", home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0].startswith("data/report.html: 2 series, in ")
    assert "COVID-19-AR: 1 series have irregular slices" in result.stdout
    page = (tmp_path / "data" / "report.html").read_text(encoding="utf-8")
    assert "Chest Imaging with Clinical and Genomic Correlates" in page  # its citation
    assert "10.7937/tcia.2020.py71-5978" in page.casefold()
    result = run("report", "data", "--to", "out", "--json", home=tmp_path)
    document = json.loads(result.stdout)
    assert (document["page"], document["exit_code"]) == ("out/index.html", 0)
    assert (tmp_path / "out" / "index.html").is_file()
    (tmp_path / "data" / "report.html").write_text("mine")
    result = run("report", "data", home=tmp_path)
    assert result.returncode == 2
    assert "data/report.html exists" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a browser that is a shell script")
def test_the_page_is_opened_in_the_browser(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path / "opened"}\n')
    browser.chmod(0o755)
    result = run("report", "data", "--open", home=tmp_path, BROWSER=str(browser))
    assert (result.returncode, result.stderr) == (0, "")
    opened = (tmp_path / "opened").read_text().strip()
    assert opened == (tmp_path / "data" / "report.html").as_uri()
    result = run("report", "data", "--open", home=tmp_path, BROWSER="false")
    assert result.returncode == 0
    assert "no browser could be started: open data/report.html" in result.stderr


@pytest.fixture(name="page", scope="module")
def _page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("browser")
    tree = new_tree(directory)
    add(tree, 1, stack(), description=HOSTILE, patient="ALPHA", crdc_uuid="0" * 36)
    for number in range(2, 70):
        facts = {"modality": "MR"} if number % 2 else {}
        add(tree, number, stack(3), description=f"Chest {number}", patient=f"P{number}", **facts)
    return tcia_covid.report(directory, to=directory / "out", jobs=2).page


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def count(browser: Browser) -> str:
    return str(browser.run("return document.getElementById('count').textContent"))


def wait_for_filter(browser: Browser) -> None:
    """The page filters 80 ms after the last key."""
    browser.run("return new Promise((done) => setTimeout(done, 100))")


@in_chromium
def test_a_browser_shows_thumbnails_and_no_errors(page: Path, browser: Browser) -> None:
    browser.open(page)
    assert count(browser) == "1 to 60 of 69 series"
    script = """
        const image = document.querySelector(".card img");
        return image.decode().then(() => image.naturalWidth);
    """
    assert browser.run(script) == 160
    assert browser.console() == []
    requests = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert all(name.startswith(page.parent.as_uri()) for name in browser.run(requests))


@in_chromium
def test_hostile_text_stays_text_in_a_browser(page: Path, browser: Browser) -> None:
    browser.open(page)
    title = browser.run("return document.title")
    browser.run("document.querySelector('.card').click()")
    assert HOSTILE in browser.run("return document.getElementById('detail-head').textContent")
    assert browser.run("return document.querySelectorAll('main b, dialog b').length") == 0
    assert browser.run("return document.title") == title
    links = "return [...document.querySelectorAll('#detail-links a')].map((link) => link.href)"
    folder, viewer = browser.run(links)
    path = Path(unquote(urlsplit(folder).path))
    assert sorted(file.suffix for file in path.iterdir()) == [".dcm"] * 5
    assert urlsplit(viewer).hostname == "viewer.imaging.datacommons.cancer.gov"
    assert viewer.endswith(f"&SeriesInstanceUIDs={path.name}")
    assert browser.console() == []


@in_chromium
def test_search_filter_and_details_work_by_keyboard(page: Path, browser: Browser) -> None:
    browser.open(page)
    browser.press("/", *"chest 12")
    wait_for_filter(browser)
    assert count(browser) == "1 series (of 69)"
    browser.press(*BACKSPACE * 2, *"34", DOWN, ENTER)  # faster than the page filters
    assert "Chest 34" in browser.run("return document.getElementById('detail-head').textContent")
    browser.press(ESCAPE)
    browser.run(
        "const query = document.getElementById('query');"
        "query.value = ''; query.dispatchEvent(new Event('input'))"
    )
    wait_for_filter(browser)
    browser.run("document.getElementById('modality').focus()")
    browser.press("M")
    wait_for_filter(browser)
    assert count(browser) == "34 series (of 69)"
    assert browser.run("return location.hash") == "#modality=MR"
    browser.run("document.getElementById('query').focus()")
    browser.press(DOWN, RIGHT, RIGHT, LEFT, ENTER)
    head = "return document.getElementById('detail-head').textContent"
    assert browser.run("return document.getElementById('detail').open") is True
    first = browser.run(head)
    browser.press(RIGHT)
    assert browser.run(head) != first
    browser.press(LEFT, ESCAPE)
    assert browser.run("return document.getElementById('detail').open") is False
    focused = "return document.activeElement.querySelector('.name').textContent"
    assert browser.run(focused) == first.partition(" · ")[0]
    assert browser.console() == []


@in_chromium
def test_a_page_with_filters_in_its_address_shows_them(page: Path, browser: Browser) -> None:
    browser.open(page)
    browser.run(f"location.href = {page.as_uri()!r} + '#patient=ALPHA'; location.reload()")
    browser.run("return new Promise((done) => setTimeout(done, 100))")
    assert count(browser) == "1 series (of 69)"


@in_chromium
@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_is_wider_than_the_screen(width: int, page: Path, browser: Browser) -> None:
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.devtools("Emulation.setDeviceMetricsOverride", **screen)
    try:
        browser.open(page)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.run("document.querySelector('.card').click()")
        script = "return document.getElementById('detail').getBoundingClientRect().right"
        assert browser.run(script) <= width
    finally:
        browser.devtools("Emulation.clearDeviceMetricsOverride")
