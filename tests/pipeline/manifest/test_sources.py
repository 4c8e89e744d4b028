"""Rows without a manifest of their own: standard input, globs of pictures, folders of images."""

from __future__ import annotations

import gzip
import io
import json
import logging
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow
import pytest
from pyarrow import parquet

from pipeline import storage
from pipeline.__main__ import main
from tests.pipeline.conftest import SMALL

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

Sentence = Callable[[str], str]
ROWS = [{"content": "c/a.png", "style": "s/s.png"}, {"content": "c/b.png", "style": "s/s.png"}]
GLOBS = ("--contents", "c/*.png", "--styles", "s/*.png")
WAYS = pytest.mark.parametrize("beam", [(), ("--runner=FnApiRunner",)])


@pytest.fixture
def pictures(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Catalog:
    """A catalog with two contents and two styles, as the working directory."""
    for name in ("c/a.png", "c/b.png", "s/s.png", "s/t.png"):
        catalog.picture(name)
    catalog.write("c/notes.txt", b"no picture")
    monkeypatch.chdir(catalog.root)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return catalog


def run(catalog: Catalog, *given: str, output: str = "out", command: str = "run") -> int:
    """`nst run` or `plan` with these words in place of a manifest; its exit status."""
    before = catalog.names("out/runs")
    where = [command, *given, "--output", catalog.uri(output)]
    status = main([*where, *SMALL])
    if command == "run" and output == "out":
        catalog.note_run(before)
    return status


def piped(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let standard input be these bytes."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def table_of(kind: str) -> bytes:
    """ROWS in a format."""
    if kind == ".parquet":
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), sink)
        return bytes(sink.getvalue().to_pybytes())
    if kind.startswith(".jsonl"):
        text = "\n" + "".join(json.dumps(row) + "\n" for row in ROWS)
    else:
        text = "content,style\n" + "".join(",".join(row.values()) + "\n" for row in ROWS)
    data = text.encode("utf-16" if kind.endswith("16") else "utf-8")
    return gzip.compress(data, mtime=0) if ".gz" in kind else data


def run_json(catalog: Catalog) -> dict[str, Any]:
    """What the last run says of itself."""
    return dict(json.loads(catalog.read(f"{catalog.run_folder}/run.json")))


@pytest.mark.parametrize(
    "kind", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet", ".csv-16", ".jsonl-16"]
)
def test_standard_input_is_a_manifest_of_any_format_beside_the_current_folder(
    pictures: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, kind: str
) -> None:
    piped(table_of(kind), monkeypatch)
    assert run(pictures, "--manifest", "-") == 0
    assert [line["content"] for line in pictures.results()] == [
        pictures.uri("c/a.png"),
        pictures.uri("c/b.png"),
    ]
    told = run_json(pictures)["manifest"]
    kept = f"{pictures.run_folder}/manifest{kind.partition('-')[0]}"
    assert told["rows"] == pictures.uri(kept)
    assert pictures.read(kept) == table_of(kind)
    (file,) = told["files"]
    assert file["identity"] == storage.identity(pictures.uri(kept))
    assert told["uri"].startswith("standard input (sha256:")
    assert pictures.summary()["manifest"] == told["uri"]
    assert list((tmp_path / "tmp").iterdir()) == []
    # The same rows in a file beside the folder are the same pairs.
    pictures.write("m.csv", table_of(".csv"))
    assert pictures.run(manifest="m.csv") == 0
    assert pictures.statuses() == ["skipped"] * 2


@WAYS
def test_what_failed_of_standard_input_is_retried_by_the_words_of_the_run(
    pictures: Catalog, monkeypatch: pytest.MonkeyPatch, beam: tuple[str, ...]
) -> None:
    piped(b"Content,Style\nc/a.png,s/s.png\nc/gone.png,s/s.png\nc/b.png,\n", monkeypatch)
    assert run(pictures, "--manifest=-", *beam) == 3
    assert pictures.statuses() == ["ok", "input_not_found", "manifest_invalid"]
    assert {line["manifest"] for line in pictures.results()} == {
        pictures.uri(f"{pictures.run_folder}/manifest.csv")
    }
    failures = {row["content"] for row in pictures.failures()}
    assert failures == {pictures.uri("c/gone.png"), pictures.uri("c/b.png")}
    pictures.picture("c/gone.png")
    assert pictures.run(*beam, manifest=f"{pictures.run_folder}/failures.csv") == 3
    assert sorted(pictures.statuses()) == ["manifest_invalid", "ok"]


@pytest.mark.parametrize("word", [["--manifest", "-"], ["--manifest=-"]])
def test_a_run_of_standard_input_goes_on_by_the_command_that_status_tells(
    pictures: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: list[str],
) -> None:
    piped(table_of(".csv"), monkeypatch)
    assert run(pictures, *word, "--limit=1") == 0
    monkeypatch.chdir("/")
    capsys.readouterr()
    main(["status", pictures.uri("out"), "--json"])
    following = json.loads(capsys.readouterr().out)["next"]
    kept = pictures.uri(f"{pictures.run_folder}/manifest.csv")
    assert following.startswith(f"cd {shlex.quote(pictures.root)} && nst run --manifest")
    assert following.endswith(f" < {kept}")
    # A shell does what it says.
    script = following.replace("nst run", f"{sys.executable} -m pipeline run")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(pictures.records()) == 2
    main(["status", pictures.uri("out"), "--json"])
    assert json.loads(capsys.readouterr().out)["catalog"]["manifests"] == 1


def test_a_plan_reads_standard_input_and_leaves_nothing(
    pictures: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
) -> None:
    before = pictures.files()
    piped(table_of(".jsonl") + b'{"content": "c/a.png"}\n', monkeypatch)
    assert run(pictures, "--manifest", "-", "--json", command="plan") == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["to_do"], planned["invalid"]) == (2, {"manifest_invalid": 1})
    assert planned["manifest"].startswith("standard input (sha256:")
    assert planned["first_failures"][0]["manifest"] == planned["manifest"]
    assert pictures.files() == before
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "but not content and style"),
        (b"PAR1 and no more", "is damaged"),
        (gzip.compress(b"content,style\na,b\n", mtime=0)[:12], "is damaged"),
        (b"content,style\n\xfc\x81,b\n", "no byte 0x81"),
    ],
)
def test_standard_input_that_is_no_manifest_is_a_sentence(
    pictures: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Sentence,
    data: bytes,
    part: str,
) -> None:
    before = pictures.files()
    piped(data, monkeypatch)
    assert run(pictures, "--manifest", "-") == 2
    sentence = one_sentence(capsys.readouterr().err)
    assert part in sentence
    assert "standard input" in sentence
    assert pictures.files() == before


@pytest.mark.usefixtures("pictures")
def test_rows_from_here_reach_a_bucket(
    monkeypatch: pytest.MonkeyPatch, gcs: EmulatedBucket
) -> None:
    piped(table_of(".csv"), monkeypatch)
    output = gcs.uri("out")
    assert main(["run", "--manifest=-", "--output", output, *SMALL]) == 0
    (kept,) = (uri for uri in storage.list_uris(output) if uri.endswith("manifest.csv"))
    assert storage.read_bytes(kept) == table_of(".csv")
    told = json.loads(storage.read_bytes(kept.replace("manifest.csv", "run.json")))
    assert told["manifest"]["rows"] == kept
    assert told["manifest"]["files"][0]["identity"] == storage.identity(kept)


@WAYS
def test_every_content_with_every_style_needs_no_file_and_is_what_one_would_be(
    pictures: Catalog, beam: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert run(pictures, "--contents", "c/*", "--contents", "c/a.png", *GLOBS[2:], *beam) == 0
    said = [record.getMessage() for record in caplog.records]
    assert sum(text.startswith("Left out: 1 file is no JPEG") for text in said) == 1
    assert pictures.statuses() == ["ok"] * 4
    ids = [line["id"] for line in pictures.results()]
    assert all(name.startswith(("a--", "b--")) for name in ids)
    told = run_json(pictures)["manifest"]
    here = pictures.root
    assert told["uri"] == shlex.join(
        ["--contents", f"{here}/c/*", f"{here}/c/a.png", "--styles", f"{here}/s/*.png"]
    )
    assert told["rows"] == pictures.uri(f"{pictures.run_folder}/manifest.jsonl")
    # A file that nst manifest writes here has the same pairs, and so has the next run of it.
    assert main(["manifest", *GLOBS, "-o", "m.csv"]) == 0
    assert pictures.run(manifest="m.csv") == 0
    assert pictures.statuses() == ["skipped"] * 4
    assert [line["id"] for line in pictures.results()] == ids
    assert run(pictures, *GLOBS, *beam) == 0
    assert pictures.statuses() == ["skipped"] * 4


def test_ids_by_a_template_are_those_of_a_manifest_and_stay_in_the_command(
    pictures: Catalog,
) -> None:
    assert main(["manifest", *GLOBS, "--id={content}-{style}", "-o", "m.csv"]) == 0
    assert pictures.run(manifest="m.csv") == 0
    assert run(pictures, *GLOBS, "--id={content}-{style}", "--limit=1") == 0
    assert pictures.statuses() == ["skipped"] * 4
    assert {line["id"] for line in pictures.results()} == {"a-s", "a-t", "b-s", "b-t"}
    told = run_json(pictures)
    assert shlex.split(told["manifest"]["uri"])[-2:] == ["--id", "{content}-{style}"]
    assert "--id={content}-{style}" in shlex.split(told["command"])


def test_what_fails_of_a_cross_product_can_be_retried(pictures: Catalog) -> None:
    pictures.write("c/torn.png", b"\x89PNG\r\n\x1a\n")
    assert run(pictures, *GLOBS) == 3
    assert {row["content"] for row in pictures.failures()} == {pictures.uri("c/torn.png")}
    pictures.picture("c/torn.png")
    assert pictures.run(manifest=f"{pictures.run_folder}/failures.csv") == 0
    assert pictures.statuses() == ["ok"] * 2


def test_what_a_run_has_written_is_no_content(
    pictures: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(pictures, *GLOBS) == 0
    capsys.readouterr()
    words = ("--contents", "**/a*.png", *GLOBS[2:])
    assert run(pictures, *words, "--json", command="plan") == 0
    planned = capsys.readouterr()
    assert json.loads(planned.out)["done"] == 2
    assert "written by a run" in planned.err


def test_contents_in_a_bucket_have_absolute_names(pictures: Catalog, gcs: EmulatedBucket) -> None:
    storage.write_bytes(gcs.uri("in/a.png"), pictures.read("c/a.png"), "image/png")
    words = ("--contents", gcs.uri("in/*.png"), "--styles", "s/s.png")
    assert run(pictures, *words) == 0
    assert [line["content"] for line in pictures.results()] == [gcs.uri("in/a.png")]
    assert main(["manifest", *words, "-o", "m.csv"]) == 0
    assert pictures.run(manifest="m.csv") == 0
    assert pictures.statuses() == ["skipped"]


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ((), ("--manifest M", "--contents GLOB --styles GLOB")),
        (("--styles", "s/s.png"), ("--manifest M", "--contents GLOB")),
        (("--contents", "c/a.png"), ("--contents", "--styles")),
        (("--manifest=m.csv", *GLOBS), ("leave one of them out",)),
        ((*GLOBS, "--columns", "content=x"), ("--columns", "leave it out")),
        (("--manifest=m.csv", "--id={content}"), ("--id", "leave it out", "--columns id=NAME")),
        ((*GLOBS, "--id={content}"), ("of row 1 for row 2",)),
        ((*GLOBS, "--id={look}"), ("{look}", "names nothing")),
        (("--contents", "no/*", "--styles", "s/s.png"), ("no/*", "matches no file")),
        (("--contents", "c/notes.txt", "--styles", "s/s.png"), ("notes.txt", "no picture")),
        (("--manifest=m.csv", "--styles", "none"), ("none", "matches no file")),
    ],
)
def test_words_that_name_no_pairs_are_a_sentence(
    pictures: Catalog,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Sentence,
    command: str,
    given: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    before = pictures.files()
    assert run(pictures, *given, command=command) == 2
    sentence = one_sentence(capsys.readouterr().err)
    for part in parts:
        assert part in sentence
    assert pictures.files() == before


@WAYS
@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "metadata.parquet"])
def test_a_folder_of_images_is_a_manifest(
    pictures: Catalog, beam: tuple[str, ...], name: str
) -> None:
    rows = [
        {"file_name": "a.png", "style": "../s/s.png", "text": "a shoe"},
        {"file_name": "b.png", "style": "", "text": "a hat"},
    ]
    pictures.manifest(rows, f"c/{name}")
    assert run(pictures, "--manifest", "c/", "--styles", "s/t.png", *beam) == 0
    lines = pictures.results()
    assert [(line["content"], line["styles"][0]["uri"]) for line in lines] == [
        (pictures.uri("c/a.png"), pictures.uri("s/s.png")),
        (pictures.uri("c/b.png"), pictures.uri("s/t.png")),
    ]
    assert [line["columns"]["text"] for line in lines] == ["a shoe", "a hat"]
    told = run_json(pictures)["manifest"]
    assert told["uri"] == f"{pictures.uri('c')} --styles {pictures.uri('s/t.png')}"
    assert told["rows"] == pictures.uri("c")
    assert told["files"][0]["uri"] == pictures.uri(f"c/{name}")


@WAYS
def test_rows_times_styles_are_limited_and_gone_on_with(
    pictures: Catalog, beam: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    pictures.manifest([{"file_name": "a.png"}, {"file_name": "b.png"}], "c/metadata.jsonl")
    words = ("--manifest", "c", "--styles", "s/*.png", *beam)
    assert run(pictures, *words, "--limit=3") == 0
    assert pictures.statuses() == ["ok"] * 3 + ["postponed"]
    assert run(pictures, *words) == 0
    assert pictures.statuses() == ["skipped"] * 3 + ["ok"]
    assert [line["row"] for line in pictures.results()] == [1, 2, 3, 4]
    # Other styles are other pairs, and so another manifest of the catalog.
    capsys.readouterr()
    assert run(pictures, *words[:3], "s/s.png", *beam) == 0
    main(["status", pictures.uri("out"), "--json"])
    catalog = json.loads(capsys.readouterr().out.splitlines()[-1])["catalog"]
    assert catalog["manifests"] == 2


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_of_images_in_a_bucket_is_a_manifest(
    pictures: Catalog, gcs: EmulatedBucket, slash: str
) -> None:
    storage.write_bytes(gcs.uri("in/a.png"), pictures.read("c/a.png"), "image/png")
    line = b'{"file_name": "a.png", "style": "a.png"}\n'
    storage.write_bytes(gcs.uri("in/metadata.jsonl"), line, "application/json")
    assert run(pictures, "--manifest", gcs.uri("in") + slash) == 0
    assert [line["content"] for line in pictures.results()] == [gcs.uri("in/a.png")]


def test_a_folder_without_metadata_is_a_sentence(
    pictures: Catalog, capsys: pytest.CaptureFixture[str], one_sentence: Sentence
) -> None:
    assert run(pictures, "--manifest", "c") == 2
    sentence = one_sentence(capsys.readouterr().err)
    for part in (pictures.uri("c"), "metadata.jsonl", "--contents"):
        assert part in sentence


def test_an_exported_folder_is_a_manifest_of_the_same_pairs(pictures: Catalog) -> None:
    assert run(pictures, *GLOBS, "--set", "seed=3") == 0
    assert main(["export", "out", "--format", "imagefolder", "-o", "set"]) == 0
    assert run(pictures, "--manifest", "set", "--set", "seed=3") == 0
    assert pictures.statuses() == ["skipped"] * 4
    # The stylized images themselves, in another style.
    words = ("--manifest", "set", "--columns", "content=file_name", "--set", "seed=3")
    assert run(pictures, *words, output="again") == 0
    assert len(pictures.names("again/images")) == 4
