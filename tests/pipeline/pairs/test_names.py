"""Names: where ids may lead, which characters URIs may have, which schemes rows may name."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError
from nst_core.setting_text import URI_SETTINGS
from pipeline import cli, storage
from pipeline.__main__ import main
from pipeline.job import planning
from pipeline.job.options import RunOptions
from pipeline.manifest.columns import Row
from pipeline.pairs import schemes
from pipeline.records.tasks import Outcome, Task

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

CONFIG = StyleConfig(weights="procedural", image_size=64)
CLOUD = "gs://b/lists/pairs.jsonl"
# Pairs one by one: every batch runs the same compiled step.
QUICK = ("--set", "steps=1", "--batch-size=1")

# Ordinary characters, all of them: spaces, what URLs escape, other scripts, quotes, brackets.
SPECIAL = (
    "a b.png",
    "ü/日本 🎨.png",
    "100%.png",
    "%2e%2e%20b.png",
    "why?x=1&y=2#z.png",
    '[x]+semi;colon,"quoted".png',
)
ESCAPES = (
    "../out of it",
    "../x",
    "a/../../x",
    "/tmp/x",
    "a/./x",
    "..\\x",
    "C:\\x",
    "\uff0e\uff0e/x",
    "..\u2215x",
    "..%2fx",
    "%2e%2e/x",
    "a\u202ex",
    "a\nb",
    "a:b",
    "~/x",
    "x" * 256,
    "/".join(["x" * 150] * 4),
)


# Ids ----------------------------------------------------------------------------------------------


def test_no_id_leads_out_of_the_output(catalog: Catalog, no_network: None) -> None:
    del no_network
    for name in ("a.png", "s.png"):
        catalog.picture(name)
    rows = [{"id": name, "content": "a.png", "style": "s.png"} for name in (*ESCAPES, "a\0b")]
    catalog.manifest(rows, "pairs.jsonl")
    before = {*pathlib.Path(catalog.root).parent.rglob("*")}
    assert catalog.run("--no-report", manifest="pairs.jsonl") == 3
    assert catalog.statuses() == ["manifest_invalid"] * len(rows)
    for result in catalog.results():
        assert result["error"].endswith(".")
        assert "\n" not in result["error"]
    added = {*pathlib.Path(catalog.root).parent.rglob("*")} - before
    runs = pathlib.Path(catalog.uri("out/runs"))
    expected = {runs, runs.parent, runs.parent / "catalog.json"}
    assert {path for path in added if runs not in path.parents} == expected


def test_a_name_that_is_too_long_for_a_file_is_not_found_and_an_id_is_cut(
    catalog: Catalog, no_network: None
) -> None:
    del no_network
    catalog.picture("s.png")
    catalog.manifest([{"content": "x" * 300 + ".png", "style": "s.png"}])
    assert catalog.run() == 3
    assert catalog.statuses() == ["input_not_found"]
    assert len(catalog.results()[0]["id"]) < 150


# Characters ---------------------------------------------------------------------------------------


def special_rows(catalog: Catalog) -> list[dict[str, Any]]:
    """A pair for each special name, as content, as mask and start, by relative and full URIs."""
    for name in SPECIAL:
        catalog.picture(name)
    style = catalog.picture("sté le #%.png")
    rows: list[dict[str, Any]] = [
        {"id": f"{number}", "content": name, "style": "sté le #%.png"}
        for number, name in enumerate(SPECIAL)
    ]
    mask = [{"uri": style, "mask": SPECIAL[4]}]
    start = {"options.init": SPECIAL[3]}
    return [*rows, {"id": "all", "content": catalog.uri(SPECIAL[5]), "style": mask, **start}]


def check_special(catalog: Catalog, rows: list[dict[str, Any]]) -> None:
    assert catalog.statuses() == ["ok"] * len(rows)
    records = catalog.records()
    for number, name in enumerate(SPECIAL):
        record = records[str(number)]
        assert record["sources"]["content"] == catalog.uri(name)
        assert record["image"] == catalog.uri(f"out/images/{number}.png")
    assert records["all"]["config"]["init"] == catalog.uri(SPECIAL[3])
    assert records["all"]["sources"]["styles"][0]["mask"] == catalog.uri(SPECIAL[4])
    assert len(catalog.names("out/images")) == len(rows)


def test_special_characters_in_local_paths_work(catalog: Catalog) -> None:
    catalog.root += " ü #1 %20?"
    rows = special_rows(catalog)
    full = f"file://{catalog.uri(SPECIAL[3])}"
    rows.append({"id": "file", "content": full, "style": "sté le #%.png"})
    name = "pairs #1 ü?.csv"
    catalog.manifest(rows, name)
    assert catalog.run(*QUICK, manifest=name) == 0
    check_special(catalog, rows)


def test_special_characters_in_a_bucket_work(catalog: Catalog, gcs: EmulatedBucket) -> None:
    catalog.root = gcs.uri("cat ü #1 %20?")
    rows = special_rows(catalog)
    catalog.manifest(rows, "pairs #1 ü?.jsonl")
    assert catalog.run(*QUICK, manifest="pairs #1 ü?.jsonl") == 0
    check_special(catalog, rows)


def test_links_and_parent_folders_of_a_local_manifest_are_followed(
    catalog: Catalog, tmp_path: pathlib.Path
) -> None:
    catalog.picture("a.png")
    catalog.picture("s.png")
    (tmp_path / "catalog" / "lists").mkdir()
    (tmp_path / "catalog" / "lists" / "link.png").symlink_to(tmp_path / "catalog" / "a.png")
    row = {"id": "a", "content": "link.png", "style": "../lists/../s.png"}
    catalog.manifest([row], "lists/pairs.csv")
    assert catalog.run(*QUICK, manifest="lists/pairs.csv") == 0


# Schemes ------------------------------------------------------------------------------------------


def plan(columns: dict[str, Any], allowed: tuple[str, ...] = ("gs",)) -> Task | Outcome:
    row = Row(7, {"content": "a.png", "style": "s.png", "id": "a", **columns})
    return planning.plan_row(row, CLOUD, RunOptions(CLOUD, "/out", CONFIG, allow_schemes=allowed))


PLACES: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    ("content", lambda uri: {"content": uri}),
    ("style", lambda uri: {"style": uri}),
    ("style", lambda uri: {"style": json.dumps(["s.png", {"uri": uri, "weight": 2}])}),
    ("mask", lambda uri: {"style": [{"uri": "s.png", "mask": uri}]}),
    *((f"options.{key}", lambda uri, key=key: {f"options.{key}": uri}) for key in URI_SETTINGS),
]


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [
        ("/etc/x.png", "file"),
        ("file:///etc/x.png", "file"),
        ("FILE:///etc/x.png", "file"),
        ("s3://b/x.png", "s3"),
        ("http://169.254.169.254/x", "http"),
        ("https://host/x", "https"),
        ("ftp://host/x", None),
    ],
)
@pytest.mark.parametrize(("role", "place"), PLACES)
def test_a_row_may_not_name_a_file_of_another_scheme_anywhere(
    role: str,
    place: Callable[[str], dict[str, Any]],
    uri: str,
    scheme: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("read before it was checked")

    monkeypatch.setattr("pipeline.storage.filesystems._is_installed", lambda _: True)

    monkeypatch.setattr("pipeline.job.planning.weights_identity", refuse)
    outcome = plan(place(uri))
    assert isinstance(outcome, Outcome)
    assert outcome.status == ("options" if "." in role else "manifest") + "_invalid"
    assert outcome.id == "a"
    sentence = str(outcome.error)
    if scheme is None:
        assert sentence.startswith(f"{role}: {uri} is on a server from which nothing is read")
        return
    assert sentence.startswith(f"{role} is {storage.resolve(uri, CLOUD)}, of the scheme {scheme}, ")
    assert sentence.endswith(f"--allow-schemes {','.join(sorted(['gs', scheme]))}.")


@pytest.mark.parametrize(("role", "place"), PLACES)
def test_a_scheme_that_is_allowed_may_be_named_anywhere(
    role: str, place: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.job.planning.weights_identity", lambda _: "known")
    assert isinstance(plan(place("/etc/x.png"), ("file", "gs")), Task), role


@pytest.mark.parametrize(
    ("manifest", "output", "expected"),
    [
        ("/m.csv", "/out", ("file", "gs")),
        ("/m.csv", "gs://b/out", ("file", "gs")),
        ("gs://b/m.csv", "gs://b/out", ("gs",)),
        ("gs://b/m.csv", "/out", ("file", "gs")),
        ("s3://b/m.csv", "hdfs://out", ("gs", "hdfs", "s3")),
    ],
)
def test_by_default_rows_name_what_manifest_and_output_name_and_gs(
    manifest: str, output: str, expected: tuple[str, ...]
) -> None:
    assert RunOptions(manifest, output, CONFIG).schemes == expected
    assert RunOptions(manifest, output, CONFIG, allow_schemes=("s3",)).schemes == ("s3",)


def test_schemes_are_names_with_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.storage.filesystems._is_installed", lambda _: True)
    arguments = ["run", "--manifest=m.csv", "--output=o", "--weights=procedural"]
    given = cli.parse([*arguments, "--allow-schemes", "gs, S3,file,gs"])
    assert cli.run_options(given).schemes == ("file", "gs", "s3")
    assert cli.run_options(cli.parse(arguments)).schemes == ("file", "gs")
    for wrong in ("", "gs://", "gs,,s3", "gs;s3", "*"):
        with pytest.raises(ConfigError, match=r"^--allow-schemes is .* such as gs,s3,https,file"):
            schemes.parse_schemes(wrong)
        with pytest.raises(ConfigError):
            cli.run_options(cli.parse([*arguments, f"--allow-schemes={wrong}"]))


def test_a_manifest_in_a_bucket_reads_local_files_only_where_they_are_allowed(
    catalog: Catalog, gcs: EmulatedBucket, tmp_path: pathlib.Path, capsys: Any
) -> None:
    local = catalog.picture("private.png")
    catalog.root = gcs.uri("catalog")
    catalog.picture("a.png")
    rows = [
        {"id": "theirs", "content": "a.png", "style": "a.png"},
        {"id": "mine", "content": local, "style": "a.png", "options.init": ""},
        {"id": "start", "content": "a.png", "style": "a.png", "options.init": f"file://{local}"},
    ]
    catalog.manifest(rows)
    assert catalog.run(*QUICK) == 3
    assert catalog.statuses() == ["ok", "manifest_invalid", "options_invalid"]
    said = [row["error"] for row in catalog.failures()]
    assert sorted(said)[0].startswith(f"content is {local}, of the scheme file, ")
    assert sorted(said)[1].startswith(f"options.init is {local}, of the scheme file, ")
    (retry,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("Mend ")]
    assert "--allow-schemes" not in retry
    assert catalog.run(*QUICK, "--allow-schemes=gs,file") == 0
    assert catalog.statuses() == ["skipped", "ok", "ok"]
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["private.png"]


def test_the_command_that_retries_failures_allows_what_the_run_did(
    catalog: Catalog, gcs: EmulatedBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png", "b.png"))
    picture = pathlib.Path(catalog.uri("b.png"))
    data = picture.read_bytes()
    picture.write_bytes(b"")
    arguments = catalog.arguments(*QUICK)
    arguments[arguments.index("--output") + 1] = gcs.uri("out")
    assert main(arguments) == 3
    command = capsys.readouterr().out.partition("nst run ")[2].splitlines()[0].split()
    assert command[-2:] == ["--allow-schemes", "file,gs"]
    picture.write_bytes(data)
    assert main(["run", *command]) == 0
