"""`python -m benchmarks` (`make bench`): tables, printed and put into RESULTS.md."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks import (
    catalog,
    compilation,
    evaluations,
    feed,
    gpu,
    host,
    kernels,
    large,
    machine,
    memory,
    options,
    overhead,
    presets,
    report,
    scale,
    settings,
    spread,
    step,
    time_to_loss,
)
from benchmarks.options import Options

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


class Section(NamedTuple):
    """A kind of table: its title, the module that says what it is, whether `make bench` makes it.

    `cases` divides the options into those of single tables, each with words for its title.
    """

    title: str
    module: Any
    table: Callable[[Options], Table]
    by_default: bool = True
    cases: Callable[[Options], list[tuple[str, Options]]] = lambda options: [("", options)]


SECTIONS = {
    "step": Section("One optimisation step", step, lambda _: step.table()),
    "host": Section("The host beside the device", host, lambda _: host.table()),
    "overhead": Section("The pipeline's own share", overhead, lambda _: overhead.table()),
    "memory": Section("Peak memory of one optimisation", memory, lambda _: memory.table()),
    "large": Section(
        "A large image in little memory", large, lambda _: large.table(), by_default=False
    ),
    "loss": Section(
        "Time to the same loss",
        time_to_loss,
        time_to_loss.table,
        by_default=False,
        cases=time_to_loss.cases,
    ),
    "presets": Section("One pair under every preset", presets, presets.table, by_default=False),
    "settings": Section("What the settings do", settings, settings.table, by_default=False),
    "evaluations": Section("Scales and steps", evaluations, evaluations.table, by_default=False),
    "catalog": Section("A catalog", catalog, catalog.table, by_default=False),
    "scale": Section("Large catalogs", scale, scale.table, by_default=False),
    "report": Section("The report's pages", report, report.table, by_default=False),
    "feed": Section("Whether the host keeps up", feed, feed.table, by_default=False),
    "spread": Section(
        "Spread over a Flink cluster", spread, lambda _: spread.table(), by_default=False
    ),
    "compilation": Section(
        "Compilation", compilation, lambda _: compilation.table(), by_default=False
    ),
    "kernels": Section("A step's kernels on a GPU", kernels, kernels.table, by_default=False),
    "gpu": Section("On a GPU", gpu, lambda _: gpu.table(), by_default=machine.has_gpu()),
}


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: Sequence[str]) -> None:
    """Run the named sections, or those of `make bench`; RESULTS.md keeps all others."""
    chosen = options.parse(arguments, tuple(SECTIONS))
    by_default = [name for name, section in SECTIONS.items() if section.by_default]
    for name in chosen.sections or by_default:
        section = SECTIONS[name]
        doc = " ".join((section.module.__doc__ or "").split())
        command = " ".join(["python -m benchmarks", *(arguments or [name])])
        place = f"`{command}` on: {machine.description()}."
        for words, case in section.cases(chosen):
            text = f"{doc}\n\n{place}\n\n{markdown(*section.table(case))}"
            print(f"{text}\n", flush=True)
            _keep(section.title + words, text)


def _keep(title: str, text: str) -> None:
    """Put a section into RESULTS.md, in place of the one that it had."""
    path = pathlib.Path(__file__).with_name("RESULTS.md")
    kept = path.read_text(encoding="utf-8").split("\n## ")[1:] if path.exists() else []
    found = dict(one.split("\n\n", 1) for one in kept)
    found[title] = text
    known = [section.title for section in SECTIONS.values()]
    titles = sorted(found, key=lambda one: (known.index(one.partition(":")[0]), one))
    parts = [f"## {one}\n\n{found[one].strip()}\n" for one in titles]
    path.write_text("\n".join(["# Benchmarks\n", *parts]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
