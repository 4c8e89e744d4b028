"""Manifests as spreadsheets save them: padded, cut, blank, in their encodings, empty."""

from __future__ import annotations

import gzip
import logging
import pathlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow
import pytest
from pyarrow import parquet

from pipeline.__main__ import main
from pipeline.manifest.columns import ManifestError, Row
from pipeline.manifest.rows import check_manifests, read_rows

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

Sentence = Callable[[str], str]
GOOD = {"content": "a.png", "style": "s.png", "note": "x"}


@pytest.fixture
def rows_of(tmp_path: pathlib.Path) -> Callable[..., list[Row]]:
    """Writes text or bytes as CSV and reads the rows."""

    def read(data: str | bytes, name: str = "m.csv") -> list[Row]:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        check_manifests(str(path))
        return list(read_rows(str(path)))

    return read


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"PK\x03\x04\x14\0\xff\xfe", "m.csv", "workbook or another ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "m.tsv", "workbook of a spreadsheet, and only its table"),
        (
            gzip.compress(b"content,style\n", mtime=0),
            "m.csv",
            "packed with gzip; let its name end with .gz",
        ),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "m.jsonl.gz", "packed with gzip"),
        (b"PAR1\x15\0", "m.jsonl", "Parquet; name it .parquet"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>", "m.csv", "a page of HTML or XML; fetch the table"),
        (b'[\n {"content": "a.png"}]', "m.csv", "JSON; write one object on each line"),
        (b'{"content": "a.png"}\n', "m.csv", "JSON; write one object on each line"),
        (b"", "m.xlsx", "workbook of a spreadsheet, and only its table"),
        (b"[]", "M.JSON", "JSON; write one object on each line, and name it .jsonl"),
    ],
)
def test_what_is_no_table_in_text_is_called_what_it_is(
    rows_of: Any, data: bytes, name: str, said: str
) -> None:
    with pytest.raises(ManifestError, match=rf"{name} is (a )?{re.escape(said)}"):
        rows_of(data, name)


def test_columns_without_a_name_are_none(rows_of: Any) -> None:
    (row,) = rows_of("content,style,note,, ,\r\na.png,s.png,x,, ,\r\n")
    assert row == Row(1, GOOD)


def test_a_value_in_a_column_without_a_name_is_a_sentence(rows_of: Any) -> None:
    bad, good = rows_of("content,style,note,,\na.png,s.png,x,,lost\na.png,s.png,x\n")
    assert bad.problem.startswith('has "lost" in column 5, which has no name; name the column')
    assert good == Row(2, GOOD)
    lines = '{"content": "a.png", "style": "s.png", "note": "x", "": null}\n{"": 3}\n'
    good, bad = rows_of(lines, "m.jsonl")
    assert good == Row(1, GOOD)
    assert "has 3 in column 1, which has no name" in bad.problem


def test_a_row_without_its_last_cells_is_padded_and_one_with_more_empty_ones_cut(
    rows_of: Any,
) -> None:
    short, bare, long = rows_of("content,style,note\na.png,s.png\na.png\na.png,s.png,x,, ,\n")
    assert short == Row(1, {**GOOD, "note": ""})
    assert bare == Row(2, {"content": "a.png", "style": "", "note": ""})
    assert long == Row(3, GOOD)


def test_a_row_with_more_values_than_columns_is_refused(rows_of: Any) -> None:
    (row,) = rows_of("content,style,note\na.png,s.png,x,y\n")
    assert row.problem.startswith("has 4 fields where the header has 3")


def test_blank_rows_are_none(rows_of: Any, tmp_path: pathlib.Path) -> None:
    text = ",,\r\ncontent,style,note\r\n,,\r\na.png,s.png,x\r\n , ,\r\n,,\r\na.png,s.png,x\r\n,,"
    assert rows_of(text) == [Row(1, GOOD), Row(2, GOOD)]
    table = pyarrow.table({name: [None, text, ""] for name, text in GOOD.items()})
    parquet.write_table(table, tmp_path / "m.parquet")
    assert list(read_rows(str(tmp_path / "m.parquet"))) == [Row(1, GOOD)]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=;;;", "\ufeffsep=;"])
def test_the_delimiter_that_the_first_line_names_is_heeded(rows_of: Any, first: str) -> None:
    assert rows_of(f"{first}\r\ncontent;style;note\r\na.png;s.png;x\r\n") == [Row(1, GOOD)]


def test_any_sign_can_be_named_as_the_delimiter(rows_of: Any) -> None:
    for sign in ("|", "\t", ",", "^"):
        text = f"sep={sign}\n" + "\n".join(map(sign.join, [GOOD.keys(), GOOD.values()]))
        assert rows_of(text) == [Row(1, GOOD)]
    with pytest.raises(ManifestError, match="but not content and style"):
        rows_of("sep=;\ncontent,style\na,b\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
@pytest.mark.parametrize("name", ["m.csv", "m.csv.gz", "m.jsonl"])
def test_every_encoding_of_unicode_is_read(rows_of: Any, encoding: str, name: str) -> None:
    text = "content\tstyle\tnote\r\nMüller 写.png\ts.png\tx\r\n"
    if name == "m.jsonl":
        text = '{"content": "Müller 写.png", "style": "s.png", "note": "x"}\n'
    data = text.encode(encoding)
    assert rows_of(gzip.compress(data) if name.endswith(".gz") else data, name) == [
        Row(1, {**GOOD, "content": "Müller 写.png"})
    ]


def test_utf_16_that_is_cut_off_or_has_half_a_character_is_told(rows_of: Any) -> None:
    data = "content,style,note\na.png,s.png,x\nb.png,s.png,x\n".encode("utf-16")
    with pytest.raises(ManifestError, match=r"damaged or cut off after row \d"):
        rows_of(data[:-1])
    half = "content,style,note\n\ud83d.png,s.png,x\na.png,s.png,x\n"
    bad, good = rows_of(half.encode("utf-16-le", "surrogatepass"))
    assert "not UTF-8" in bad.problem
    assert bad.columns == {"row": "\ufffd.png,s.png,x"}
    assert good == Row(2, GOOD)


@pytest.mark.parametrize("name", ["m.csv", "m.csv.gz", "m.jsonl"])
def test_a_file_in_windows_1252_is_read_whole_wherever_its_first_such_letter_is(
    rows_of: Any, tmp_path: pathlib.Path, name: str
) -> None:
    row = '{"content": "%s", "style": "s.png"}\r\n' if name == "m.jsonl" else "%s,s.png\r\n"
    text = "" if name == "m.jsonl" else "content,style\r\n"
    text += row % "a.png" * 30_000 + row % "photos/Müller.png" + row % "“50 €”.png"
    data = text.encode("cp1252")
    rows = rows_of(gzip.compress(data) if name.endswith(".gz") else data, name)
    assert len(rows) == 30_002
    assert [row.columns["content"] for row in rows[-2:]] == ["photos/Müller.png", "“50 €”.png"]
    (note,) = check_manifests(str(tmp_path / name))
    line = 30_001 + (name != "m.jsonl")
    assert f"{tmp_path / name} is not UTF-8 and is read as Windows-1252" in note
    assert f"line {line} as" in note
    assert "photos/Müller.png" in note


@pytest.mark.parametrize("beam", [(), ("--runner=FnApiRunner",)])
def test_a_run_reads_windows_1252_and_says_so_once(
    catalog: Catalog,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    beam: tuple[str, ...],
) -> None:
    for name in ("Müller.png", "s.png"):
        catalog.picture(name)
    catalog.write("m.csv", "content;style;größe\r\nMüller.png;s.png;übergroß\r\n".encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        assert catalog.run(*beam, manifest="m.csv") == 0
    said = [record.getMessage() for record in caplog.records]
    assert sum("is read as Windows-1252" in sentence for sentence in said) == 1
    (result,) = catalog.results()
    assert (result["status"], result["columns"]) == ("ok", {"größe": "übergroß"})
    assert main(["plan", *catalog.arguments(manifest="m.csv")[1:]]) == 0
    assert "line 1 as" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_byte_that_windows_1252_does_not_have_is_a_sentence(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], one_sentence: Sentence, command: str
) -> None:
    catalog.write("m.csv", b"content,style\nM\xfcller.png,s.png\nM\x81ller.png,s.png\n")
    before = catalog.names("")
    assert main([command, *catalog.arguments(manifest="m.csv")[1:]]) == 2
    sentence = one_sentence(capsys.readouterr().err)
    for part in (catalog.uri("m.csv"), "no byte 0x81", "on line 3", "save the file as UTF-8"):
        assert part in sentence
    assert catalog.names("") == before


@pytest.mark.parametrize("end", ["caf\u00e9", "\u00fcber.png,s.png\n", "x,\u00e9\u00e0\n"])
def test_the_first_bytes_of_another_encoding_are_found_wherever_they_are(
    rows_of: Any, tmp_path: pathlib.Path, end: str
) -> None:
    rows_of(("content,style\n" + end).encode("cp1252"))
    (note,) = check_manifests(str(tmp_path / "m.csv"))
    assert f'line 2 as "{end.strip()}' in note


def test_bytes_that_are_not_utf8_beside_letters_that_are_spoil_only_their_row(
    rows_of: Any,
) -> None:
    data = "content,style,note\na.png,s.png,ü\n".encode() + b"caf\xe9.png,s.png,x\n"
    good, bad = rows_of(data)
    assert good.columns["note"] == "ü"
    assert bad.problem == "is not UTF-8; save it as UTF-8"


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet", "m.csv.gz", "m.jsonl.gz"])
def test_a_manifest_without_rows_is_nothing_to_do_in_every_format(
    catalog: Catalog, caplog: pytest.LogCaptureFixture, no_network: None, name: str
) -> None:
    del no_network
    data = b"content,style\n" if ".csv" in name else b""
    if name == "m.parquet":
        sink = pyarrow.BufferOutputStream()
        nothing = pyarrow.array([], pyarrow.string())
        parquet.write_table(pyarrow.table({"content": nothing, "style": nothing}), sink)
        data = sink.getvalue().to_pybytes()
    uri = catalog.write(name, gzip.compress(data) if name.endswith(".gz") else data)
    with caplog.at_level(logging.WARNING):
        assert catalog.run(manifest=name) == 0
    told = f"The manifest {uri} has no rows, so there is nothing to do."
    assert [record.getMessage() for record in caplog.records].count(told) == 1
    assert catalog.results() == []


def test_one_manifest_of_several_may_have_no_rows(catalog: Catalog) -> None:
    catalog.write("1.csv", b"content,style\n")
    catalog.write("2.csv", b"content,style\na.png,s.png\n")
    assert check_manifests(catalog.uri("?.csv")) == []
