"""`python -m benchmarks` (`make bench`): every table, printed and written to RESULTS.md."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from benchmarks import machine, memory, overhead, step

SECTIONS = {
    "step": ("One optimisation step", step),
    "overhead": ("The pipeline's own share", overhead),
    "memory": ("Peak memory of one optimisation", memory),
}


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(names: Sequence[str]) -> None:
    """Run the named sections; RESULTS.md is written only when all have run."""
    parts = [f"Measured by `make bench` on: {machine.description()}."]
    for name in names or SECTIONS:
        title, module = SECTIONS[name]
        doc = " ".join((module.__doc__ or "").split())
        parts.append(f"## {title}\n\n{doc}\n\n{markdown(*module.table())}")
        print(parts[-1] + "\n", flush=True)
    if not names:
        text = "# Benchmarks\n\n" + "\n\n".join(parts) + "\n"
        pathlib.Path(__file__).with_name("RESULTS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
