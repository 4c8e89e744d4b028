"""`gs://`: checksums, names, and what fails."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from gcp_storage_emulator.server import Server
from google.api_core import exceptions as api_exceptions

from pipeline import storage
from pipeline.storage import gcs as storage_gcs
from pipeline.storage import gcs_faults
from tests.conftest import EmulatedBucket
from tests.pipeline.storage.names import PNG, below


def test_a_large_object_keeps_its_bytes_and_its_type(
    gcs: EmulatedBucket, storage_emulator: tuple[Server, str]
) -> None:
    data = os.urandom(9 << 20)
    storage.write_bytes(gcs.uri("x.png"), data, PNG)
    with storage.open_writer(gcs.uri("y.png"), PNG) as file:
        file.write(data)
    assert storage.read_bytes(gcs.uri("x.png")) == storage.read_bytes(gcs.uri("y.png")) == data
    kept = storage_emulator[0]._storage.objects[gcs.bucket]
    assert {kept[name]["contentType"] for name in ("x.png", "y.png")} == {PNG}


def test_the_identity_of_an_object_comes_from_its_metadata(gcs: EmulatedBucket) -> None:
    storage.write_bytes(gcs.uri("x.png"), b"123456789", PNG)
    # The check value that every description of CRC-32C gives for these nine digits: e3069283.
    assert storage.identity(gcs.uri("x.png")) == "crc32c:4waSgw==:9"


def test_directory_placeholders_are_not_files(gcs: EmulatedBucket) -> None:
    storage_gcs.client().bucket(gcs.bucket).blob("images/").upload_from_string(b"")
    storage.write_bytes(gcs.uri("images/x.png"), b"pixels", PNG)
    assert below(gcs.uri("images")) == below(f"gs://{gcs.bucket}") == [gcs.uri("images/x.png")]


@pytest.mark.usefixtures("gcs")
def test_a_missing_bucket_is_the_jobs_trouble_unless_it_is_read() -> None:
    for attempt in (
        lambda: storage.write_bytes("gs://elsewhere/x.png", b"pixels", PNG),
        lambda: storage.create_bytes("gs://elsewhere/x.png", b"pixels", PNG),
        lambda: storage.check_writable("gs://elsewhere/out"),
        lambda: below("gs://elsewhere/out"),
    ):
        with pytest.raises(storage.StorageError, match="bucket elsewhere does not exist"):
            attempt()
    with pytest.raises(storage.NotFound):
        storage.read_bytes("gs://elsewhere/x.png")
    storage.delete("gs://elsewhere/x.png")


@pytest.mark.parametrize("uri", ["gs://", "gs://catalog", "gs://Not A Bucket/x.png", "gs:///x.png"])
@pytest.mark.usefixtures("gcs")
def test_what_names_no_object_is_not_found(uri: str) -> None:
    for read in (storage.read_bytes, storage.open_binary, storage.identity):
        with pytest.raises(storage.NotFound):
            read(uri)
    assert not storage.exists(uri)
    with pytest.raises(storage.StorageError):
        storage.write_bytes(uri, b"pixels", PNG)


def test_a_wildcard_for_a_bucket_is_refused(gcs: EmulatedBucket) -> None:
    with pytest.raises(storage.StorageError, match="wildcard in the bucket's name"):
        storage.glob_uris(f"gs://{gcs.bucket}*/x.png")


@pytest.mark.usefixtures("gcs")
def test_a_forked_process_opens_its_own_connections() -> None:
    before = storage_gcs.client()
    assert storage_gcs.client() is before
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"same" if storage_gcs.client() is before else b"own")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with open(reader, "rb") as answer:
        assert answer.read() == b"own"


def test_without_credentials_the_error_says_how_to_give_them(
    monkeypatch: Any, tmp_path: Path
) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    storage_gcs.forget_client()
    for attempt in (storage.read_bytes, storage.check_writable, storage.exists, storage.delete):
        with pytest.raises(storage.StorageError, match="gcloud auth application-default login"):
            attempt("gs://catalog/x.png")


@pytest.mark.usefixtures("impatient")
def test_a_service_out_of_reach_is_the_jobs_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
        storage_gcs.forget_client()
        with pytest.raises(storage.StorageError, match="in spite of retries"):
            storage.write_bytes("gs://b1c/x.png", b"pixels", PNG)
        storage_gcs.forget_client()


def test_a_bucket_that_wants_a_payer_or_keeps_what_is_written_is_told_apart() -> None:
    payer = "Bucket is a requester pays bucket but no user project provided."
    with (
        pytest.raises(storage.AccessDenied, match="set GOOGLE_CLOUD_QUOTA_PROJECT to the project"),
        gcs_faults.reading("gs://b1c/a.png"),
    ):
        raise api_exceptions.BadRequest(payer)
    with (
        pytest.raises(storage.StorageError, match="set GOOGLE_CLOUD_QUOTA_PROJECT to the project"),
        gcs_faults.changing("gs://b1c/out"),
    ):
        raise api_exceptions.BadRequest(payer)
    for why in (
        "is subject to bucket's retention policy or object retention and cannot be deleted or "
        "overwritten until 2026-12-01T00:00:00",
        "is under active Event-Based hold and cannot be deleted, overwritten or archived until "
        "hold is removed.",
        "is under active Temporary hold and cannot be deleted, overwritten or archived until hold "
        "is removed.",
    ):
        with (
            pytest.raises(storage.StorageError, match="an output in a bucket without retention"),
            gcs_faults.changing("gs://b1c/out"),
        ):
            raise api_exceptions.Forbidden(f"Object 'b1c/out/x' {why}")
    with (
        pytest.raises(storage.StorageError, match=r"roles/storage\.objectUser"),
        gcs_faults.changing("gs://b1c/out"),
    ):
        raise api_exceptions.Forbidden("x does not have storage.objects.delete access")
