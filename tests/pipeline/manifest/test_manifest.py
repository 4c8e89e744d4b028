"""What a manifest promises, tested with real files of every format."""

import contextlib
import csv
import datetime
import decimal
import gzip
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from nst_core.config import parse_value
from nst_core.errors import JobError, ManifestInvalid, OptionsInvalid
from pipeline.manifest import (
    ManifestError,
    Pair,
    Row,
    StyleReference,
    check_header,
    cross_product,
    failure_fieldnames,
    parse_pair,
    portable_row,
    read_rows,
    write_failures,
    write_manifest,
)

FORMATS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".parquet")


def write(path: Path, data: str | bytes) -> str:
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def write_parquet(path: Path, columns: dict[str, Any]) -> str:
    parquet.write_table(pyarrow.table(columns), path)
    return str(path)


def write_any(path: Path, rows: list[dict[str, str]]) -> str:
    """The same rows in the format of the extension."""
    if ".parquet" in path.name:
        return write_parquet(path, {name: [row[name] for row in rows] for name in rows[0]})
    if ".csv" in path.name:
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return write(path, table.getvalue())
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_pairs(uri: str) -> list[Pair]:
    return [parse_pair(row, uri) for row in read_rows(uri)]


def pair_of(columns: dict[str, Any], uri: str = "/catalog/pairs.jsonl") -> Pair:
    return parse_pair(Row(7, {"content": "c.png", "style": "s.png", **columns}, None), uri)


def refusal(columns: dict[str, Any], uri: str = "/catalog/pairs.jsonl") -> str:
    with pytest.raises(ManifestInvalid) as caught:
        pair_of(columns, uri)
    sentence = str(caught.value)
    assert "ow 7 " in sentence
    assert sentence.endswith(".")
    return sentence


def problems(uri: str) -> list[str | None]:
    return [row.problem for row in read_rows(uri)]


# --- the formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_gives_the_same_pairs(tmp_path: Path, extension: str) -> None:
    rows = [
        {"id": "one", "content": "a.png", "style": "s/x.png", "artist": "Ōkyo, “M.”"},
        {"id": "", "content": "gs://b/ä b.png", "style": '["s/x.png","/y.png"]', "artist": "\n"},
    ]
    uri = write_any(tmp_path / f"pairs{extension}", rows)
    check_header(uri)
    assert [row.number for row in read_rows(uri)] == [1, 2]
    assert [row.columns for row in read_rows(uri)] == rows
    first, second = read_pairs(uri)
    assert (first.id, first.content) == ("one", f"{tmp_path}/a.png")
    assert first.styles == (StyleReference(f"{tmp_path}/s/x.png", 1.0),)
    assert first.columns == {"artist": "Ōkyo, “M.”"}
    assert second.content == "gs://b/ä b.png"
    assert [style.uri for style in second.styles] == [f"{tmp_path}/s/x.png", "/y.png"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n \n"])
def test_csv_as_any_spreadsheet_saves_it(
    tmp_path: Path, delimiter: str, ending: str, start: str
) -> None:
    lines = [
        delimiter.join(["content", "style", "note"]),
        delimiter.join(["a.png", "b.png", '"say ""hi"""']),
        "",
        delimiter.join(['"c,d;e\tf.png"', "b.png", '"two\r\nlines\rand\nmore"']),
    ]
    uri = write(tmp_path / "pairs.csv", start.replace("\n", ending) + ending.join(lines))
    assert list(read_rows(uri)) == [
        Row(1, {"content": "a.png", "style": "b.png", "note": 'say "hi"'}, None),
        Row(
            2,
            {"content": "c,d;e\tf.png", "style": "b.png", "note": "two\r\nlines\rand\nmore"},
            None,
        ),
    ]


def test_the_delimiter_is_found_when_names_contain_the_others(tmp_path: Path) -> None:
    uri = write(tmp_path / "pairs.csv", 'a,b,c;content;"d;\n,e";style\n1;2;3;4\n')
    (row,) = read_rows(uri)
    assert row.columns == {"a,b,c": "1", "content": "2", "d;\n,e": "3", "style": "4"}


def test_json_lines_may_have_a_mark_blank_lines_and_real_lists(tmp_path: Path) -> None:
    text = (
        '\ufeff{"content": "a.png", "style": ["x.png", {"uri": "y.png", "weight": 2}], "n": 3}\r\n'
        "\n   \n"
        '{"content": "a\u2028b.png", "style": "x.png"}'
    )
    uri = write(tmp_path / "pairs.jsonl", text)
    first, second = read_pairs(uri)
    assert first.styles == (
        StyleReference(f"{tmp_path}/x.png", 1.0),
        StyleReference(f"{tmp_path}/y.png", 2.0),
    )
    assert first.columns == {"n": 3}
    assert second.content == f"{tmp_path}/a\u2028b.png"


def test_parquet_lists_of_text_and_of_structs(tmp_path: Path) -> None:
    structs = pyarrow.list_(
        pyarrow.struct([("uri", pyarrow.string()), ("weight", pyarrow.float64())])
    )
    styles = [[{"uri": "x.png", "weight": 0.5}, {"uri": "y.png", "weight": None}]]
    columns = {"content": ["a.png"], "style": pyarrow.array(styles, structs)}
    (pair,) = read_pairs(write_parquet(tmp_path / "structs.parquet", columns))
    assert [style.weight for style in pair.styles] == [0.5, 1.0]
    (pair,) = read_pairs(
        write_parquet(tmp_path / "t.parquet", {"content": ["a.png"], "style": [["x.png", "y.png"]]})
    )
    assert [style.uri for style in pair.styles] == [f"{tmp_path}/x.png", f"{tmp_path}/y.png"]


def test_what_json_cannot_hold_travels_as_text(tmp_path: Path) -> None:
    columns = {
        "content": ["a.png"],
        "style": ["b.png"],
        "id": [42],
        "options.scales": [[0.5, 1.0]],
        "day": [datetime.date(2024, 2, 29)],
        "moment": pyarrow.array([1_700_000_000_000_000_001], pyarrow.timestamp("ns")),
        "price": [decimal.Decimal("1.50")],
        "raw": [b"\xffabc"],
        "ratio": [float("nan")],
        "tags": [[{"k": datetime.time(1, 2)}]],
    }
    (pair,) = read_pairs(write_parquet(tmp_path / "pairs.parquet", columns))
    assert pair.id == "42"
    assert pair.options == {"scales": [0.5, 1.0]}
    assert pair.columns == {
        "day": "2024-02-29",
        "moment": "2023-11-14 22:13:20.000000001",
        "price": "1.50",
        "raw": "\\xffabc",
        "ratio": "nan",
        "tags": [{"k": "01:02:00"}],
    }
    json.dumps([pair.row, pair.columns], allow_nan=False)


# --- files that are no manifest -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("m.csv", b"", "empty"),
        ("m.csv", b"\xef\xbb\xbf\r\n \n", "empty"),
        ("m.csv.gz", b"", "empty"),
        ("m.csv", b"content,styles\na,b\n", "but not style;"),
        ("m.csv", b"a.png,b.png\n", "but not content and style;"),
        ("m.csv", b"Content,Style\n", "but not content and style;"),
        ("m.csv", b"content,style,x,x\n", '"x" twice'),
        ("m.csv", b"content,style,\xff\n", "not UTF-8"),
        ("m.csv", b"content,st\0yle\n", "NUL"),
        ("m.csv", b'"content,style\na,b\n', "cannot be read"),
        ("m.parquet", b"", "damaged"),
        ("m.parquet", b"PAR1 but no more than that PAR1", "damaged"),
        ("m.txt", b"content,style\n", "extension"),
        ("m", b"content,style\n", "extension"),
        ("m.parquet.gz", b"", "extension"),
        ("m.csv.bz2", b"", "extension"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused_in_one_sentence(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    uri = write(tmp_path / name, data)
    with pytest.raises(ManifestError, match=reason) as caught:
        check_header(uri)
    assert uri in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    with pytest.raises(ManifestError, match=reason):
        list(read_rows(uri))


def test_a_manifest_that_is_not_there_stops_the_job(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "none.jsonl.gz", "none.parquet", "no/folder.csv", "folder.csv"):
        with pytest.raises(JobError, match="cannot be read: ") as caught:
            check_header(str(tmp_path / name))
        assert isinstance(caught.value, ManifestError)


def test_a_header_alone_is_a_manifest_of_nothing(tmp_path: Path) -> None:
    for name, data in (("m.csv", "content,style"), ("m.jsonl", ""), ("m.jsonl", "\n\n")):
        uri = write(tmp_path / name, data)
        check_header(uri)
        assert list(read_rows(uri)) == []
    empty = pyarrow.array([], pyarrow.string())
    uri = write_parquet(tmp_path / "m.parquet", {"content": empty, "style": empty})
    check_header(uri)
    assert list(read_rows(uri)) == []


def test_parquet_without_the_columns_is_refused(tmp_path: Path) -> None:
    uri = write_parquet(tmp_path / "m.parquet", {"content": ["a"], "image": ["b"]})
    with pytest.raises(ManifestError, match="but not style;"):
        check_header(uri)
    table = pyarrow.table([["a"], ["b"], ["c"]], names=["content", "style", "style"])
    parquet.write_table(table, uri)
    with pytest.raises(ManifestError, match='"style" twice'):
        check_header(uri)


def test_a_damaged_gzip_is_found_at_the_start_and_in_the_middle(tmp_path: Path) -> None:
    uri = str(tmp_path / "m.csv.gz")
    Path(uri).write_bytes(b"content,style\na,b\n")
    with pytest.raises(ManifestError, match="damaged"):
        check_header(uri)
    rows = "".join(f"{os.urandom(20).hex()},style\n" for _ in range(5000))
    whole = gzip.compress(b"content,style\n" + rows.encode())
    Path(uri).write_bytes(whole[: len(whole) // 2])
    check_header(uri)
    rows_read: list[Row] = []
    with pytest.raises(ManifestError, match="cut off after row") as caught:
        rows_read.extend(read_rows(uri))
    assert len(rows_read) > 1000
    assert f"after row {len(rows_read)} " in str(caught.value)
    flipped = bytearray(whole)
    flipped[-6] ^= 255
    Path(uri).write_bytes(flipped)
    with pytest.raises(ManifestError, match="after row 5000 "):
        list(read_rows(uri))


def test_a_damaged_row_group_is_found_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    names = [os.urandom(20).hex() for _ in range(4000)]
    table = pyarrow.table({"content": names, "style": names})
    parquet.write_table(
        table,
        path,
        row_group_size=2000,
        use_dictionary=False,
        compression="none",
        write_page_checksum=True,
    )
    damaged = bytearray(path.read_bytes())
    place = damaged.index(names[3000][:16].encode())
    damaged[place : place + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    check_header(str(path))
    rows_read: list[Row] = []
    with pytest.raises(ManifestError, match=r"after row \d+ .*checksum") as caught:
        rows_read.extend(read_rows(str(path)))
    assert 0 < len(rows_read) <= 2000
    assert f"after row {len(rows_read)} " in str(caught.value)


# --- rows that are no rows ----------------------------------------------------------------------


def test_bad_csv_rows_do_not_stop_the_rows_after_them(tmp_path: Path) -> None:
    data = (
        b"content,style,note\n"
        b"a.png,b.png,good\n"
        b"a.png,b.png,,,too many\n"
        b"a.png,b.png,one,too many\n"
        b"caf\xe9.png,b.png,Latin-1\n"
        b"nul\0.png,b.png,x\n"
        b'"quoted"twice,b.png,x\n'
        b"a.png,b.png,good\n"
        b'a.png,"never closed,x\n'
        b"a.png,b.png,good\n"
        b'a.png,b.png,"good"\n'
        b'a.png,b.png,"never closed either\n'
        b"a.png,b.png,good\n"
    )
    rows = list(read_rows(write(tmp_path / "m.csv", data)))
    assert [row.number for row in rows] == list(range(1, 13))
    expected = [
        None,
        "has 5 fields where the header has 3",
        "has 4 fields",
        "not UTF-8",
        "NUL",
        "not CSV",
        None,
        "not CSV",
        None,
        None,
        "not CSV",
        None,
    ]
    for row, reason in zip(rows, expected, strict=True):
        if reason is None:
            assert row.columns == {"content": "a.png", "style": "b.png", "note": "good"}
            assert row.problem is None
        else:
            assert row.problem is not None
            assert reason in row.problem
    assert rows[3].columns == {"row": "caf\ufffd.png,b.png,Latin-1"}
    assert rows[7].columns == {"row": 'a.png,"never closed,x'}
    with pytest.raises(ManifestInvalid, match=r"^Row 2 has 5 fields .*\.$"):
        parse_pair(rows[1], "/m.csv")


def test_an_endless_row_is_one_bad_row_and_little_memory(tmp_path: Path) -> None:
    for name, head, row in (
        ("m.csv", "content,style\n", "{},b.png\n"),
        ("m.jsonl", "", '{{"content": "{}", "style": "b.png"}}\n'),
    ):
        text = head + row.format("a.png") + row.format("x" * 8_000_000) + row.format("a.png")
        uri = write(tmp_path / name, text)
        tracemalloc.start()
        rows = list(read_rows(uri))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [row.problem is None for row in rows] == [True, False, True]
        assert "longer than" in str(rows[1].problem)
        assert len(rows[1].columns["row"]) <= 1000
        assert peak < 6_000_000


def test_a_long_field_is_read_whole(tmp_path: Path) -> None:
    uri = write(tmp_path / "m.csv", f"content,style,note\na,b,{'x' * 900_000}\n")
    (row,) = read_rows(uri)
    assert len(row.columns["note"]) == 900_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"content,style", "not JSON"),
        (b'{"content": "a"', "not JSON"),
        (b'["a", "b"]', "no object"),
        (b'"a"', "no object"),
        (b"null", "no object"),
        (b'{"content": "a", "content": "b"}', 'the key "content" twice'),
        (b'{"x": {"y": 1, "y": 1}}', 'the key "y" twice'),
        (b'{"x": NaN}', "holds NaN"),
        (b'{"x": -Infinity}', "holds -Infinity"),
        (b'{"x": 1e999}', "holds 1e999"),
        (b'{"x": ' + b"1" * 5000 + b"}", "a number of 5000 digits"),
        (b'{"x": "\xff"}', "not UTF-8"),
        (b'{"x": "\\ud800"}', "not UTF-8"),
        (b'{"x": "\\u0000"}', "NUL"),
        (b'{"x": "\0"}', "NUL"),
        (b'{"x": ' + b"[" * 200 + b"]" * 200 + b"}", "nested"),
        (b'{"x": ' + b"[" * 100_000, "nested"),
    ],
)
def test_bad_json_lines_do_not_stop_the_lines_after_them(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    good = b'{"content": "a", "style": "b"}\n'
    uri = write(tmp_path / "m.jsonl", good + line + b"\n" + good)
    first, bad, last = read_rows(uri)
    assert (first.problem, last.problem, last.number) == (None, None, 3)
    assert reason in str(bad.problem)
    assert bad.columns == {"row": line.decode("utf-8", "replace")[:1000]}
    with pytest.raises(ManifestInvalid, match=r"^Row 2 .*\.$"):
        parse_pair(bad, uri)


def test_a_cell_of_parquet_that_is_no_text_spoils_only_its_row(tmp_path: Path) -> None:
    broken = pyarrow.array([b"a.png", b"\xff.png", b"a\0.png", b"a.png"], pyarrow.binary())
    text = pyarrow.Array.from_buffers(pyarrow.string(), 4, broken.buffers())
    uri = write_parquet(tmp_path / "m.parquet", {"content": text, "style": ["b.png"] * 4})
    rows = list(read_rows(uri))
    assert [row.problem is None for row in rows] == [True, False, False, True]
    assert "not UTF-8" in str(rows[1].problem)
    assert "NUL" in str(rows[2].problem)
    assert rows[1].columns == {"row": '{"style": "b.png"}'}


# --- pairs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["content", "style"])
@pytest.mark.parametrize("value", [None, "", "  ", 3, True, 1.5, {"uri": "a.png"}, b"a.png"])
def test_content_and_style_are_text(role: str, value: Any) -> None:
    assert role in refusal({role: value})


def test_content_is_not_a_list() -> None:
    assert "content" in refusal({"content": ["a.png"]})
    with pytest.raises(ManifestInvalid, match=r"^Row 1 has no style; "):
        parse_pair(Row(1, {"content": "a.png"}, None), "/m.jsonl")


@pytest.mark.parametrize(
    ("style", "reason"),
    [
        ([], "empty list"),
        ("[]", "empty list"),
        ("[a.png]", "not JSON"),
        ('["a.png"', "not JSON"),
        ('["a.png"] x', "not JSON"),
        ('["a\\u0000.png"]', "NUL"),
        ([""], "no style"),
        ([None], "no style"),
        ([7], "7 as style"),
        ([["a.png"]], "as style"),
        ([{"weight": 1}], "no style"),
        ([{"uri": 3}], "3 as style"),
        ([{"uri": "a.png", "wieght": 2}], '"wieght"'),
        ([{"uri": "a.png", "mask": 3}], "3 as mask"),
        ([{"uri": "a.png", "mask": ""}], "no mask"),
        ([{"uri": "a.png", "weight": 0}], "weight 0"),
        ([{"uri": "a.png", "weight": -1}], "weight -1"),
        ([{"uri": "a.png", "weight": "2"}], 'weight "2"'),
        ([{"uri": "a.png", "weight": True}], "weight true"),
        ([{"uri": "a.png", "weight": float("nan")}], "weight"),
        ([{"uri": "a.png", "weight": float("inf")}], "weight"),
        ([{"uri": "a.png", "weight": 10**400}], "weight"),
        ('[{"uri": "a.png", "weight": NaN}]', "NaN"),
        ('[{"uri": "a.png", "weight": 1e999}]', "1e999"),
    ],
)
def test_a_style_list_that_is_wrong_is_refused(style: Any, reason: str) -> None:
    assert reason in refusal({"style": style})


def test_uris_and_weights_may_be_mixed_and_are_relative_to_the_manifest() -> None:
    style = '["../s/x.png", {"uri": "gs://b/y.png", "weight": 3}, {"uri": "/z.png"}]'
    for value in (style, json.loads(style)):
        assert pair_of({"style": value}, "/catalog/lists/pairs.jsonl").styles == (
            StyleReference("/catalog/s/x.png", 1.0),
            StyleReference("gs://b/y.png", 3.0),
            StyleReference("/z.png", 1.0),
        )
    masked = [{"uri": "x.png", "mask": "../m.png"}, {"uri": "y.png", "mask": None, "weight": 2}]
    assert pair_of({"style": masked}, "/catalog/lists/pairs.jsonl").styles == (
        StyleReference("/catalog/lists/x.png", 1.0, "/catalog/m.png"),
        StyleReference("/catalog/lists/y.png", 2.0),
    )
    assert pair_of({"content": "c/ü #1%.png"}, "gs://b/d/m.csv").content == "gs://b/d/c/ü #1%.png"


@pytest.mark.parametrize(
    "name",
    ["a", "A-1_b.c", "a/b/c", "0", "-", "_", "a..b", "x" * 150, "/".join(["x" * 127] * 4)],
)
def test_ids_that_can_name_files_are_kept(name: str) -> None:
    assert pair_of({"id": name}).id == name


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../b",
        "/abs",
        "a//b",
        "a/",
        ".hidden",
        "a/.b",
        ".",
        "..",
        " a",
        "a ",
        "a /b",
        "a\n",
        "a\u00a0b",
        "a\\b",
        "a:b",
        "x" * 151,
        "/".join(["x" * 128] * 4),
        1.5,
        True,
        ["a"],
        {"a": 1},
    ],
)
def test_ids_that_cannot_name_files_are_refused(name: Any) -> None:
    assert "the id " in refusal({"id": name})


def test_whole_numbers_are_ids_and_blank_ones_are_none() -> None:
    assert pair_of({"id": 42}).id == "42"
    default = pair_of({}).id
    for blank in (None, "", "  "):
        assert pair_of({"id": blank}).id == default


def test_default_ids_are_stable_and_differ_with_every_source() -> None:
    assert pair_of({}).id == "c--s-3efc8ab2"
    variants: list[dict[str, Any]] = [
        {},
        {"content": "other/c.png"},
        {"content": "c.jpg"},
        {"style": "other/s.png"},
        {"style": ["s.png", "s.png"]},
        {"style": ["s.png", "t.png"]},
        {"style": ["t.png", "s.png"]},
        {"style": [{"uri": "s.png", "weight": 2}]},
        {"style": [{"uri": "s.png", "mask": "m.png"}]},
        {"style": [{"uri": "s.png", "weight": 2}, "t.png"]},
        {"style": ["s.png", {"uri": "t.png", "weight": 2}]},
    ]
    ids = [pair_of(variant).id for variant in variants]
    assert len(set(ids)) == len(ids)
    assert pair_of({"style": ["s.png", "t.png"]}).id.startswith("c--s-and-t-")
    same = pair_of({"style": [{"uri": "/catalog/s.png", "weight": 1}], "content": "./c.png"})
    assert same.id == pair_of({}).id


@pytest.mark.parametrize(
    "content", ["日本 語.png", ".hidden.png", "...", "x" * 300, "a/..b", "gs://b/", "ü/é?.png"]
)
def test_default_ids_are_ids(content: str) -> None:
    made = pair_of({"content": content, "style": [content] * 9}).id
    assert pair_of({"id": made}).id == made


def test_options_of_a_csv_are_yaml_and_an_empty_cell_is_no_option(tmp_path: Path) -> None:
    header = "content,style,options.steps,options.scales,options.init,options.image_size"
    row = 'a.png,b.png,1e2,"[0.5, 1]",adam,null'
    uri = write(tmp_path / "m.csv", f"{header}\n{row}\na.png,b.png,, ,,\n")
    first, second = read_pairs(uri)
    assert first.options == {"steps": 100.0, "scales": [0.5, 1], "init": "adam", "image_size": None}
    assert first.columns == {}
    assert second.options == {}


def test_options_of_json_are_taken_as_they_are_and_null_is_no_option() -> None:
    options = {"options.init": "true", "options.steps": [1, 2], "options.seed": None}
    pair = pair_of({**options, "options.bogus": 1, "options": {"seed": 1}, "note": None})
    assert pair.options == {"init": "true", "steps": [1, 2], "bogus": 1}
    assert pair.columns == {"options": {"seed": 1}, "note": None}


@pytest.mark.parametrize("text", ["[1,", "{a: b", "2020-13-45", "!!bool x", "[" * 5000, "\x7f"])
def test_an_option_that_is_no_yaml_is_this_rows_trouble(text: str) -> None:
    with pytest.raises(OptionsInvalid, match=r"(?s)^In options\.steps of row 7, .*\.$"):
        pair_of({"options.steps": text}, "/m.csv")


# --- failures.csv -------------------------------------------------------------------------------


def fed_back(uri: str, folder: Path) -> list[Row]:
    """The rows of `uri`, written as failures elsewhere and read again."""
    rows = [
        {**portable_row(row, uri), "status": "internal", "error": 'a "b",\nc\0\ud800'}
        for row in read_rows(uri)
    ]
    names = failure_fieldnames({key for row in rows for key in row})
    failures = folder / "elsewhere" / "failures.csv"
    failures.parent.mkdir()
    with failures.open("wb") as stream:
        write_failures(rows, names, stream)
    assert failures.read_bytes().startswith((",".join(names) + "\n").encode())
    return list(read_rows(str(failures)))


TRICKY: list[Any] = [
    *("true", "no", "null", "~", "", " x ", "[a", "[a]", "{a: 1}", "a: b", "a #1.png", "'", '"'),
    *("# x", "- a", "!a", "&a", "*a", "%a", "@a", "a\nb", "a\r\nb", "\r", "\t", "2020-01-01"),
    *(
        "12:30",
        "=",
        "<<",
        "é日🎨",
        "a\x85b\u2028c\x7f\ufeff",
        "C:\\x",
        "gs://b/x y.png",
        "---",
        "?",
    ),
    *(0, -3, 10**30, 0.1, 1e-05, 1e16, 1e22, -2.5e-300, 5.0, True, False),
    *([], {}, [1, [2, "3"]], [1e-05, 1e16, "1e-05"], {"block1_conv1": 1e-05, "a: b": [None, "no"]}),
    {"🎨\u2028": "\x85", "": ""},
]


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
        assert type(before.options["optimizer"]) is type(after.options["optimizer"])
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
            write_failures([{"options.x": value}], ["id", "options.x"], stream)
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


# --- nst manifest -------------------------------------------------------------------------------


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
        check_header(uri)
        assert list(read_rows(uri)) == []


def test_a_name_that_is_not_utf8_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    rows = cross_product([f"{tmp_path}/a.png", f"{tmp_path}/\udcff.png"], ["/s.png"])
    with pytest.raises(ManifestError, match="not UTF-8"):
        write_manifest(str(tmp_path / "m.csv.gz"), rows)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ManifestError, match="extension"):
        write_manifest(str(tmp_path / "m.txt"), [])


# --- as a whole ---------------------------------------------------------------------------------


@contextlib.contextmanager
def traced() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_manifest_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    uri = str(tmp_path / "m.csv.gz")
    count = 40_000
    with gzip.open(uri, "wt", compresslevel=1) as stream:
        stream.write("content,style,note\n")
        stream.writelines(
            f"gs://bucket/contents/{number}.png,s.png,{'x' * 100}\n" for number in range(count)
        )
    with traced() as peak:
        assert sum(row.problem is None for row in read_rows(uri)) == count
        assert peak() < 1_000_000


def test_parquet_is_read_batch_by_batch(tmp_path: Path) -> None:
    uri = str(tmp_path / "m.parquet")
    count = 20_000
    names = [f"gs://bucket/contents/{number:0200d}.png" for number in range(count)]
    write_parquet(tmp_path / "m.parquet", {"content": names, "style": names})
    with traced() as peak:
        assert sum(row.problem is None for row in read_rows(uri)) == count
        assert peak() < 4_000_000


def test_reading_a_csv_loads_no_heavy_library(tmp_path: Path) -> None:
    uri = write(tmp_path / "m.csv", "content,style\na,b\n")
    code = (
        "import sys; from pipeline import manifest; "
        f"[manifest.parse_pair(row, {uri!r}) for row in manifest.read_rows({uri!r})]; "
        "print([name for name in ('pyarrow', 'apache_beam', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
