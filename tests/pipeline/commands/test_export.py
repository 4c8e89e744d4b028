"""`nst export`: what other programs load is what the records, logs and images have."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
from typing import Any
from urllib.parse import unquote

import pandas
import pytest

from pipeline import storage
from pipeline.__main__ import main

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "output-0.1.0" / "out"
PAIRS = 11
# A process that is killed while it writes a file.
BEGIN = """
import os, signal
from pipeline import storage
with storage.open_writer({path!r}, "image/png") as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
# Columns that a manifest may have, and which other names some of them get.
COLUMNS = {"note": "=1+2", "total": "gross", "side_file_name": "x.jpg", "said": 'a "b",\nc'}


@pytest.fixture
def output(tmp_path: pathlib.Path) -> pathlib.Path:
    """An output of eleven results, of which one has columns of awkward names and values."""
    folder = tmp_path / "out"
    shutil.copytree(GOLDEN, folder)
    change(folder, "keep", {"columns": COLUMNS})
    return folder


def record_path(output: pathlib.Path, pair_id: str) -> pathlib.Path:
    """The one record of a pair."""
    (found,) = (output / "records").glob(f"{pair_id}.????????????????.json")
    return found


def change(output: pathlib.Path, pair_id: str, changes: dict[str, Any]) -> None:
    """Write other values into a record."""
    path = record_path(output, pair_id)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def records(output: pathlib.Path) -> dict[str, dict[str, Any]]:
    """All records by id."""
    found = [json.loads(path.read_text()) for path in (output / "records").rglob("*.json")]
    return {record["id"]: record for record in found}


def exported(output: pathlib.Path, target: pathlib.Path, *more: str) -> list[dict[str, str]]:
    """The rows of an export as CSV, which ends well."""
    assert main(["export", str(output), "--format", "csv", "-o", str(target), *more]) == 0
    return list(csv.DictReader(io.StringIO(target.read_text(), newline="")))


def ids(output: pathlib.Path, target: pathlib.Path, *more: str) -> list[str]:
    """The ids of an export as CSV, which ends well."""
    return [row["id"] for row in exported(output, target, *more)]


def samples_of(urls: list[str]) -> list[dict[str, Any]]:
    """What the library reads from shards, in a process of its own: it leaves files open."""
    code = (
        "import pickle, sys, webdataset; "
        "samples = list(webdataset.WebDataset(sys.argv[1:], shardshuffle=False)); "
        "sys.stdout.buffer.write(pickle.dumps(samples))"
    )
    command = [sys.executable, "-c", code, *urls]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    return list(pickle.loads(done.stdout))


def test_it_says_how_many_pairs_have_failed_and_where_the_reasons_are(
    output: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(output / "runs")
    told = {"state": "finished", "manifest": "/m.csv", "pairs": 9, "failed": 5, "left": 0}
    (output / "runs" / "one").mkdir(parents=True)
    (output / "runs" / "one" / "run.json").write_text(json.dumps(told))
    exported(output, tmp_path / "a.csv")
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert line == (
        f"5 pairs have failed and may be missing here: the last reasons are in {output}/runs/one/"
        f"failures.csv; nst status {output} says how to go on."
    )
    again = {**told, "manifest": f"{output}/runs/one/failures.csv", "done": 5, "failed": 0}
    (output / "runs" / "two").mkdir()
    (output / "runs" / "two" / "run.json").write_text(json.dumps(again))
    exported(output, tmp_path / "b.csv")
    assert "failed" not in capsys.readouterr().out


def test_a_table_has_what_the_records_have(
    output: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = exported(output, tmp_path / "new" / "all.csv")
    assert f"all.csv: {PAIRS} of {PAIRS} results\n" in capsys.readouterr().out
    found = records(output)
    assert [row["id"] for row in rows] == sorted(found)
    for row in rows:
        record = found[row["id"]]
        extension = record["image"].rpartition(".")[2]
        assert row["image"] == str(output / "images" / f"{row['id']}.{extension}")
        assert row["content"] == record["sources"]["content"]
        terms = record["terms"]["final"]
        for name, value in (
            ("total", terms["total"]),
            ("content_loss", terms["content"]),
            ("style_loss", terms["style"]),
            ("tv_loss", terms["tv"]),
            ("style_loss.block5_conv1", terms["style/block5_conv1"]),
            ("ssim", record["quality"]["ssim"]),
            ("gram_error.block1_conv1", record["quality"]["gram_errors"]["block1_conv1"]),
            ("seconds.optimize", record["seconds"]["optimize"]),
            ("width", record["width"]),
            ("options.image_size", record["config"]["image_size"]),
        ):
            assert float(row[name]) == value
        assert row["fingerprint"] == record["fingerprint"]
    by_id = {row["id"]: row for row in rows}
    assert by_id["shoes/red"]["sku"] == "A-17"
    assert json.loads(by_id["masks"]["style"]) == found["masks"]["sources"]["styles"]
    assert by_id["keep"]["options.keep"] == found["keep"]["config"]["keep"]
    assert by_id["plain"]["options.keep"] == ""


def test_no_value_is_altered_and_no_column_is_lost(
    output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    rows = exported(output, tmp_path / "all.csv")
    kept = next(row for row in rows if row["id"] == "keep")
    assert kept["note"] == "=1+2"
    assert kept["said"] == COLUMNS["said"]
    assert kept["side_file_name"] == "x.jpg"
    assert kept["columns.total"] == "gross"
    table = pandas.read_csv(tmp_path / "all.csv", index_col="id")
    assert table["total"].dtype == "float64"
    assert len(table) == PAIRS


def test_an_image_folder_is_whole_and_every_line_has_the_same_fields(
    output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    target = tmp_path / "folder"
    arguments = ["export", str(output), "--format=imagefolder", "-o", str(target)]
    assert main(arguments) == 0
    lines = [json.loads(line) for line in (target / "metadata.jsonl").read_text().splitlines()]
    assert len(lines) == PAIRS
    fields = list(lines[0])
    assert fields[:2] == ["file_name", "id"]
    for line in lines:
        assert list(line) == fields
        copied, original = target / line["file_name"], output / line["file_name"]
        assert copied.read_bytes() == original.read_bytes()
        assert not copied.samefile(original)
    for name in fields:
        kinds = {type(line[name]) for line in lines}
        assert kinds == {str} or kinds <= {int, float, type(None)}, name
    # Hugging Face's datasets take what ends with _file_name for images.
    assert [name for name in fields if name.endswith("file_name")] == ["file_name"]
    kept = next(line for line in lines if line["id"] == "keep")
    assert kept["side_filename"] == "x.jpg"
    assert {path.name for path in target.iterdir()} == {"images", "metadata.jsonl", "README.md"}


def test_an_image_folder_of_links_holds_the_same_files(
    output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    target = tmp_path / "folder"
    arguments = ["export", str(output), "--format=imagefolder", "--link", "-o", str(target)]
    assert main(arguments) == 0
    assert (target / "images/shoes/red.png").samefile(output / "images/shoes/red.png")
    assert len((target / "metadata.jsonl").read_text().splitlines()) == PAIRS


def test_where_a_disk_cannot_link_images_are_copied(
    output: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "folder"
    arguments = ["export", str(output), "--format=imagefolder", "--link", "-o", str(target)]
    assert main(arguments) == 0
    copied, original = (folder / "images/shoes/red.png" for folder in (target, output))
    assert copied.read_bytes() == original.read_bytes()
    assert not copied.samefile(original)


def test_shards_are_read_by_the_library_with_a_key_for_each_id(
    output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    path = record_path(output, "plain")
    for name in ("a.b", "a_b", "x.y/a.b.c"):
        for folder, ending in (("records", f"{path.suffixes[-2]}.json"), ("images", ".png")):
            target = output / folder / f"{name}{ending}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path if folder == "records" else output / "images/plain.png", target)
    target = tmp_path / "shards"
    arguments = ["export", str(output), "--format=webdataset", "-o", str(target)]
    assert main([*arguments, "--shard-pairs", "4"]) == 0
    index = json.loads((target / "index.json").read_text())
    assert [shard["nsamples"] for shard in index["shardlist"]] == [4, 4, 4, 2]
    assert index["samples"] == PAIRS + 3
    urls = [str(target / shard["url"]) for shard in index["shardlist"]]
    found = {unquote(sample["__key__"]): sample for sample in samples_of(urls)}
    assert len(found) == PAIRS + 3
    assert {"a.b", "a_b", "x.y/a.b.c", "写真一--s-1312a779"} & {*found} >= {
        "a.b",
        "a_b",
        "x.y/a.b.c",
    }
    for pair_id, sample in found.items():
        row = json.loads(sample["json"])
        assert row["id"] == pair_id
        (kind,) = {*sample} & {"png", "jpg"}
        assert sample[kind] == (output / "images" / f"{pair_id}.{kind}").read_bytes()


def test_ids_marks_and_worst_choose(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    everything = sorted(records(output))
    assert ids(output, tmp_path / "1.csv", "--ids", "plain", "shoes/*") == ["plain", "shoes/red"]
    marks = tmp_path / "marks.csv"
    lines = [f"{i},{m},c.png,s.png" for i, m in (("plain", "reject"), ("keep", " Keep"))]
    marks.write_text("\n".join(["id,mark,content,style", *lines, "weight,redo,c,s"]) + "\n")
    given = ["--marks", str(marks)]
    rest = [name for name in everything if name != "plain"]
    assert ids(output, tmp_path / "2.csv", *given) == rest
    assert ids(output, tmp_path / "3.csv", *given, "--marked", "keep", "redo") == ["keep", "weight"]
    assert ids(output, tmp_path / "4.csv", *given, "--marked", "keep", "--ids", "k*") == ["keep"]
    worst = max(records(output).values(), key=lambda r: sum(r["quality"]["gram_errors"].values()))
    for pair_id in everything:
        change(output, pair_id, {"sources": {"content": "c", "styles": [{"uri": pair_id}]}})
    found = ids(output, tmp_path / "5.csv", "--worst", "3")
    assert len(found) == 3
    assert found[0] == worst["id"]


def test_the_worst_are_those_far_from_others_of_their_style(
    output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    everything = sorted(records(output))
    like = json.loads(record_path(output, "plain").read_text())
    for pair_id in everything:
        same = {name: like[name] for name in ("config", "terms", "sources", "quality")}
        change(output, pair_id, same)
    change(output, "masks", {"quality": {**like["quality"], "ssim": 0.1}})
    assert ids(output, tmp_path / "worst.csv", "--worst", "1") == ["masks"]


@pytest.mark.parametrize(
    ("marks", "sentence"),
    [
        ("id,mark,content,style\nplain,reddo,c,s\n", "nearly redo"),
        ("id,mark,content,style\nplain,,c,s\n", "marks no pair"),
        ("mark,content,style\nkeep,c,s\n", "has no id"),
        ("id,mark\nplain,keep\n", "content"),
        ("id,mark,content,style\nplain,keep,c,s\n", "leave none"),
    ],
)
def test_marks_that_mean_nothing_are_one_sentence(
    marks: str,
    sentence: str,
    output: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "marks.csv").write_text(marks)
    given = ["--marks", str(tmp_path / "marks.csv"), "--marked", "redo"]
    target = tmp_path / "all.csv"
    assert main(["export", str(output), "--format=csv", "-o", str(target), *given]) == 2
    assert sentence in capsys.readouterr().err
    assert not target.exists()


def test_an_id_without_a_result_is_told_with_the_nearest(
    output: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "folder"
    arguments = ["export", str(output), "--format=imagefolder", "-o", str(target)]
    assert main([*arguments, "--ids", "plain", "shoes/rad"]) == 2
    assert '"shoes/rad" names no result' in (said := capsys.readouterr().err)
    assert "the nearest is shoes/red" in said
    assert not target.exists()


@pytest.mark.parametrize("kind", ["csv", "imagefolder", "webdataset"])
def test_results_whose_files_are_gone_are_left_out_and_told(
    kind: str, output: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (output / "images/plain.png").unlink()
    record_path(output, "weight").write_text('{"run": 1}')
    target = tmp_path / "new.csv"
    assert main(["export", str(output), f"--format={kind}", "-o", str(target)]) == 3
    said = capsys.readouterr().out
    assert f"{PAIRS - 2} of {PAIRS} results" in said
    assert "1 is left out (plain): the image or loss log is gone" in said
    assert "1 is left out (weight): the record, image or loss log is damaged" in said
    files = [path for path in tmp_path.rglob("*") if "new.csv" in str(path) and path.is_file()]
    assert not any(b"plain.png" in path.read_bytes() for path in files)
    assert not any("plain" in path.name for path in files)


def test_of_two_records_of_one_pair_the_later_is_exported(
    output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    path = record_path(output, "plain")
    record = json.loads(path.read_text())
    for mark, time in (("0" * 16, "2020-01-01T00:00:00+00:00"), ("f" * 16, "2030-01-01T00:00:00")):
        other = {**record, "finished_at": time}
        (output / f"records/plain.{mark}.json").write_text(json.dumps(other))
    rows = [row for row in exported(output, tmp_path / "all.csv") if row["id"] == "plain"]
    assert [row["fingerprint"] for row in rows] == ["f" * 16]


@pytest.mark.parametrize("kind", ["csv", "imagefolder", "webdataset"])
def test_an_interrupted_export_leaves_nothing_that_looks_whole(
    kind: str,
    output: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = storage.read_bytes

    def stop_at_weight(uri: str, **more: Any) -> bytes:
        if "records/weight" in uri:
            raise KeyboardInterrupt
        return read(uri, **more)

    monkeypatch.setattr(storage, "read_bytes", stop_at_weight)
    target = tmp_path / "new.csv"
    more = ["--shard-pairs", "3"] if kind == "webdataset" else []
    assert main(["export", str(output), f"--format={kind}", "-o", str(target), *more]) == 130
    assert "no whole export" in capsys.readouterr().err
    left = {path.name for path in target.rglob("*") if path.is_file()}
    assert not left & {"metadata.jsonl", "index.json"}
    if kind == "csv":
        assert not target.exists()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".nst")]
    if kind == "webdataset":  # Ten samples came before, of which three shards are whole.
        assert left == {"000000.tar", "000001.tar", "000002.tar"}


@pytest.mark.parametrize("kind", ["imagefolder", "webdataset"])
def test_what_a_killed_export_has_begun_goes_with_the_next(
    kind: str, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    target = tmp_path / "new"
    target.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = BEGIN.format(path=str(target / "a.png"))
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert [path.name.startswith(".nst-tmp-") for path in target.iterdir()] == [True]
    assert main(["export", str(output), "--format", kind, "-o", str(target)]) == 0
    assert not [path for path in target.rglob("*") if path.name.startswith(".nst-tmp-")]


def test_what_a_destination_holds_stays(
    output: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "folder"
    arguments = ["export", str(output), "--format=webdataset", "-o", str(target)]
    assert main(arguments) == 0
    before = {path: path.read_bytes() for path in target.iterdir()}
    capsys.readouterr()
    assert main(arguments) == 2
    assert "holds files already" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in target.iterdir()} == before


def test_equal_exports_are_equal_bytes(output: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("1", "2"):
        target = str(tmp_path / name)
        assert main(["export", str(output), "--format=webdataset", "-o", target]) == 0
    assert (tmp_path / "1/000000.tar").read_bytes() == (tmp_path / "2/000000.tar").read_bytes()


@pytest.mark.parametrize("kind", ["csv", "imagefolder", "webdataset"])
def test_neither_tensorflow_nor_beam_is_imported(
    kind: str, output: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    target = str(tmp_path / "new.csv")
    code = (
        "import sys; from pipeline.__main__ import main; "
        f"assert main(['export', {str(output)!r}, '--format={kind}', '-o', {target!r}]) == 0; "
        "slow = {'tensorflow', 'apache_beam', 'keras', 'google.cloud.storage'}; "
        "sys.exit(str(slow & {*sys.modules}) if slow & {*sys.modules} else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_from_one_bucket_folder_into_another(gcs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for path in GOLDEN.rglob("*.*"):
        name = path.relative_to(GOLDEN).as_posix()
        storage.write_bytes(gcs.uri(f"out/{name}"), path.read_bytes(), "application/octet-stream")
    storage.delete(gcs.uri("out/images/alpha.png"))
    for kind, target in (("imagefolder", "a"), ("webdataset", "b"), ("csv", "c.csv")):
        given = ["--format", kind, "-o", gcs.uri(target)]
        assert main(["export", gcs.uri("out"), *given]) == 3
        assert "(alpha)" in capsys.readouterr().out
        assert main(["export", gcs.uri("out"), *given]) == 2
        assert "already" in capsys.readouterr().err
    lines = storage.read_bytes(gcs.uri("a/metadata.jsonl")).decode().splitlines()
    found = [json.loads(line) for line in lines]
    assert [line["id"] for line in found] == sorted(line["id"] for line in found)
    assert len(found) == PAIRS - 1
    for line in found:
        copied = storage.read_bytes(gcs.uri(f"a/{line['file_name']}"))
        assert copied == storage.read_bytes(gcs.uri(f"out/{line['file_name']}"))
    assert json.loads(storage.read_bytes(gcs.uri("b/index.json")))["samples"] == PAIRS - 1
    table = storage.read_bytes(gcs.uri("c.csv")).decode()
    assert len(list(csv.DictReader(io.StringIO(table, newline="")))) == PAIRS - 1
