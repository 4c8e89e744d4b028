"""The report of a made-up output: `nst report` in a process of its own, then its page in Chromium.

Seconds of the command are without those of Python's start; memory is the most that was resident.
The page is opened from the disk at 1280×800 px: seconds until the first pictures are laid out, the
elements that it then has, and how many of 200 frames took longer than 50 ms while it is scrolled.
Files lie in the temporary folder (`TMPDIR`), and were written just before.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import made_output
from benchmarks.memory import MIB, resident
from benchmarks.options import Options
from pipeline.report.making import make_report

MOST_WITH_PICTURES = 100_000
_SCROLL = """async () => {
  let slow = 0, last = performance.now();
  for (let step = 0; step < 200; step++) {
    window.scrollBy(0, 700);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    if (now - last > 50) slow++;
    last = now;
  }
  return slow;
}"""


def one(output: str) -> None:
    """Make the report; print pairs, seconds, peak memory (bytes) and the page as JSON."""
    made = make_report(output)
    print(json.dumps([made.pairs, made.seconds, resident("VmHWM"), made.uri]))


def opened(uri: str) -> tuple[float, int, int]:
    """Seconds until the page is ready, its elements, slow frames while scrolling."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page: Any = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto("about:blank")
        started = time.perf_counter()
        page.goto(f"file://{uri}", wait_until="commit")
        page.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
        seconds = time.perf_counter() - started
        elements = page.evaluate("document.querySelectorAll('*').length")
        slow = page.evaluate(_SCROLL)
        browser.close()
    return seconds, elements, slow


def measure(rows: int) -> list[str]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder)
        made_output.write(output, rows, pictures=400 if rows <= MOST_WITH_PICTURES else 0)
        command = [sys.executable, "-m", "benchmarks.report", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        pairs, seconds, peak, uri = json.loads(done.stdout.splitlines()[-1])
        data = sum(file.stat().st_size for file in (output / "report").rglob("index-*.js"))
        ready, elements, slow = opened(uri)
    return [
        f"{pairs}",
        f"{seconds:.1f}",
        f"{1e6 * seconds / pairs:.0f}",
        f"{peak / MIB:.0f}",
        f"{data / MIB:.1f}",
        f"{ready:.2f}",
        f"{elements}",
        f"{slow}",
    ]


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows."""
    header = ["pairs", "s", "µs per pair", "peak MiB", "loaded MiB", "page s", "elements", "slow"]
    return header, [measure(rows) for rows in options.scale_rows]


if __name__ == "__main__":
    one(sys.argv[1])
