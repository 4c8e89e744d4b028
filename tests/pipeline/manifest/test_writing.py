"""Manifests written: failures that can be fed back, cross products."""

import csv
import io
import json
from pathlib import Path

import pytest

from nst_core.errors import ManifestInvalid
from nst_core.setting_text import parse_value
from pipeline.manifest.columns import ManifestError
from pipeline.manifest.rows import check_manifests, read_rows
from pipeline.manifest.writing import (
    cross_product,
    failure_fieldnames,
    write_csv,
    write_manifest,
)
from pipeline.pairs.parsing import parse_pair
from tests.pipeline.manifest.manifests import FORMATS, TRICKY, fed_back, read_pairs, write


def test_failures_fed_back_are_the_same_pairs(tmp_path: Path) -> None:
    lines = [
        json.dumps(
            {
                "content": "ü,\"'\n\r.png",
                "style": ["[x].png", {"uri": "y;\t.png", "weight": 0.1, "mask": "m,.png"}],
                "id": number,
                "options.optimizer": value,
                "options.unset": None,
                "note": "two\r\nlines",
                "status": "old",
                "error": "old",
            }
        )
        for number, value in enumerate(TRICKY)
    ]
    uri = write(tmp_path / "m.jsonl", "\n".join(lines))
    again = fed_back(uri, tmp_path)
    for row, other in zip(read_rows(uri), again, strict=True):
        before, after = parse_pair(row, uri), parse_pair(other, str(tmp_path / "elsewhere/f.csv"))
        assert json.dumps(before.options) == json.dumps(after.options)
        assert type(before.options.get("optimizer")) is type(after.options.get("optimizer"))
        assert (before.id, before.content, before.styles, before.columns) == (
            after.id,
            after.content,
            after.styles,
            after.columns,
        )


def test_a_relative_file_in_an_option_is_still_found_from_the_failures(tmp_path: Path) -> None:
    text = (
        "content,style,options.init,options.weights,options.keep\n"
        "a.png,b.png,start.png,procedural,face.png\n"
    )
    uri = write(tmp_path / "m.csv", text)
    (row,) = fed_back(uri, tmp_path)
    pair = parse_pair(row, str(tmp_path / "elsewhere/f.csv"))
    assert pair.options == {
        "init": str(tmp_path / "start.png"),
        "weights": "procedural",
        "keep": str(tmp_path / "face.png"),
    }


def test_option_values_written_as_they_are_mean_the_same() -> None:
    for value in TRICKY:
        if not isinstance(value, str):
            stream = io.BytesIO()
            write_csv([{"options.x": value}], ["id", "options.x"], stream)
            cell = next(csv.DictReader(io.StringIO(stream.getvalue().decode(), "")))["options.x"]
            assert parse_value(cell) == value
            assert type(parse_value(cell)) is type(value)


def test_failures_of_a_csv_keep_its_text(tmp_path: Path) -> None:
    text = (
        "id,content,style,options.steps,options.day,x\n"
        'a,c.png,s.png,1e2,2020-01-01,"[1, 2]"\n'
        'b,c.png,"[""s.png""]",,[1,2,3\n'
        ",c.png,,007,,\n"
    )
    uri = write(tmp_path / "m.csv", text)
    first, second, third = fed_back(uri, tmp_path)
    assert first.columns == {
        "id": "a",
        "content": f"{tmp_path}/c.png",
        "style": f"{tmp_path}/s.png",
        "options.steps": "1e2",
        "options.day": "2020-01-01",
        "x": "[1, 2]",
        "row": "",
        "status": "internal",
        "error": 'a "b",\nc\ufffd\\ud800',
    }
    assert second.columns["row"] == 'b,c.png,"[""s.png""]",,[1,2,3'
    assert third.columns["content"] == f"{tmp_path}/c.png"
    with pytest.raises(ManifestInvalid, match="no content"):
        parse_pair(second, uri)
    with pytest.raises(ManifestInvalid, match="no style"):
        parse_pair(third, uri)


def test_failures_of_rows_that_cannot_be_read_fail_again(tmp_path: Path) -> None:
    uri = write(tmp_path / "m.jsonl", b'{"content": "a"\n[1]\n\xff\0\n{"a": "\\ud800"}\n')
    for row in fed_back(uri, tmp_path):
        assert row.problem is None
        with pytest.raises(ManifestInvalid, match="no content"):
            parse_pair(row, uri)


def test_columns_of_failures_are_always_in_the_same_order() -> None:
    keys = ["z", "options.b", "status", "a", "style", "options.a", "error", "id", "content"]
    expected = ["id", "content", "style", "options.a", "options.b", "a", "z", "status", "error"]
    assert failure_fieldnames(keys) == expected
    assert failure_fieldnames(reversed(keys)) == expected
    assert failure_fieldnames([]) == ["id", "content", "style", "status", "error"]


@pytest.mark.parametrize("extension", FORMATS)
def test_a_cross_product_comes_back_whole(tmp_path: Path, extension: str) -> None:
    folder = tmp_path / "catalog"
    contents = [f"{folder}/c/a.png", f"{folder}/[b].png", f"{tmp_path}/out side,\n.png"]
    styles = [f"{folder}/s.png", "gs://bucket/s.png", f"{folder}/ü.png"]
    uri = str(folder / f"pairs{extension}")
    assert write_manifest(uri, cross_product(contents, styles)) == 9
    expected = [(content, style) for content in contents for style in styles]
    assert [(pair.content, pair.styles[0].uri) for pair in read_pairs(uri)] == expected
    data = Path(uri).read_bytes()
    write_manifest(uri, cross_product(contents, styles))
    assert Path(uri).read_bytes() == data


def test_a_manifest_can_move_with_its_images(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    uri = str(folder / "pairs.csv")
    outside = f"{tmp_path}/x.png"
    write_manifest(uri, cross_product([f"{folder}/c/a.png", outside], [f"{folder}/s.png"]))
    assert Path(uri).read_text() == f"content,style\nc/a.png,s.png\n{outside},s.png\n"
    moved = folder.rename(tmp_path / "moved")
    assert read_pairs(str(moved / "pairs.csv"))[0].content == f"{moved}/c/a.png"


def test_relative_names_are_those_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest("lists/pairs.csv", cross_product(["a.png"], ["lists/s.png"]))
    (pair,) = read_pairs("lists/pairs.csv")
    assert pair.content == f"{tmp_path}/a.png"
    assert pair.styles[0].uri == f"{tmp_path}/lists/s.png"
    assert "s.png\n" in Path("lists/pairs.csv").read_text()


def test_a_manifest_of_nothing_has_its_header(tmp_path: Path) -> None:
    for name in ("m.csv", "m.csv.gz", "m.parquet"):
        uri = str(tmp_path / name)
        assert write_manifest(uri, []) == 0
        check_manifests(uri)
        assert list(read_rows(uri)) == []


def test_a_name_that_is_not_utf8_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    rows = cross_product([f"{tmp_path}/a.png", f"{tmp_path}/\udcff.png"], ["/s.png"])
    with pytest.raises(ManifestError, match="not UTF-8"):
        write_manifest(str(tmp_path / "m.csv.gz"), rows)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ManifestError, match="extension"):
        write_manifest(str(tmp_path / "m.txt"), [])
