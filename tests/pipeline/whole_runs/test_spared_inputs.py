"""No file that a row reads is written over or removed, whatever it is called."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.config import StyleConfig
from pipeline.__main__ import main
from pipeline.job import planning
from pipeline.job.checking import RecordCheck
from pipeline.job.options import RunOptions
from pipeline.job.resolving import Families
from pipeline.manifest.columns import Row
from pipeline.records.output_files import Existing
from pipeline.records.tasks import Outcome

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

QUICK = ("--set", "steps=1")
INPUTS = ("a.png", "s.png", "m.png", "i.png", "k.png")


def plan(catalog: Catalog, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    """What `nst plan --json` says of the catalog."""
    capsys.readouterr()
    assert main(["plan", *catalog.arguments(*QUICK, *more, "--json")[1:]]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def bridge(catalog: Catalog, content: str = "out/images/bridge.jpg") -> None:
    """A catalog whose photograph lies where its result would be written."""
    catalog.picture("out/images/bridge.jpg")
    catalog.picture("other.jpg")
    catalog.picture("s.png")
    rows = [
        {"id": "bridge", "content": content, "style": "s.png"},
        {"id": "other", "content": "other.jpg", "style": "s.png"},
    ]
    catalog.manifest(rows)


def test_the_photographs_of_a_catalog_are_not_written_over(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    bridge(catalog)
    before = catalog.files()
    more = ("--set", "output_format=jpeg")
    assert catalog.run(*QUICK, *more) == 3
    assert plan(catalog, capsys, *more)["invalid"] == {"manifest_invalid": 1}
    assert catalog.statuses() == ["manifest_invalid", "ok"]
    (sentence,) = (failure["error"] for failure in catalog.failures())
    assert catalog.uri("out/images/bridge.jpg") in sentence
    assert "which it reads" in sentence
    after = catalog.files()
    assert all(after[name] == data for name, data in before.items())
    # Beside it, in another format, there is room.
    assert catalog.run(*QUICK) == 0
    assert catalog.read("out/images/bridge.jpg") == before["out/images/bridge.jpg"]


@pytest.mark.parametrize("link", ["file", "folder", "images"])
def test_an_input_is_found_by_its_links_too(catalog: Catalog, link: str) -> None:
    content = {"file": "link.jpg", "folder": "linked/bridge.jpg", "images": "photos/bridge.jpg"}
    bridge(catalog, content[link])
    if link == "file":
        os.symlink(catalog.uri("out/images/bridge.jpg"), catalog.uri("link.jpg"))
    elif link == "folder":
        os.symlink(catalog.uri("out/images"), catalog.uri("linked"))
    else:
        os.rename(catalog.uri("out/images"), catalog.uri("photos"))
        os.symlink(catalog.uri("photos"), catalog.uri("out/images"))
    before = catalog.read(content[link])
    assert catalog.run(*QUICK, "--set", "output_format=jpeg") == 3
    assert catalog.statuses() == ["manifest_invalid", "ok"]
    assert catalog.read(content[link]) == before


READ = [
    ("images/a.png", {"style": "{}"}),
    ("images/b.png", {"style": '[{{"uri": "s.png", "mask": "{}"}}]'}),
    ("images/c.png", {"options.init": "{}"}),
    ("images/d.png", {"options.keep": "{}"}),
    ("images/e.png", {"content": "{}"}),
    ("losses/f.csv", {"options.weights": "{}"}),
    ("snapshots/g/000001.png", {"content": "{}"}),
    ("animations/h.webp", {"content": "{}"}),
]


def test_of_any_row_and_any_kind(catalog: Catalog) -> None:
    catalog.picture("c.png")
    catalog.picture("s.png")
    rows = []
    for path, reader in READ:
        uri = catalog.uri(f"out/{path}")
        if path.endswith(".csv"):
            catalog.write(f"out/{path}", b"weights")
        else:
            catalog.picture(f"out/{path}")
        cells = {key: value.format(uri) for key, value in reader.items()}
        pair_id = path.split("/")[1].partition(".")[0]
        rows.append({"id": pair_id, "content": "c.png", "style": "s.png"})
        rows.append({"id": f"reads-{pair_id}", "content": "c.png", "style": "s.png", **cells})
    catalog.manifest(rows)
    before = catalog.files()
    assert catalog.run(*QUICK, "--set", "snapshot_every=1", "--set", "animation=webp") == 3
    assert catalog.statuses()[::2] == ["manifest_invalid"] * len(READ)
    for failure in catalog.failures():
        if not failure["id"].startswith("reads-"):
            assert f"which row {2 * 'abcdefgh'.index(failure['id']) + 2} reads" in failure["error"]
    assert all(catalog.read(name) == data for name, data in before.items())


def test_the_manifest_is_spared(catalog: Catalog) -> None:
    catalog.picture("out/losses/a.png")
    catalog.picture("out/losses/s.png")
    rows = [{"id": "a", "content": "a.png", "style": "s.png"}]
    manifest = catalog.manifest(rows, "out/losses/a.csv")
    kept = catalog.read("out/losses/a.csv")
    assert catalog.run(*QUICK, manifest="out/losses/a.csv") == 3
    assert f"write over {manifest}" in catalog.failures()[0]["error"]
    assert catalog.read("out/losses/a.csv") == kept


def test_results_of_an_earlier_run_can_be_read_once_they_are_done(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run(*QUICK) == 0
    again = {"id": "again", "content": "out/images/a.png", "style": "s.png"}
    catalog.manifest([{"id": "a", "content": "a.png", "style": "s.png"}, again])
    assert catalog.run(*QUICK) == 0
    assert catalog.statuses() == ["skipped", "ok"]
    # Another format would remove the image that is read.
    assert catalog.run(*QUICK, "--set", "output_format=webp") == 3
    assert catalog.statuses() == ["manifest_invalid", "ok"]
    assert catalog.names("out/images") == {"a.png", "again.webp"}


def test_an_image_in_another_format_replaces_the_old_one(catalog: Catalog) -> None:
    catalog.pairs()
    assert catalog.run(*QUICK) == 0
    # Of the same name, but no run has written it.
    catalog.picture("out/images/a.webp")
    assert catalog.run(*QUICK, "--set", "output_format=jpeg") == 0
    assert catalog.names("out/images") == {"a.jpg", "a.webp", "b.jpg"}
    assert {record["image"] for record in catalog.records().values()} == {
        catalog.uri("out/images/a.jpg"),
        catalog.uri("out/images/b.jpg"),
    }
    assert catalog.run(*QUICK, "--set", "output_format=jpeg") == 0
    assert catalog.statuses() == ["skipped", "skipped"]


def test_an_output_that_was_moved_keeps_no_old_image_either(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run(*QUICK) == 0
    os.rename(catalog.uri("out"), catalog.uri("was"))
    os.rename(catalog.uri("was"), catalog.uri("out"))
    (name,) = catalog.names("out/records")
    moved = json.loads(catalog.read(f"out/records/{name}"))
    moved["image"] = "gs://elsewhere/images/a.png"
    catalog.write(f"out/records/{name}", json.dumps(moved).encode())
    assert catalog.run(*QUICK, "--set", "output_format=tiff") == 0
    assert catalog.names("out/images") == {"a.tiff"}


IDS = [
    ("a", "a.png/b"),
    ("a.png/b", "a"),
    ("a", "a.csv/b"),
    ("a", "a.gif/b"),
    ("x/a", "x/a.png/b/c"),
    ("a", "a/000001.png/b"),
    ("a", "a/000001.png"),
    ("a.png/b", "a.png/b.png/c"),
]


def rows_of(*ids: str) -> list[dict[str, str]]:
    """Rows with these ids."""
    return [{"id": one, "content": "a.png", "style": "s.png"} for one in ids]


def resolved(files: dict[str, Existing], *ids: str) -> list[str]:
    """What becomes of tasks with these ids beside such files."""
    config = StyleConfig(weights="procedural", steps=1, snapshot_every=1, animation="gif")
    families = Families()
    for number, row in enumerate(rows_of(*ids)):
        options = RunOptions("/m.csv", "/out", config)
        found = planning.plan_row(Row(number, dict(row)), "/m.csv", options)
        families.add(row["id"], found)
    for name, file in files.items():
        families.add(name, file)
    rows = sorted(families.resolve("skip", RecordCheck("/out")), key=lambda row: row.number)
    return [row.status if isinstance(row, Outcome) else "todo" for row in rows]


@pytest.mark.parametrize("ids", IDS)
def test_the_later_of_two_ids_whose_files_would_meet_fails(ids: tuple[str, str]) -> None:
    assert resolved({}, *ids, "z") == ["todo", "duplicate_id", "todo"]
    assert resolved({}, *ids[::-1]) == ["todo", "duplicate_id"]
    # Against what is there already, without its row.
    existing = Existing("images", "png")
    if "0001" in ids[1]:
        existing = Existing("snapshots", "000001.png")
    elif "gif" in ids[1]:
        existing = Existing("animations", "gif")
    assert resolved({ids[0]: existing}, ids[1]) == ["duplicate_id"]
    assert resolved({ids[0]: existing}, "z", "b") == ["todo", "todo"]


def test_ids_whose_files_would_meet_are_found_out_when_planning(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png",))
    catalog.manifest(rows_of("a", "a.png/b"))
    assert catalog.run(*QUICK) == 3
    assert catalog.statuses() == ["ok", "duplicate_id"]
    assert plan(catalog, capsys)["invalid"] == {"duplicate_id": 1}
    (failure,) = catalog.failures()
    assert "row 1 with the id 'a'" in failure["error"]
    assert catalog.uri("out/images/a.png") in failure["error"]
    catalog.manifest(rows_of("a.png/b", "a"))
    assert catalog.run(*QUICK) == 3
    assert catalog.statuses() == ["duplicate_id", "skipped"]
    assert "'a', of an earlier run" in catalog.failures()[0]["error"]


def test_ids_that_only_look_so_are_done() -> None:
    ids = ("a", "a.png.b", "a.pngs/b", "a.webp/b", "b/00001.png/c", "b", "c.tiff/d", "c", "A")
    assert resolved({}, *ids) == ["todo"] * len(ids)


def test_where_the_disk_ignores_capitals_so_do_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.storage.local.ignores_case", lambda _: True)
    assert resolved({}, "Straße", "STRASSE", "a", "A.png/b") == [
        "todo",
        "duplicate_id",
        "todo",
        "duplicate_id",
    ]
    assert resolved({"A": Existing("images", "png")}, "a") == ["duplicate_id"]


@pytest.mark.parametrize(
    ("name", "link"),
    [
        *((name, "") for name in INPUTS),
        ("a.png", "./"),
        ("s.png", "symlink"),
        ("a.png", "hard link"),
    ],
)
def test_stylize_writes_over_no_input(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], name: str, link: str
) -> None:
    for one in INPUTS:
        catalog.picture(one)
    output = {"": catalog.uri(name), "./": catalog.uri(f"x/../{name}")}.get(link)
    if output is None:
        output = catalog.uri("out.png")
        make = os.symlink if link == "symlink" else os.link
        make(catalog.uri(name), output)
    else:
        os.mkdir(catalog.uri("x"))
    before = catalog.files()
    more = ("--style-mask", catalog.uri("m.png"))
    for key in ("init", "keep"):
        more += ("--set", f"{key}={catalog.uri(f'{key[0]}.png')}")
    pair = (catalog.uri("a.png"), catalog.uri("s.png"))
    assert main(["stylize", *pair, "-o", output, *catalog.small, *more]) == 2
    said = capsys.readouterr().err
    assert catalog.uri(name) in said
    assert "would be written over" in said
    assert catalog.files() == before


def test_stylize_writes_no_snapshot_over_an_input(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in ("x.snapshots/000005.png", "x.animation.webp", "s.png"):
        catalog.picture(one)
    before = catalog.files()
    more = (*catalog.small, "--set", "snapshot_every=1", "--set", "animation=webp")
    for content in ("x.snapshots/000005.png", "x.animation.webp"):
        pair = (catalog.uri(content), catalog.uri("s.png"))
        assert main(["stylize", *pair, "-o", catalog.uri("x.png"), *more]) == 2
        assert "would be written over" in capsys.readouterr().err
    assert catalog.files() == before
