"""The site: it is built without a warning, and loads nothing from anywhere else."""

from __future__ import annotations

import functools
import http.server
import os
import pathlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.manual.pages import ROOT

pytest.importorskip("mkdocs", reason="needs the packages of the extra docs")
pytest.importorskip("mkdocstrings", reason="needs the packages of the extra docs")
NARROW, WIDE = 390, 1440  # px: a telephone, a desk


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The site, built as `make docs` does; a warning fails it (`strict` in mkdocs.yml)."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: pathlib.Path) -> Iterator[str]:
    """Where a server of this process has the site."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_every_page_is_there_and_none_loads_anything_from_elsewhere(site: pathlib.Path) -> None:
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]
    assert {"index.html", "tutorial.html", "troubleshooting.html"} <= {page.name for page in pages}
    loads = re.compile(
        r'<(?:script|img|iframe|source)[^>]*\ssrc="(?:https?:)?//|'
        r'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="(?:https?:)?//'
    )
    for page in pages:
        assert not loads.search(page.read_text(encoding="utf-8")), page


def test_the_public_names_are_all_in_the_reference(site: pathlib.Path) -> None:
    import nst_core

    page = (site / "reference/python.html").read_text(encoding="utf-8")
    ids = set(re.findall(r'id="(nst_core[\w.]*)"', page))
    for name in nst_core.__all__:
        if name != "losses":
            assert any(one.endswith(f".{name}") for one in ids), name
    assert any(one.endswith(".gram_matrix") for one in ids)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_pages_fit_their_window_and_ask_nobody(
    address: str, browser: Any, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked, page = [], context.new_page()
    page.on(
        "request",
        lambda one: one.url.startswith((address, "data:", "blob:")) or asked.append(one.url),
    )
    for name in ("index", "tutorial", "reference/settings", "troubleshooting"):
        page.goto(f"{address}/{name}.html")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} px wide"
    assert asked == []
    context.close()


def test_no_option_is_parted_behind_its_dashes(address: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": NARROW, "height": 900})
    page.goto(f"{address}/how-to/look_at_results.html")
    lines = page.evaluate(
        "[...document.querySelectorAll('.nst-option')].map(one => one.getClientRects().length)"
    )
    assert len(lines) > 5
    assert set(lines) == {1}
    page.close()


def test_the_search_finds_a_message(address: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": WIDE, "height": 900})
    page.goto(f"{address}/index.html")
    page.click("[data-md-component=search-query]")
    page.keyboard.type("pointer")
    page.wait_for_selector(".md-search-result__link[href*=troubleshooting]", timeout=20_000)
    page.close()
