"""The report's pages in a real browser: from a disk, with hostile names, to a CSV that runs."""

from __future__ import annotations

import csv
import io
import pathlib
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from benchmarks import made_output
from nst_core.errors import shortened
from pipeline.__main__ import main
from pipeline.report.entries import ERROR_SHOWN
from pipeline.report.making import make_report

if TYPE_CHECKING:
    from web_server import WebServer

Catalog = Any
HOSTILE = (
    "<script>window.hacked=1</script>",
    "\"'><img src=x onerror=window.hacked=1>",
    "javascript:window.hacked=1",
    "moc.elpmaxe\u202egpj",
    '=1+1, with; "quotes"',
)


def until(page: Any, condition: str) -> None:
    """Wait until an expression is true; the page's own policy forbids Playwright's way to."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"{condition} did not come true")


def shown(page: Any) -> list[str]:
    """The ids of the cards that are there, in their order."""
    cards = page.eval_on_selector_all(
        ".card", "all => all.map(c => [+c.ariaPosInSet, c.querySelector('b').textContent])"
    )
    return [name for _, name in sorted(cards)]


def middle(shown: Any) -> Any:
    """The colour in the middle of an element, as a person sees it."""
    with Image.open(io.BytesIO(shown.screenshot())) as image:
        return image.convert("RGB").getpixel((image.width // 2, image.height // 2))


def test_many_pairs_have_few_elements_and_are_sorted_and_filtered(opened: Any, many: str) -> None:
    page = opened(many)
    assert page.text_content("#shown") == "6,000 pairs"
    assert page.locator("*").count() < 1000
    page.select_option("#sort", "total")
    losses = page.evaluate("view.pairs.map(p => nst.numbers.total[p])")
    assert losses == sorted(losses, reverse=True)
    page.check("#reverse")
    assert page.evaluate("nst.numbers.total[view.pairs[0]]") == min(losses)
    page.select_option("#sort", "deviation")
    page.uncheck("#reverse")
    worst = page.evaluate("nst.numbers.deviation[view.pairs[0]]")
    assert worst == page.evaluate("Math.max(...nst.numbers.deviation)") > 3
    page.select_option("#style", label="style03.jpg")
    assert page.text_content("#shown") == "500 of 6,000 pairs"
    page.select_option("#column", label="shelf")
    page.fill("#value", "5")
    until(page, "view.pairs.length < 100")
    page.fill("#text", "no such thing")
    until(page, "view.pairs.length === 0")
    page.fill("#text", "A-00000003")
    page.fill("#value", "")
    page.select_option("#style", "")
    until(page, "view.pairs.length === 1")


def test_where_too_few_are_alike_the_largest_gram_errors_come_first(
    opened: Any, tmp_path: pathlib.Path
) -> None:
    made_output.write(tmp_path, 60, pictures=8)  # Five of each style.
    for record in sorted(tmp_path.glob("records/*/*.json"))[:2]:
        record.unlink()
    make_report(str(tmp_path))
    page = opened(str(tmp_path))
    pairs = page.evaluate(
        "view.pairs.map(p => [nst.numbers.deviation[p], nst.numbers.gram_error[p]])"
    )
    usual, alone = pairs[:50], pairs[50:]
    assert [pair[0] for pair in usual] == sorted((pair[0] for pair in usual), reverse=True)
    assert [pair[0] for pair in alone] == [None] * 8
    assert [pair[1] for pair in alone] == sorted((pair[1] for pair in alone), reverse=True)
    page.evaluate("window.scrollTo(0, 1e9)")
    until(page, "document.querySelector('[aria-posinset=\"58\"]')")
    assert "Gram error 0." in page.inner_text("[aria-posinset='58'] small")
    assert "σ" in page.inner_text("[aria-posinset='50'] small")


def test_scrolling_reaches_the_last_pair_and_contents_can_be_compared(
    opened: Any, many: str
) -> None:
    page = opened(many)
    page.select_option("#sort", "id")
    page.evaluate("window.scrollTo(0, 1e9)")
    until(page, "document.querySelector('[aria-posinset=\"6000\"]')")
    assert shown(page)[-1] == "shelf00005/item00005999"
    page.evaluate("window.scrollTo(0, 0)")
    page.check("#grouped")
    page.wait_for_selector(".heading")
    first = page.evaluate("view.pairs.slice(0, 12).map(p => textOf(p, 'content'))")
    assert len(set(first)) == 1
    page.click("input[name=size][value=l]", force=True)
    assert page.evaluate("layout.columns") == 2


def test_nothing_is_cut_off_or_covered_that_is_sorted_by(opened: Any, many: str) -> None:
    page = opened(many)
    caption = page.inner_text(".card small >> nth=0")
    assert re.fullmatch(r"\+[\d.]+ σ · style\d\d\.jpg", caption)
    page.focus(".open >> nth=0")
    page.keyboard.press("r")
    with page.expect_download():
        page.click("#save")
    page.evaluate("window.scrollTo(0, 1e9)")
    until(page, "document.querySelector('[aria-posinset=\"6000\"]')")
    last = page.locator("[aria-posinset='6000']").bounding_box()
    marks = page.locator("#marks").bounding_box()
    assert last["y"] + last["height"] <= marks["y"]
    assert marks["y"] + marks["height"] <= 800
    page.evaluate("window.scrollTo(0, 0)")
    marks = page.locator("#marks").bounding_box()
    assert marks["y"] + marks["height"] <= 800


def test_on_a_phone_pictures_have_the_most_of_the_page(opened: Any, many: str) -> None:
    page = opened(many)
    page.set_viewport_size({"width": 390, "height": 844})
    until(page, "layout.columns === 1")
    assert page.locator(".top").bounding_box()["height"] < 844 / 5
    assert page.locator(".top .title").bounding_box()["width"] > 350
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.focus(".open >> nth=0")
    page.keyboard.press("r")
    page.keyboard.press("ArrowDown")
    focused = page.locator(".open:focus").bounding_box()
    marks = page.locator("#marks").bounding_box()
    assert focused["y"] >= 0
    assert focused["y"] + focused["height"] <= marks["y"]
    page.evaluate("window.scrollBy(0, 2000)")
    tools = page.locator("#tools").bounding_box()
    assert tools["y"] + tools["height"] < 0


def test_the_keyboard_alone_goes_through_grid_and_detail_and_marks(opened: Any, many: str) -> None:
    page = opened(many)
    page.focus(".open >> nth=0")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    title = page.text_content("#detail-title")
    assert page.get_attribute("#detail-marks .reject", "aria-pressed") == "true"
    page.keyboard.press("ArrowRight")
    until(page, f"document.querySelector('#detail-title').textContent !== {title!r}")
    page.keyboard.press("k")
    assert page.text_content("#marks-count") == "1 keep, 1 reject"
    page.keyboard.press("+")
    assert page.text_content("#factor") == "150 %"
    page.focus("#cut")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#cut") == "1"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.text_content("#marks-count") == "1 keep, 1 reject"  # Kept in the browser.


def test_the_slider_shows_what_is_named_at_its_ends(opened: Any, many: str) -> None:
    page = opened(many)
    page.click(".open >> nth=0")
    page.wait_for_selector("dialog[open]")
    for name, image, colour in (("Content", "before", "red"), ("Result", "after", "lime")):
        page.evaluate(f"control('{image}').style.background = '{colour}'")
        page.evaluate(f"control('{image}').removeAttribute('src')")
        assert page.get_attribute(f"#{image}", "alt") == name
    colours = {"Content": (255, 0, 0), "Result": (0, 255, 0)}
    first, last = page.inner_text("label:has(#cut)").split()
    assert middle(page.locator("#stage")) == colours["Result"]
    page.focus("#cut")
    for key, name in (("End", last), ("Home", first)):
        page.keyboard.press(key)
        assert middle(page.locator("#stage")) == colours[name]
        share = 100 if name == "Content" else 0
        assert page.get_attribute("#cut", "aria-valuetext") == f"{share} % content"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_grid_and_detail_are_accessible(opened: Any, many: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(many, scheme)
    page.focus(".open >> nth=0")
    page.keyboard.press("r")
    first = axe.run(page).response
    assert len(first["passes"]) > 10
    found = first["violations"]
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    found += axe.run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_a_report_says_why_there_is_no_picture(opened: Any, catalog: Catalog) -> None:
    catalog.picture("s.png")
    catalog.write("broken.png", b"<b>no picture</b>")
    catalog.write("pairs.csv", b"id,content,style\n")
    assert catalog.run("--run-id=none") == 0
    page = opened(catalog.uri("out"))
    assert page.inner_text("#none") == "No results yet."
    assert page.locator(".head > *").count() == 1
    catalog.manifest([{"id": "broken", "content": "broken.png", "style": "s.png"}])
    assert catalog.run("--run-id=failed") == 3
    page = opened(catalog.uri("out"))
    assert not page.is_visible("#none")
    error = catalog.failures()[0]["error"]
    said = page.inner_text(".card.failed .reason")
    assert said == shortened(error, ERROR_SHOWN)
    label = page.get_attribute(".open", "aria-label")
    assert label == f"broken, style s.png, input_unreadable: {said}"
    page.click(".open")
    page.wait_for_selector("dialog[open]")
    assert page.inner_text("#detail-error") == f"input_unreadable: {error}"
    assert not page.is_visible("#stage")
    assert not page.is_visible("#cut")
    assert page.is_visible("#sources")
    page.keyboard.press("Escape")
    page.fill("#text", "other")
    until(page, "view.pairs.length === 0")
    assert page.inner_text("#none") == "No pair is like this."


def test_hostile_names_are_text_and_marks_are_a_manifest_that_runs(
    opened: Any, catalog: Catalog, tmp_path: pathlib.Path
) -> None:
    catalog.picture("s.png")
    rows = []
    for number, text in enumerate(HOSTILE):
        name = f"{text.replace('/', '_')}.png"
        catalog.picture(name)
        row = {"id": f"p{number}", "content": name, "style": "s.png", "sku": text, text: "x"}
        rows.append({**row, "options.tv_weight": "0.02" if number == 1 else ""})
    catalog.manifest([*rows, {**rows[0], "id": "gone", "content": "<b>gone</b>"}])
    assert catalog.run("--set", "snapshot_every=1") == 3
    before = catalog.records()

    page = opened(catalog.uri("out"))
    page.select_option("#sort", "id")
    assert shown(page) == ["gone", *(f"p{number}" for number in range(len(HOSTILE)))]
    for place, mark in ((1, "r"), (2, "r"), (3, "k"), (5, "x"), (0, "k")):
        page.click(f"[data-place='{place}']")
        until(page, f"document.querySelector('dialog[open]') && opened.place === {place}")
        page.keyboard.press(mark)
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog:not([open])", state="attached")
    page.click("#failures summary")
    assert page.evaluate("window.hacked") is None
    assert page.locator("main b b, main script, dialog script").count() == 0
    links = page.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))")
    assert all(re.match(r"(\.\./|#)", link) for link in links)
    assert "\u202e" not in page.inner_text("body")

    page.select_option("#fill", "content_weight")
    page.fill("#fill-value", "0.5")
    with page.expect_download() as download:
        page.click("#save")
    marks = tmp_path / "marks.csv"
    download.value.save_as(marks)
    with marks.open(newline="") as file:
        saved = list(csv.DictReader(file))
    assert [(row["id"], row["mark"]) for row in sorted(saved, key=lambda row: row["id"])] == [
        ("gone", "keep"),
        ("p0", "redo"),
        ("p1", "redo"),
        ("p2", "keep"),
        ("p4", "reject"),
    ]
    assert {row["sku"] for row in saved} <= {*HOSTILE}

    command = shlex.split(page.text_content("#then-command"))
    command[command.index("marks.csv")] = str(marks)
    assert main([*command[1:], "--run-id", "again"]) == 3  # What is gone is gone.
    statuses = {name: record["run"] == "again" for name, record in catalog.records().items()}
    assert statuses == {"p0": True, "p1": True, "p2": False, "p3": False, "p4": False}
    after = catalog.records()["p1"]["config"]
    assert after == {**before["p1"]["config"], "content_weight": 0.5}


def test_the_command_for_marks_allows_private_hosts_where_their_runs_did(
    opened: Any, catalog: Catalog, web: WebServer, tmp_path: pathlib.Path
) -> None:
    catalog.pairs(("a.png", "b.png"))
    for name in ("b.png", "s.png"):
        web.put(name, catalog.read(name))
    catalog.manifest([{"id": "a", "content": "a.png", "style": "s.png"}])
    rows = [{"id": "b", "content": f"{web.url}/b.png", "style": f"{web.url}/s.png"}]
    catalog.manifest(rows, "web.csv")
    allowed = ("--allow-schemes=https,file", "--allow-private-hosts")
    assert catalog.run("--no-report") == 0
    assert catalog.run(*allowed, "--run-id=web", manifest="web.csv") == 0
    page = opened(catalog.uri("out"))
    page.select_option("#sort", "id")
    commands = []
    for name in "ab":
        page.focus(f".open[aria-label^='{name},']")
        page.keyboard.press("r")
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "marks.csv")
        commands.append(shlex.split(page.text_content("#then-command")))
    assert [allowed[1] in command for command in commands] == [False, True]
    again = commands[1]
    again[again.index("marks.csv")] = str(tmp_path / "marks.csv")
    assert main([*again[1:], "--run-id", "again"]) == 0
    assert {record["run"] for record in catalog.records().values()} == {"again"}


def test_the_axis_of_the_curves_is_not_cut_off(opened: Any, many: str) -> None:
    page = opened(many)
    page.click(".open >> nth=0")
    page.wait_for_selector("dialog[open]")
    left = page.evaluate("""() => {
        const falls = [2, 1e-5]
        const curve = {step: [1, 99], total: falls, content: falls, style: falls, tv: falls}
        control("tell").replaceChildren(curves(curve))
        return Math.min(...[...dialog.querySelectorAll("svg text")].map(one => one.getBBox().x))
    }""")
    assert left >= 0
