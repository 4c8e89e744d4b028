"""What a manifest promises, tested with real files of every format."""

import contextlib
import datetime
import decimal
import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from nst_core.errors import JobError, ManifestInvalid
from pipeline.manifest.columns import ManifestError, Row
from pipeline.manifest.rows import check_manifests, has_marks, read_rows
from pipeline.manifest.text import ROW_LIMIT
from pipeline.pairs.parsing import StyleReference, parse_pair
from tests.pipeline.manifest.manifests import (
    FORMATS,
    read_pairs,
    write,
    write_any,
    write_parquet,
)

# --- the formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_gives_the_same_pairs(tmp_path: Path, extension: str) -> None:
    rows = [
        {"id": "one", "content": "a.png", "style": "s/x.png", "artist": "Ōkyo, “M.”"},
        {"id": "", "content": "gs://b/ä b.png", "style": '["s/x.png","/y.png"]', "artist": "\n"},
    ]
    uri = write_any(tmp_path / f"pairs{extension}", rows)
    check_manifests(uri)
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


def test_a_day_in_parquet_is_an_id_like_any_other(tmp_path: Path) -> None:
    columns = {"content": ["a.png"], "style": ["x.png"], "id": [datetime.date(2024, 1, 5)]}
    (pair,) = read_pairs(write_parquet(tmp_path / "days.parquet", columns))
    assert pair.id == "2024-01-05"


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
        ("m.csv", b"content,style,x,x\n", '"x" twice'),
        ("m.csv", b"content,style,\xc3\xa9,\xff\n", "not UTF-8"),
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
        check_manifests(uri)
    assert uri in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    with pytest.raises(ManifestError, match=reason):
        list(read_rows(uri))


def test_a_manifest_that_is_not_there_stops_the_job(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "none.jsonl.gz", "none.parquet", "no/folder.csv", "folder.csv"):
        with pytest.raises(JobError, match="cannot be read: ") as caught:
            check_manifests(str(tmp_path / name))
        assert isinstance(caught.value, ManifestError)


def test_what_a_command_prints_is_to_come_by_standard_input() -> None:
    with pytest.raises(ManifestError, match="can be read only once; give --manifest - "):
        check_manifests("/dev/fd/63")


def test_a_header_alone_is_a_manifest_of_nothing(tmp_path: Path) -> None:
    for name, data in (("m.csv", "content,style"), ("m.jsonl", ""), ("m.jsonl", "\n\n")):
        uri = write(tmp_path / name, data)
        check_manifests(uri)
        assert list(read_rows(uri)) == []
    empty = pyarrow.array([], pyarrow.string())
    uri = write_parquet(tmp_path / "m.parquet", {"content": empty, "style": empty})
    check_manifests(uri)
    assert list(read_rows(uri)) == []


def test_parquet_without_the_columns_is_refused(tmp_path: Path) -> None:
    uri = write_parquet(tmp_path / "m.parquet", {"content": ["a"], "image": ["b"]})
    with pytest.raises(ManifestError, match="but not style;"):
        check_manifests(uri)
    table = pyarrow.table([["a"], ["b"], ["c"]], names=["content", "style", "style"])
    parquet.write_table(table, uri)
    with pytest.raises(ManifestError, match='"style" twice'):
        check_manifests(uri)


def test_a_damaged_gzip_is_found_at_the_start_and_in_the_middle(tmp_path: Path) -> None:
    uri = str(tmp_path / "m.csv.gz")
    Path(uri).write_bytes(b"content,style\na,b\n")
    with pytest.raises(ManifestError, match="damaged"):
        check_manifests(uri)
    rows = "".join(f"{os.urandom(20).hex()},style\n" for _ in range(5000))
    whole = gzip.compress(b"content,style\n" + rows.encode())
    Path(uri).write_bytes(whole[: len(whole) // 2])
    check_manifests(uri)
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
    check_manifests(str(path))
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
        b"a.png,b.png,\xc3\xa9,too many\n"
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
        (b'{"x": "\xc3\xa9\xff"}', "not UTF-8"),
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


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_a_time_in_a_zone_that_nobody_knows_spoils_only_its_row(unit: str, tmp_path: Path) -> None:
    columns = {
        "content": ["a.png", "b.png"],
        "style": ["s.png", "s.png"],
        "moment": pyarrow.array([0, None], pyarrow.timestamp(unit, "Nowhere/City")),
    }
    first, second = read_rows(write_parquet(tmp_path / "m.parquet", columns))
    assert "not known to Python in moment; mend it" in str(first.problem)
    assert second.problem is None


# --- pairs --------------------------------------------------------------------------------------


# --- failures.csv -------------------------------------------------------------------------------


# --- nst manifest -------------------------------------------------------------------------------


# --- as a whole ---------------------------------------------------------------------------------


@contextlib.contextmanager
def traced() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("extension", FORMATS)
def test_a_manifest_is_one_of_marks_where_every_row_has_one(tmp_path: Path, extension: str) -> None:
    def found(*marks: str) -> bool:
        rows = [{"content": "a.png", "style": "s.png", "mark": mark} for mark in marks]
        return has_marks(write_any(tmp_path / f"pairs{extension}", rows))

    assert found("redo", "Keep ", "reject")
    assert not found("redo", "")
    assert not found("Acme", "redo")


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
        "import sys; from pipeline.manifest import rows; "
        f"from pipeline.pairs import parsing; uri = {uri!r}; "
        "[parsing.parse_pair(row, uri) for row in rows.read_rows(uri)]; "
        "print([name for name in ('pyarrow', 'apache_beam', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_text_that_all_rows_of_parquet_share_is_held_once_and_no_row_is_endless(
    tmp_path: Path,
) -> None:
    rows, shared = 1000, pyarrow.array([0] * 1000, pyarrow.int32())
    columns = {"content": ["a.png"] * rows, "style": ["s.png"] * rows}
    for name, size in (("shared", ROW_LIMIT - 100), ("endless", 100 * ROW_LIMIT)):
        note = pyarrow.DictionaryArray.from_arrays(shared, pyarrow.array(["x" * size]))
        path = tmp_path / f"{name}.parquet"
        table = pyarrow.table({**columns, "note": note})
        parquet.write_table(table, path, compression="zstd", store_schema=False)
        assert path.stat().st_size < 20_000
        tracemalloc.start()
        before = pyarrow.total_allocated_bytes()
        stream = read_rows(str(path))
        first = [next(stream) for _ in range(rows)]
        assert pyarrow.total_allocated_bytes() - before < 4 * size + 20_000_000
        assert tracemalloc.get_traced_memory()[1] < 4 * size + 20_000_000
        tracemalloc.stop()
        assert {row.problem for row in first} == {
            None if name == "shared" else f"is longer than {ROW_LIMIT} characters; shorten it"
        }
        stream.close()


def test_texts_of_parquet_are_read_however_they_are_kept(tmp_path: Path) -> None:
    rows = 3000  # in several batches
    names = [f"{number}.png" for number in range(rows)]
    columns = {
        "content": pyarrow.array(names, pyarrow.large_string()),
        "style": ["s.png"] * rows,
        "none": pyarrow.array([None] * rows, pyarrow.string()),
        "some": ["a", None, "b"] * (rows // 3),
        "raw": [b"\xff%d" % number for number in range(rows)],
        "options.seed": pyarrow.array([1, 2, 3] * (rows // 3)).dictionary_encode(),
    }
    found = list(read_rows(write_parquet(tmp_path / "m.parquet", columns)))
    assert [row.columns["content"] for row in found] == names
    assert [row.columns["some"] for row in found[-3:]] == ["a", None, "b"]
    assert {row.columns["none"] for row in found} == {None}
    assert found[-1].columns["raw"] == b"\xff2999"
    assert [row.columns["options.seed"] for row in found[:3]] == [1, 2, 3]
