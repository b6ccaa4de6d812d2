"""`report.html` as people meet it: in a browser, light and dark, on desk, phone and paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsers import browser
from report_runs import RUNS, published

from evalhub_components.records import html, wording
from evalhub_components.records.next_steps import next_steps
from evalhub_components.run_directory import LoadedRun

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser"]

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
SCREENS = [
    pytest.param(scheme, size, id=f"{scheme}-{name}")
    for scheme in ("light", "dark")
    for name, size in (("desktop", DESKTOP), ("phone", PHONE))
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[LoadedRun, Path]]:
    """A function that returns a run of a kind, and the page about it."""
    folder = tmp_path_factory.mktemp("runs")
    made: dict[str, tuple[LoadedRun, Path]] = {}

    def run(kind: str) -> tuple[LoadedRun, Path]:
        if kind not in made:
            loaded = RUNS[kind](folder / kind)
            path = folder / f"{kind}.html"
            path.write_text(html.render(loaded, loaded.judge(), published(loaded)), encoding="utf-8")
            made[kind] = loaded, path
        return made[kind]

    return run


@dataclass
class Opened:
    """A page in the browser, what it asked for and what the browser complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def box(self, selector: str) -> dict[str, float]:
        found: Any = self.page.locator(selector).first.bounding_box()
        assert found is not None, f"{selector} is not to be seen"
        return dict(found)


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """A function that opens a file."""
    contexts = []

    def opened(path: Path, scheme: str = "light", size: dict[str, int] = DESKTOP) -> Opened:
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("dialog", lambda dialog: (found.complaints.append(dialog.message), dialog.dismiss()))
        found.page.goto(path.as_uri())
        return found

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("scheme", "size"), SCREENS)
@pytest.mark.parametrize("kind", sorted(RUNS))
def test_everybody_can_read_it_and_nothing_leaves_it(
    kind: str, scheme: str, size: dict[str, int], runs: Any, opened: Any
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    run, path = runs(kind)
    found = opened(path, scheme, size)
    # the sentence and the first thing to do are on the first screen
    assert found.page.locator("h1").inner_text().startswith(wording.DECISIONS[run.judge().verdict])
    first = found.box(".next li, .next p")
    assert 0 < found.box("h1")["y"] < first["y"]
    assert first["y"] + first["height"] <= size["height"]
    # folded or not, nothing is wider than the screen
    found.page.evaluate("for (const each of [...document.querySelectorAll('details')].slice(0, 4)) each.open = true")
    assert found.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    # axe looks at every element: of 200 benchmarks some are enough
    found.page.evaluate(
        "for (const each of [...document.querySelectorAll('tr[class], details')].slice(24)) each.remove()"
    )
    violations = Axe().run(found.page).response["violations"]
    serious = [
        (each["id"], each["impact"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in violations
        if each["impact"] in ("serious", "critical", None)
    ]
    assert serious == []
    assert found.requests == [path.as_uri()]
    assert found.complaints == []


def test_colours_follow_the_scheme(runs: Any, opened: Any) -> None:
    colours = [
        opened(runs("failing")[1], scheme).page.evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert colours == ["rgb(255, 255, 255)", "rgb(17, 22, 28)"]


def test_a_failed_run_says_on_the_first_screen_why_and_what_to_do(runs: Any, opened: Any) -> None:
    run, path = runs("failing")
    found = opened(path)
    seen = found.page.evaluate(
        """() => [...document.querySelectorAll('h1, .next li, .next .command, .number, .overall dd')]
            .filter(each => each.getBoundingClientRect().bottom <= innerHeight)
            .map(each => each.textContent)"""
    )
    assert wording.sentence(run, run.judge()) in seen
    for step in next_steps(run, run.judge(), local=True, publication=published(run)):
        assert any(text.startswith(step.text) for text in seen)
    assert f"evalhub-kfp compare RUN {run.path}" in seen
    assert {"0.5673", "0.7 (of the collection), gate mode point"} <= set(seen)


@pytest.mark.parametrize("kind", ["failing", "long names"])
def test_how_the_model_did_overall_is_on_the_first_screen_of_a_phone(kind: str, runs: Any, opened: Any) -> None:
    run, path = runs(kind)
    found = opened(path, size=PHONE)
    said = found.box(".meaning")
    overall = run.judge().reasons[-1]
    assert overall.startswith("score ")
    assert overall in found.page.locator(".meaning").inner_text()
    assert said["y"] + said["height"] <= PHONE["height"]


def test_a_name_breaks_nowhere_but_between_its_words(runs: Any, opened: Any) -> None:
    found = opened(runs("long names")[1])
    lines = found.page.evaluate(
        """() => [...document.querySelectorAll('tbody th a')].map(
            each => new Set([...each.getClientRects()].map(box => box.top)).size)"""
    )
    assert lines == [1] * 6


def test_the_keyboard_opens_the_details(runs: Any, opened: Any) -> None:
    found = opened(runs("error")[1])
    summary = found.page.locator("summary", has_text="arc_challenge")
    log = found.page.get_by_text("ERROR the server closed the connection")
    assert not log.is_visible()
    for _ in range(30):
        found.page.keyboard.press("Tab")
        if summary.evaluate("each => each === document.activeElement"):
            break
    assert summary.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    found.page.keyboard.press("Enter")
    assert log.is_visible()


def test_a_name_in_the_table_opens_its_details(runs: Any, opened: Any) -> None:
    found = opened(runs("failing")[1])
    facts = found.page.locator("details", has_text="mmlu_pro").locator(".inside")
    assert not facts.is_visible()
    found.page.get_by_role("link", name="mmlu_pro").click()
    assert facts.is_visible()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_screen_reader_finds_a_table_whatever_it_looks_like(runs: Any, opened: Any, size: dict[str, int]) -> None:
    found = opened(runs("failing")[1], size=size)
    table = found.page.get_by_role("table", name="Benchmarks, those that explain the verdict first")
    assert table.get_by_role("columnheader").count() == 7
    row = table.get_by_role("row", name="mmlu_pro")
    assert row.get_by_role("rowheader").count() == 1
    assert row.get_by_role("img", name="score 0.275 of 1, bounds 0.2229 and 0.3271, threshold 0.5").count() == 1


def test_paper_shows_what_is_folded_in_dark_ink(runs: Any, opened: Any) -> None:
    found = opened(runs("failing")[1], "dark")
    folded = found.page.locator("details .inside").first
    assert not folded.is_visible()
    found.page.emulate_media(media="print", color_scheme="dark")
    assert folded.is_visible()
    assert found.page.evaluate("getComputedStyle(document.body).color") == "rgb(26, 32, 39)"
    assert found.page.evaluate("document.querySelectorAll('details[open]').length") == 0

    def pages() -> int:
        return len(re.findall(rb"/Type\s*/Page\b", found.page.pdf(format="A4")))

    with_details = pages()
    found.page.evaluate("for (const each of document.querySelectorAll('details')) each.remove()")
    assert with_details > pages() + 1


def test_a_command_is_selected_whole(runs: Any, opened: Any) -> None:
    run, path = runs("failing")
    found = opened(path)
    found.page.locator(".next .command").first.click()
    assert found.page.evaluate("getSelection().toString().trim()") == f"evalhub-kfp compare RUN {run.path}"


def test_a_script_that_got_into_the_page_would_not_run(runs: Any, opened: Any, tmp_path: Path) -> None:
    source = runs("failing")[1].read_text("utf-8")
    attack = (
        "<script>document.title = 'run'</script><img src='http://127.0.0.1:9/x' onerror=\"document.title = 'run'\">"
    )
    path = tmp_path / "attacked.html"
    path.write_text(source.replace("<main>", f"<main>{attack}<p style='color: red'>", 1), "utf-8")
    found = opened(path)
    assert found.page.title().startswith("Failed: ")
    assert found.page.evaluate("getComputedStyle(document.querySelector('main > p')).color") != "rgb(255, 0, 0)"
    assert len(found.complaints) >= 3
