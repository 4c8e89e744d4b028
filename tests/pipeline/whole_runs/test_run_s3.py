"""`s3://` against an S3 server (moto's): inputs, and an output with Beam's weaker guarantees."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import s3_server
from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.io.filesystems import FileSystems

from pipeline import storage
from pipeline.__main__ import main
from pipeline.storage import s3_clients

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URI of an empty bucket; as in a process that has made no pipeline yet."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: pip install boto3")
    with pytest.MonkeyPatch.context() as patch, s3_server.serving(patch):
        patch.setattr(FileSystems, "_pipeline_options", None)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        client.close()
        yield "s3://bucket"


def test_files_are_written_listed_and_read_before_there_is_a_pipeline(s3: str) -> None:
    uri = f"{s3}/x y/é%20# [1].txt"
    assert not storage.exists(uri)
    storage.check_writable(f"{s3}/x y")
    assert storage.create_bytes(uri, b"hello", "text/plain")
    assert not storage.create_bytes(uri, b"other", "text/plain")
    assert storage.read_bytes(uri, first=2) == b"he"
    data, version = storage.read_version(uri, max_bytes=10)
    assert (data, version.bytes) == (b"hello", 5)
    assert version == storage.version(uri)
    assert storage.identity(uri).startswith("s3:")
    assert list(storage.list_uris(f"{s3}/x y")) == storage.glob_uris(f"{s3}/*/*.txt") == [uri]
    with pytest.raises(storage.TooLarge):
        storage.read_bytes(uri, max_bytes=4)
    storage.delete(uri)
    for missing in (uri, f"{s3}/none.png", s3, f"{s3}/"):
        with pytest.raises(storage.NotFound):
            storage.read_bytes(missing)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bad bucket/a.png",
        "s3:///a.png",
        "s3://{{bucket}}/a.png",
        "s3://bucket\n/a.png",
        "s3://bucket/a\nb.png",
        "s3://bucket/\udcff.png",
        f"s3://bucket/{'k' * 1025}",
        "S3://bucket/a.png",
    ],
)
@pytest.mark.usefixtures("s3")
def test_a_name_that_no_file_can_have_is_not_found_at_once(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    def ask(*_: Any, **__: Any) -> None:
        pytest.fail("S3 is asked")

    monkeypatch.setattr(boto3_client, "Client", ask)
    monkeypatch.setattr(s3_clients, "client", ask)
    with pytest.raises(storage.NotFound, match=r"nothing on S3 can have|write s3://"):
        storage.read_bytes(uri)
    with pytest.raises(storage.NotFound):
        storage.version(uri)
    assert not storage.exists(uri)


def test_names_of_buckets_files_and_access_points_are_names() -> None:
    access_point = "arn:aws:s3:us-east-1:123456789012:accesspoint:name"
    for uri in ("s3://bucket", "s3://a.b-c_D/", f"s3://b/{'k' * 1024}", f"s3://{access_point}/k"):
        assert s3_clients.is_name(uri)


def test_a_thread_makes_one_client_for_all_that_it_reads_and_writes(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = boto3_client.boto3.session.Session

    def session() -> Any:
        made.append(threading.get_native_id())
        return real()

    def work(number: int) -> None:
        uri = f"{s3}/clients/{number}.bin"
        for data in (b"a" * 70_000, b"b" * 80_000):
            storage.write_bytes(uri, data, "text/plain")
            assert storage.read_bytes(uri) == data

    monkeypatch.setattr(boto3_client.boto3.session, "Session", session)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(12)))
    assert 1 <= len(made) == len({*made}) <= 4
    # Other credentials are not those that are kept.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert storage.exists(f"{s3}/clients/0.bin")
    before = len(made)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a third")
    assert storage.exists(f"{s3}/clients/0.bin")
    assert len(made) == before + 1


@pytest.mark.parametrize("command", [["status"], ["export", "--format=csv", "-o=r.csv"]])
def test_without_credentials_one_sentence_says_so_at_once(
    s3: str,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert main([*command, f"{s3}/out"]) == 1
    assert "there are no AWS credentials here" in one_sentence(capsys.readouterr().err)


def test_contents_come_from_there_and_changes_are_seen(catalog: Catalog, s3: str) -> None:
    there = dataclasses.replace(catalog, root=f"{s3}/inputs")
    for name in ("a.png", "s.png", "other.png"):
        there.picture(name)
    style = there.uri("s.png")
    rows = [{"id": "a", "content": there.uri("a.png"), "style": style}]
    for bad in (there.uri("none.png"), "s3://bad bucket/a.png", "S3://bucket/a.png"):
        rows.append({"id": f"bad{len(rows)}", "content": bad, "style": style})
    catalog.manifest(rows)
    assert catalog.run() == 3
    assert catalog.statuses() == ["manifest_invalid"] * 4
    assert catalog.run("--allow-schemes=s3,file") == 3
    assert catalog.statuses() == ["ok", *["input_not_found"] * 3]
    assert catalog.run("--allow-schemes=s3,file") == 3
    assert catalog.statuses() == ["skipped", *["input_not_found"] * 3]
    there.write("a.png", there.read("other.png"))
    assert catalog.run("--allow-schemes=s3,file") == 3
    assert catalog.results()[0]["changed"] == "content"


def test_a_catalog_can_lie_there_as_a_whole(catalog: Catalog, s3: str) -> None:
    there = dataclasses.replace(catalog, root=f"{s3}/catalog")
    there.pairs()
    assert there.run("--no-report") == 0
    assert there.names("out/images") == {"a.png", "b.png"}
    assert there.run("--no-report") == 0
    assert there.statuses() == ["skipped", "skipped"]
    assert not [name for name in there.names("") if "tmp" in name]
