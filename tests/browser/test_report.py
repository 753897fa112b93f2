"""The report in a real browser: nothing fails, nothing is fetched, everything can be read and reached."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart.report.render import render_report

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
KINDS = ["digits", "birds", "binary", "many", "multilabel", "regression", "no_test", "interrupted"]
WIDTHS = [400, 1280]

# Contrast as WCAG 2 defines it, of every visible text on the nearest opaque background.
CONTRAST = """() => {
  const channel = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const parse = s => { const p = s.match(/[\\d.]+/g).map(Number); return p.length < 4 ? [...p, 1] : p };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest('svg')) continue;
    if (!element.checkVisibility()) continue;
    let behind = element, back = [0, 0, 0, 0];
    while (behind && back[3] < 1) {
      const bar = behind.matches('.on') && behind.parentElement.querySelector('.fill');
      back = parse(getComputedStyle(bar || behind).backgroundColor);
      behind = behind.parentElement;
    }
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push([walker.currentNode.textContent.trim().slice(0, 40), ratio]);
  }
  return low;
}"""


def _chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = _chromium()
    if path is None:
        pytest.skip("no Chromium on this machine: install it (apt install chromium), then run `make browser`")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    file = Path(__file__).parents[1] / "report" / "fixture.py"
    spec = importlib.util.spec_from_file_location("run_folders", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("all") / "runs"
    return {kind: render_report(module.KINDS[kind](folder / kind)) for kind in KINDS}


@pytest.fixture
def opened(browser: Any, reports: dict[str, Path]) -> Iterator[Any]:
    """Opens a report; at the end nothing may have been said on the console, thrown or asked of a network."""
    contexts: list[Any] = []
    said: list[str] = []

    def open_page(kind: str, width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on(
            "request",
            lambda r: said.append(f"request: {r.url}") if not r.url.startswith(("file:", "data:")) else None,
        )
        page.goto(reports[kind].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_its_headline_is_seen_first(opened, kind, width):
    page = opened(kind, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heading = page.locator("h1")
    assert heading.inner_text() == kind
    assert heading.bounding_box()["y"] < 200
    score = page.locator(".score .value")
    if kind == "interrupted":
        assert score.count() == 0
        assert page.get_by_text("Not finished.").is_visible()
    else:
        box = score.bounding_box()
        assert box["y"] + box["height"] < 900


@pytest.mark.parametrize("kind", KINDS)
def test_every_section_is_reached_from_the_contents(opened, kind):
    page = opened(kind)
    links = page.locator("nav a")
    assert links.count() == page.locator("main > section").count() >= 10
    for i in range(links.count()):
        link = links.nth(i)
        link.click()
        target = link.get_attribute("href")
        section = page.locator(target)
        assert page.url.endswith(target)
        assert section.locator("h2").inner_text() == link.inner_text()
        page.wait_for_function(
            "id => { const y = document.querySelector(id).getBoundingClientRect().top; return (y > -5 && y < 900) }",
            arg=target,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_loaded_and_figures_have_a_size_and_a_name(opened, kind):
    page = opened(kind)
    widths = page.eval_on_selector_all("img", "all => all.map(i => i.complete ? i.naturalWidth : 0)")
    assert all(w > 0 for w in widths)
    assert bool(widths) == (kind in ("digits", "birds", "many", "multilabel", "regression"))
    assert page.locator("img:not([alt])").count() == 0
    figures = page.locator("svg.figure")
    assert figures.count() >= 1
    for i in range(figures.count()):
        box = figures.nth(i).bounding_box()
        assert box["width"] > 250
        assert box["height"] > 80
    named = page.eval_on_selector_all(
        "svg.figure",
        """all => all.map(svg =>
        svg.getAttribute('aria-labelledby').split(' ').map(id => document.getElementById(id).textContent))""",
    )
    assert all(title and description for title, description in named)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["digits", "birds", "binary", "many", "interrupted"])
def test_text_can_be_told_from_its_background(opened, kind, scheme):
    assert opened(kind, scheme=scheme).evaluate(CONTRAST) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_follow_light_and_dark(opened, scheme):
    page = opened("digits", scheme=scheme)
    ink = page.evaluate("getComputedStyle(document.querySelector('svg.figure text')).fill")
    body = page.evaluate("getComputedStyle(document.body).color")
    assert ink in (body, page.evaluate("getComputedStyle(document.querySelector('.small')).color"))


def test_hostile_names_do_nothing(opened):
    page = opened("birds")
    assert page.locator("script").count() == 0
    assert page.get_by_text("<script>alert('wren')</script>").first.is_visible()


@pytest.mark.parametrize("kind", ["digits", "birds", "regression"])
def test_text_in_figures_does_not_leave_them(opened, kind):
    page = opened(kind)
    outside = page.evaluate("""() => [...document.querySelectorAll('svg.figure')].flatMap(svg => {
        const frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter(text => {
          const box = text.getBoundingClientRect();
          return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1
                 || box.bottom > frame.bottom + 1;
        }).map(text => text.textContent);
    })""")
    assert outside == []
