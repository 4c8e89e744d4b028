"""Schemes that there are not here: said at once, with what to do, whatever names them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from nst_core.errors import ConfigError
from pipeline import storage
from pipeline.__main__ import main
from pipeline.pairs.schemes import parse_schemes
from pipeline.storage import beam as storage_beam

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

Sentence = Callable[[str], str]

DOWNLOAD, INSTALL, CORRECT = "download the file", "pip install 'apache-beam[", "correct it"
OWN = "pip install 'nst-catalog["
ADVICE = {
    "FTP://host/x.png": DOWNLOAD,
    "ftp://host/x.png": DOWNLOAD,
    "data:image/png;base64," + "A" * 5_000: "save it as a file",
    "s3://bucket/x.png": f"{OWN}aws]'",
    "azfs://account/container/x.png": f"{INSTALL}azure]'",
    "hdfs://x.png": f"{INSTALL}hadoop]'",
    "nowhere://x.png": CORRECT,
}


@pytest.fixture(autouse=True)
def _without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the packages of Beam's extras, as after an ordinary installation."""
    found = importlib.util.find_spec

    def hide(name: str, *more: str) -> object:
        return None if name in ("boto3", "azure", "hdfs") else found(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", hide)


@pytest.mark.parametrize("uri", ADVICE, ids=lambda uri: uri[:20])
def test_reading_listing_and_writing_say_which_schemes_there_are(uri: str) -> None:
    for action in (
        storage.read_bytes,
        storage.exists,
        storage.glob_uris,
        storage.identity,
        storage.check_writable,
        lambda uri: list(storage.list_uris(uri)),
        lambda uri: storage.write_bytes(uri, b"", "image/png"),
    ):
        with pytest.raises(storage.NoFilesystem) as caught:
            action(uri)
        assert ADVICE[uri] in str(caught.value)
        assert "Here are local paths, gs://, https:// (only read)." in str(caught.value)
        assert len(str(caught.value)) < 600


def test_a_scheme_that_only_beam_knows_of_is_asked_of_beam() -> None:
    with pytest.raises(storage.NoFilesystem, match="the scheme nowhere"):
        storage_beam.exists("nowhere://x.png")


def test_a_row_that_names_one_fails_alone_with_the_advice(catalog: Catalog) -> None:
    catalog.pairs(["a.png"])
    rows = [{"id": "good", "content": "a.png", "style": "s.png"}]
    for number, uri in enumerate(ADVICE):
        rows.append({"id": f"content{number}", "content": uri, "style": "s.png"})
        rows.append({"id": f"style{number}", "content": "a.png", "style": uri})
    catalog.manifest(rows)
    assert catalog.run("--set=steps=1", "--allow-schemes=file,nowhere") == 3
    failed = {result["id"]: result["error"] for result in catalog.results() if result["error"]}
    assert len(failed) == 2 * len(ADVICE)
    for number, advice in enumerate(ADVICE.values()):
        for error in (failed[f"content{number}"], failed[f"style{number}"]):
            assert advice in error
            assert "--allow-schemes" not in error


@pytest.mark.parametrize("uri", ["ftp://host/x.png", "s3://bucket/x.png"])
def test_every_command_says_it_before_any_work(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], one_sentence: Sentence, uri: str
) -> None:
    catalog.pairs(["a.png"])
    a, small = catalog.uri("a.png"), ["--weights=procedural"]
    listed = ["manifest", "--styles", a, "-o"]
    before = catalog.files()
    for command in (
        ["stylize", uri, a, "-o", catalog.uri("o.png"), *small],
        ["stylize", a, uri, "-o", catalog.uri("o.png"), *small],
        ["stylize", a, a, "-o", uri, *small],
        [*listed, catalog.uri("m.csv"), "--contents", uri],
        [*listed, uri.replace(".png", ".csv"), "--contents", a],
        ["run", "--manifest", catalog.uri("pairs.csv"), "--output", uri, *small],
        ["plan", "--manifest", catalog.uri("pairs.csv"), "--output", uri, *small],
        ["run", "--manifest", uri.replace(".png", ".csv"), "--output", catalog.uri("o"), *small],
        ["plan", "--manifest", catalog.uri("pairs.csv"), "--output", "o", "--config", uri],
    ):
        assert main(command) in (1, 2)
        assert ADVICE[uri] in one_sentence(capsys.readouterr().err), command
    assert catalog.files() == before


def test_nothing_but_images_is_read_from_the_web_and_nothing_is_written_there(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], one_sentence: Sentence
) -> None:
    catalog.pairs(["a.png"])
    a, small, url = catalog.uri("a.png"), ["--weights=procedural"], "https://host/x.csv?v=1"
    manifest, output = catalog.uri("pairs.csv"), catalog.uri("o")
    before = catalog.files()
    for advice, *command in (
        ("nothing is written", "stylize", a, a, "-o", "https://host/x.png", *small),
        (
            *("nothing is written", "manifest", "--contents", a, "--styles", a),
            *("-o", "https://host/x.csv"),
        ),
        ("curl -o NAME URL", "run", "--manifest", manifest, "--output", output, "--weights", url),
        ("curl -o NAME URL", "plan", "--manifest", manifest, "--output", output, "--config", url),
        ("curl -o NAME URL", "weights", "verify", "--weights", url),
        ("nothing is written", "run", "--manifest", manifest, "--output", url, *small),
        ("nothing is written", "plan", "--manifest", manifest, "--output", url, *small),
        (
            *("--program-cache", "plan", "--manifest", manifest, "--output", output),
            *("--program-cache", url),
        ),
        ("curl -o NAME URL", "run", "--manifest", url, "--output", output, *small),
        ("curl -o NAME URL", "plan", "--manifest", url, "--output", output, *small),
        ("cannot be listed", "manifest", "--styles", a, "-o", output, "--contents", f"{url}/*"),
    ):
        assert main(command) in (1, 2)
        assert advice in one_sentence(capsys.readouterr().err), command
    assert catalog.files() == before


def test_a_scheme_from_which_nothing_is_read_cannot_be_allowed() -> None:
    with pytest.raises(ConfigError, match=DOWNLOAD):
        parse_schemes("gs,ftp")
