"""What holds for every manifest, searched for counterexamples: no row ends in an unforeseen error.

The examples are the same in every run (`derandomize`).
"""

from __future__ import annotations

import csv
import io
import json
import pathlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nst_core.config import SETTINGS, StyleConfig
from nst_core.errors import PairError
from nst_core.setting_text import names_file
from pipeline import storage
from pipeline.job import planning
from pipeline.job.options import RunOptions
from pipeline.manifest.columns import ManifestError, Row
from pipeline.manifest.rows import read_rows
from pipeline.manifest.writing import (
    cross_product,
    failure_fieldnames,
    write_csv,
    write_manifest,
)
from pipeline.pairs.parsing import Pair, parse_pair, portable_row
from pipeline.records.tasks import Outcome, Task

CONFIG = StyleConfig(weights="procedural")
OPTIONS = RunOptions("/m.csv", "/out", CONFIG, allow_schemes=("file",))

# A thread that an earlier test has left, of a storage's client, may draw a random number meanwhile.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

search = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    # The folder is the same for all examples, and each writes the file anew.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# Text that can be in a manifest: no NUL, no half of a character.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
pieces = st.sampled_from(
    [
        *(b",", b";", b"\t", b'"', b'""', b"'", b"\n", b"\r\n", b"\r", b" ", b"\\", b"\0"),
        *(b"\xef\xbb\xbf", b"\xff", b"\xc3", "ü日🎨".encode(), "\u2028\x85\v\f".encode()),
        *(b"content", b"style", b"id", b"options.steps", b"a.png", b"[", b"]", b"{", b"}", b"7"),
        b"x" * 200_000,
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**30)])
    | st.floats()
    | texts
    | st.sampled_from(["a.png", "../b.png", "", " ", "[", '["a.png"]', '[{"uri": "a", "mask": 3}]'])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["uri", "weight", "mask"]) | texts, inner, max_size=3)
    ),
    max_leaves=6,
)
keys = (
    st.sampled_from(["content", "style", "id", "status", "error", "row", "options", "options."])
    | st.sampled_from([f"options.{key}" for key in SETTINGS])
    | texts
)


def planned(uri: str) -> list[tuple[Row, Task | Outcome]]:
    """What becomes of each row; nothing of a manifest that is none, or after where it is damaged.

    Every failure is a sentence on one line.
    """
    found = []
    problem = "."
    try:
        for row in read_rows(uri):
            result = planning.plan_row(row, uri, OPTIONS)
            if isinstance(result, Outcome):
                assert result.status in ("manifest_invalid", "options_invalid")
                assert str(result.error).endswith(".")
            assert row.number == len(found) + 1
            found.append((row, result))
    except ManifestError as error:
        problem = str(error)
    assert problem.endswith(".")
    return found


def fed_back(uri: str, folder: pathlib.Path) -> None:
    """The same pairs are read from the failures as from the manifest, and as many rows."""
    found = planned(uri)
    rows = [{**portable_row(row, uri), "status": "internal", "error": "y"} for row, _ in found]
    failures = folder / "failures.csv"
    with failures.open("wb") as stream:
        write_csv(rows, failure_fieldnames({key for row in rows for key in row}), stream)
    again = list(read_rows(str(failures)))
    assert len(again) == len(found)
    for (row, _), other in zip(found, again, strict=True):
        before, after = parsed(row, uri), parsed(other, str(failures))
        if isinstance(before, Pair):
            assert isinstance(after, Pair)
            assert (before.id, before.content, before.styles) == (
                after.id,
                after.content,
                after.styles,
            )
            assert options_of(before, uri) == options_of(after, str(failures))
            for name, value in before.columns.items():
                assert not isinstance(value, str) or after.columns[name] == value
        elif not isinstance(row.columns.get("id"), float | bool):
            # Numbers and booleans are no ids, but in CSV they are text, which can be one.
            assert not isinstance(after, Pair)


def options_of(pair: Pair, uri: str) -> str:
    """As text, since 1 equals True; the files that options name by their full names."""
    full = {
        key: storage.resolve(value, uri) if names_file(value, key) else value
        for key, value in pair.options.items()
    }
    return json.dumps(full, sort_keys=True)


def parsed(row: Row, uri: str) -> Pair | None:
    try:
        return parse_pair(row, uri)
    except PairError:
        return None


@search
@given(header=st.lists(pieces, max_size=8), body=st.lists(pieces, max_size=20))
@pytest.mark.parametrize("start", [b"", b"content,style,id\n", b"\xef\xbb\xbfstyle;content\r\n"])
def test_any_bytes_are_rows_or_sentences_as_csv(
    tmp_path: pathlib.Path, start: bytes, header: list[bytes], body: list[bytes]
) -> None:
    file = tmp_path / "m.csv"
    file.write_bytes(start + b"".join(header) + b"\n" * bool(header) + b"".join(body))
    fed_back(str(file), tmp_path)


@search
@given(
    names=st.lists(
        st.text("abcé ._-\n\"'", min_size=1, max_size=8).filter(str.strip),
        max_size=4,
        unique_by=str.strip,
    ).map(lambda names: ["content", *names, "style"]),
    data=st.data(),
    delimiter=st.sampled_from([",", ";", "\t"]),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    start=st.sampled_from(["", "\ufeff", "\n\n", "\ufeff \r\n"]),
)
def test_every_dialect_of_csv_gives_back_its_cells(
    tmp_path: pathlib.Path,
    names: list[str],
    data: st.DataObject,
    delimiter: str,
    ending: str,
    start: str,
) -> None:
    cells = st.lists(texts, min_size=len(names), max_size=len(names))
    rows = data.draw(st.lists(cells.filter(lambda row: "".join(row).strip()), max_size=5))
    table = io.StringIO(newline="")
    writer = csv.writer(table, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *rows])
    file = tmp_path / "m.csv"
    file.write_bytes((start + table.getvalue()).encode())
    read = list(read_rows(str(file)))
    assert [row.problem for row in read] == [None] * len(rows)
    stripped = [name.strip() for name in names]
    assert [row.columns for row in read] == [dict(zip(stripped, row, strict=True)) for row in rows]


@search
@given(extra=st.lists(st.lists(texts, max_size=6), min_size=1, max_size=5))
def test_ragged_rows_fail_alone(tmp_path: pathlib.Path, extra: list[list[str]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table, quoting=csv.QUOTE_ALL)
    writer.writerow(["content", "style", "note"])
    for cells in extra:
        writer.writerow(cells)
        writer.writerow(["a.png", "b.png", "good"])
    file = tmp_path / "m.csv"
    file.write_bytes(table.getvalue().encode())
    read = list(read_rows(str(file)))
    good = [row for row in read if row.columns.get("note") == "good"]
    assert len(good) >= len(extra)
    for row in read:
        assert (row.problem is None) == (row.columns.keys() == {"content", "style", "note"})
    fed_back(str(file), tmp_path)


@search
@given(rows=st.lists(st.dictionaries(keys, values, max_size=6), min_size=1, max_size=3))
@pytest.mark.parametrize("whole", [False, True])
def test_every_type_in_every_place_of_json_is_a_pair_or_a_sentence(
    tmp_path: pathlib.Path, whole: bool, rows: list[dict[str, Any]]
) -> None:
    start = {"content": "a.png", "style": "b.png"} if whole else {}
    lines = [json.dumps({**start, **row}) for row in rows]
    file = tmp_path / "m.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    assert len(planned(str(file))) == len(rows)
    fed_back(str(file), tmp_path)


@search
@given(lines=st.lists(values.map(json.dumps) | texts | st.binary(max_size=20), max_size=6))
def test_any_lines_are_rows_or_sentences_as_json(
    tmp_path: pathlib.Path, lines: list[str | bytes]
) -> None:
    file = tmp_path / "m.jsonl"
    encoded = [line if isinstance(line, bytes) else line.encode() for line in lines]
    file.write_bytes(b"\n".join(encoded))
    fed_back(str(file), tmp_path)


@search
@given(key=st.sampled_from(list(SETTINGS)), value=values | texts)
def test_every_value_of_every_setting_is_taken_or_refused_in_a_sentence(
    key: str, value: Any
) -> None:
    columns = {"content": "/a.png", "style": "/b.png", f"options.{key}": value}
    for uri in ("/m.jsonl", "/m.csv"):
        if uri == "/m.csv":
            columns[f"options.{key}"] = value if isinstance(value, str) else json.dumps(value)
        result = planning.plan_row(Row(1, columns), uri, OPTIONS)
        if isinstance(result, Outcome):
            assert result.status == "options_invalid"
            assert str(result.error).endswith(".")


@search
@given(
    contents=st.lists(texts, min_size=1, max_size=3),
    styles=st.lists(texts, min_size=1, max_size=3),
    inside=st.booleans(),
)
@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_what_is_written_as_a_manifest_reads_back_the_same(
    tmp_path: pathlib.Path, extension: str, contents: list[str], styles: list[str], inside: bool
) -> None:
    folder = tmp_path if inside else "/elsewhere"
    names, paintings = (
        [storage.resolve(f"{folder}/x{text}", "") for text in texts] for texts in (contents, styles)
    )
    uri = str(tmp_path / f"m.{extension}")
    assert write_manifest(uri, cross_product(names, paintings)) == len(names) * len(paintings)
    pairs = [parse_pair(row, uri) for row in read_rows(uri)]
    expected = [(content, style) for content in names for style in paintings]
    assert [(pair.content, pair.styles[0].uri) for pair in pairs] == expected
