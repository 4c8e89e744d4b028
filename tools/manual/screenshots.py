"""`python -m tools.manual.screenshots`: the manual's pictures of the report, by Chromium.

Two outputs are made of the package's samples, with made weights and `preview`: the tutorial's, and
one of two settings, with marks and snapshots. Some four minutes on two cores; needs Chromium.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from PIL import Image
from playwright import sync_api

from pipeline.__main__ import main as nst

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
SAMPLES = ROOT / "pipeline/samples"
SMALL = ("--config", "preview", "--weights", "procedural")
CUT_OFF = 9000  # bytes of the tutorial's broken photograph
SHORTENED = """here => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (texts.nextNode())
        texts.currentNode.data = texts.currentNode.data.replaceAll(here, "my-catalog/")
}"""


def run_tutorial() -> None:
    """The commands of docs/tutorial.md, in the working directory, to its output `stylized`."""
    shutil.copytree(SAMPLES / "contents", "photos")
    shutil.copytree(SAMPLES / "styles", "paintings")
    whole = pathlib.Path("photos/mountain_lake.jpg").read_bytes()
    pathlib.Path("photos/broken.jpg").write_bytes(whole[:CUT_OFF])
    sources = ("--contents", "photos/*.jpg", "--styles", "paintings/*.jpg")
    nst(["manifest", *sources, "--id", "{content}-{style}", "-o", "catalog.csv"])
    nst(["run", "--manifest", "catalog.csv", "--output", "stylized", *SMALL])


def run_settings() -> None:
    """Every sample by two content weights, with snapshots, to `by_weight`; needs the tutorial's."""
    rows = [
        {
            "id": f"{content.stem}/{style.stem}-{weight}",
            "content": f"photos/{content.name}",
            "style": f"paintings/{style.name}",
            "options.content_weight": weight,
            "options.snapshot_every": 8,
        }
        for weight, content, style in itertools.product(
            (0.02, 0.5),
            sorted((SAMPLES / "contents").glob("*.jpg")),
            sorted((SAMPLES / "styles").glob("*.jpg")),
        )
    ]
    rows.append({"id": "broken", "content": "photos/broken.jpg", "style": "paintings/mosaic.jpg"})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    pathlib.Path("weights.jsonl").write_text(lines, encoding="utf-8")
    nst(["run", "--manifest", "weights.jsonl", "--output", "by_weight", *SMALL])


@contextlib.contextmanager
def report(output: str, width: int, height: int, scheme: str = "light") -> Iterator[Any]:
    """The page of an output's report."""
    with sync_api.sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(pathlib.Path(output, "report/index.html").resolve().as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        yield page
        browser.close()


def take(page: Any, name: str) -> None:
    """What the page shows, with the paths of the tutorial, as a file of docs/."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    page.evaluate(SHORTENED, f"{os.getcwd()}/")
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        options = {"method": 6} if name.endswith(".webp") else {"optimize": True}
        picture.convert("RGB").save(DOCS / name, quality=84, **options)


def main() -> None:
    """Make the outputs and take the pictures."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run_tutorial()
        with report("stylized", 1280, 900) as page:
            take(page, "pictures/tutorial_report.webp")
        run_settings()
        with report("by_weight", 1200, 776) as page:
            for number, key in ((1, "k"), (3, "r")):
                page.focus(f".open >> nth={number}")
                page.keyboard.press(key)
            page.evaluate("document.activeElement.blur()")
            take(page, "report_grid.jpg")
        with report("by_weight", 1200, 776, scheme="dark") as page:
            page.fill("#text", "still_life/woodcut_wave")
            page.wait_for_timeout(500)
            page.click(".open >> nth=0")
            page.wait_for_selector("dialog[open]")
            page.keyboard.press("k")
            page.evaluate("cutAt(60)")
            take(page, "report_detail.jpg")


if __name__ == "__main__":
    main()
