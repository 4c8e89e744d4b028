"""The report's pages in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import made_output
from pipeline.report.making import make_report


@pytest.fixture
def opened(browser: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`opened(output, scheme)`: its report in a page of its own; no error may be on its console."""
    del monkeypatch
    contexts, errors = [], []

    def open_report(output: str, scheme: str = "light") -> Any:
        context = browser.new_context(
            viewport={"width": 1280, "height": 800}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda asked: asked.url.startswith(("file:", "blob:")) or errors.append(asked.url),
        )
        page.goto(f"file://{output}/report/index.html")
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An output of 6000 made-up pairs, more than one file of data, with its report."""
    output = tmp_path_factory.mktemp("many")
    made_output.write(output, 6000, pictures=8)
    make_report(str(output))
    return str(output)
