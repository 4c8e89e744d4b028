"""What the report says of rows that failed: how they are retried, and which pairs they leave be."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import pytest

from pipeline.__main__ import main
from pipeline.report import settings
from pipeline.report.failing import failures_of
from pipeline.report.making import Made
from pipeline.report.runs import runs_of

Catalog = Any


def page_of(catalog: Catalog) -> str:
    """The report's first page."""
    return str(catalog.read("out/report/index.html").decode())


def test_the_command_that_retries_allows_nothing_that_its_run_did_not(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    rows = [
        {"id": "server", "content": "ftp://host/a.png", "style": "s.png"},
        {"id": "web", "content": "https://host/a.png", "style": "s.png"},
        {"id": "a", "content": "a.png", "style": "s.png"},
    ]
    catalog.manifest(rows)
    assert catalog.run() == 3
    (said,) = re.findall(r'<code id="retry">([^<]+)</code>', page_of(catalog))
    assert "--allow-schemes" not in said
    assert main(shlex.split(said)[1:]) == 3  # Status 2 would be a command that does nothing.
    # An earlier version's run does not tell what it allowed.
    for name in (name for name in catalog.names("out/runs") if name.endswith("/run.json")):
        told = json.loads(catalog.read(f"out/runs/{name}"))
        catalog.write(f"out/runs/{name}", json.dumps({**told, "schemes": None}).encode())
    assert main(["report", catalog.uri("out")]) == 0
    assert "--allow-schemes file,ftp,gs,https" in page_of(catalog)


def details_of(catalog: Catalog) -> list[dict[str, Any]]:
    """The details of every pair in the report."""
    folder = re.findall('data-folder="([^"]+)"', page_of(catalog))[0]
    script = catalog.read(f"out/report/{folder}/detail-00000.js").decode()
    return list(json.loads(script[script.index(",") + 1 : script.rindex(")")]))


def test_a_pair_that_is_done_is_so_beside_a_row_that_has_its_id(catalog: Catalog) -> None:
    catalog.pairs(("a.png", "b.png"))
    rows = [{"id": "same", "content": name, "style": "s.png"} for name in ("a.png", "b.png")]
    catalog.manifest(rows)
    assert catalog.run() == 3
    (pair,) = details_of(catalog)
    assert (pair["error"], pair["row"]["content"]) == (None, catalog.uri("a.png"))
    tiles = re.findall(r"<dd>(\d+)</dd>", page_of(catalog))
    assert tiles[:2] == ["1", "1"]  # Results, and failures.
    assert "duplicate_id" in page_of(catalog)
    # Where the pair fails itself, that is what is told of it.
    catalog.write("a.png", b"no picture")
    assert catalog.run() == 3
    (pair,) = details_of(catalog)
    assert "a.png" in pair["error"]


def test_one_pair_is_no_pairs() -> None:
    assert "(1 pair in 0.1 s)" in Made("O", 1, 0, 0.1).sentence
    assert "(2 pairs in 0.1 s) (1 record cannot be read)" in Made("O", 2, 1, 0.1).sentence


def test_settings_that_many_failures_share_become_cells_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (1, 2):
        folder, time = f"out/runs/{day}", f"2026-01-0{day}"
        about = {"manifest": f"/{day}.csv", "statuses": {"input_not_found": 9}}
        times = {"started_at": time, "finished_at": time}
        catalog.write(f"{folder}/summary.json", json.dumps({**about, **times}).encode())
        catalog.write(f"{folder}/config.yaml", f"steps: {day}".encode())
        row = {"content": "a.png", "style": "s.png", "status": "input_not_found"}
        rows = [{"id": f"{day}-{number}", **row} for number in range(8)]
        own = {"id": f"{day}-own", **row, "options.tv_weight": "2"}
        catalog.manifest([*rows, own], f"{folder}/failures.csv")
    made = []
    real = settings.option_cells

    def counted(changes: Mapping[str, Any]) -> dict[str, str]:
        made.append(changes)
        return real(changes)

    monkeypatch.setattr(settings, "option_cells", counted)
    found = {one.id: one.cells for one in failures_of(runs_of(catalog.uri("out")), "out")}
    assert len(found) == 18
    assert {found[f"1-{number}"]["options.steps"] for number in range(8)} == {"1"}
    assert {name: found["2-own"].get(f"options.{name}") for name in ("steps", "tv_weight")} == {
        "steps": "2",
        "tv_weight": "2.0",
    }
    assert len(made) == 4


def test_what_a_row_may_not_set_is_not_allowed_by_retrying_or_marking_it(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.manifest(
        [{"id": "greedy", "content": "a.png", "style": "s.png", "options.decode_seconds": 0}]
    )
    assert catalog.run("--allow-options", "steps,seed") == 3
    assert "--allow-options seed,steps" in capsys.readouterr().out
    assert main(["status", catalog.uri("out")]) == 3
    assert "--allow-options seed,steps" in capsys.readouterr().out
    assert "--allow-options seed,steps" in page_of(catalog)
    (failure,) = details_of(catalog)
    assert failure["row"]["id"] == "greedy"
    assert "options.decode_seconds" not in failure["row"]
