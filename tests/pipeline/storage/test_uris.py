"""URIs and local paths, put together and taken apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import storage


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("a/b", ""), ("a/gs://b", ""), ("file:///a", ""), ("GS://b/c", "gs"), ("hdfs://h", "hdfs")],
)
def test_the_scheme_of_a_local_path_is_empty(uri: str, expected: str) -> None:
    assert storage.scheme(uri) == expected


@pytest.mark.parametrize(
    ("base", "parts", "expected"),
    [
        ("gs://b", ("images", "a/b.png"), "gs://b/images/a/b.png"),
        ("gs://b/", ("/images/", "x"), "gs://b/images/x"),
        ("/", ("x",), "/x"),
        ("out", ("x",), "out/x"),
        ("", ("x",), "x"),
    ],
)
def test_joined_parts_stay_below_the_base(base: str, parts: tuple[str], expected: str) -> None:
    assert storage.join(base, *parts) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("gs://b/a/x.png", "gs://b/a"),
        ("gs://b/x.png", "gs://b"),
        ("gs://b", "gs://b"),
        ("/a/x.png", "/a"),
        ("/x.png", "/"),
        ("x.png", "."),
        ("file:///a/x.png", "/a"),
    ],
)
def test_the_directory_of_a_uri(uri: str, expected: str) -> None:
    assert storage.directory(uri) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("gs://b/a/cat.png", "cat"),
        ("/photos/100%20 #1?.v2.jpg", "100%20 #1?.v2"),
        ("pairs.csv.gz", "pairs"),
        ("/a.b/noextension", "noextension"),
        (".hidden", ".hidden"),
    ],
)
def test_the_stem_is_the_last_segment_without_its_extension(uri: str, expected: str) -> None:
    assert storage.stem(uri) == expected


@pytest.mark.parametrize(
    ("uri", "base", "expected"),
    [
        ("x.png", "/data/m.csv", "/data/x.png"),
        ("../a/./x%20#.png", "/data/in/m.csv", "/data/a/x%20#.png"),
        ("/y/../x.png", "gs://b/m.csv", "/x.png"),
        ("file:///y/x%20.png", "gs://b/m.csv", "/y/x%20.png"),
        ("gs://c/a/../x.png", "/data/m.csv", "gs://c/a/../x.png"),
        ("x.png", "gs://b/in/m.csv", "gs://b/in/x.png"),
        ("x.png", "gs://b/m.csv", "gs://b/x.png"),
        ("./.././x?.png", "gs://b/in/m.csv", "gs://b/x?.png"),
        ("../../../x.png", "gs://b/in/m.csv", "gs://b/x.png"),
        ("a/../x.png", "gs://b/in/m.csv", "gs://b/in/a/../x.png"),
        ("x.png", "file:///data/m.csv", "/data/x.png"),
    ],
)
def test_relative_uris_are_relative_to_the_manifest(uri: str, base: str, expected: str) -> None:
    assert storage.resolve(uri, base) == expected


def test_a_relative_manifest_gives_absolute_uris(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.resolve("x.png", "in/m.csv") == f"{tmp_path}/in/x.png"
