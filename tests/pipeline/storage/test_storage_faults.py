"""Cloud Storage that goes wrong: a server that honours preconditions, behind a faulty proxy."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from fault_proxy import ALWAYS, CORRUPT, CUT, RESET, STALL, STALL_HALFWAY, UNHEARD
from google.api_core.exceptions import RetryError, ServiceUnavailable

from pipeline import storage
from pipeline.storage import gcs as storage_gcs
from pipeline.storage import gcs_faults

if TYPE_CHECKING:
    from tests.pipeline.conftest import BadBucket

PNG = "image/png"
JSON = "application/json"
PIXELS = bytes(range(256)) * 200
# Uploads of more than 8 MiB take several requests.
LARGE = 9 << 20


def write(uri: str) -> bool:
    storage.write_bytes(uri, PIXELS, PNG)
    return storage.read_bytes(uri) == PIXELS


def create(uri: str) -> bool:
    storage.delete(uri)
    return storage.create_bytes(uri, PIXELS, JSON) and storage.read_bytes(uri) == PIXELS


def delete(uri: str) -> bool:
    storage.write_bytes(uri, PIXELS, PNG)
    storage.delete(uri)
    return not storage.exists(uri)


def stream(uri: str) -> bool:
    storage.write_bytes(uri, PIXELS, PNG)
    with storage.open_binary(uri) as file:
        return file.read() == PIXELS


def identify(uri: str) -> bool:
    storage.write_bytes(uri, PIXELS, PNG)
    return storage.identity(uri).endswith(f":{len(PIXELS)}")


def find(uri: str) -> bool:
    storage.write_bytes(uri, PIXELS, PNG)
    return list(storage.list_uris(storage.directory(uri))) == [uri]


def test_an_object_that_is_not_there_is_one_request(bad_bucket: BadBucket) -> None:
    storage.write_bytes(bad_bucket.uri("there"), b"bytes", "text/plain")
    missing = [bad_bucket.uri(f"missing-{number}") for number in range(5)]
    bad_bucket.proxy.heal()
    for uri in missing:
        with pytest.raises(storage.NotFound):
            storage.read_bytes(uri)
        assert not storage.exists(uri)
    # What the library asks for beside that, it asks on threads of its own.
    time.sleep(0.2)
    asked = [operation for operation, _, _ in bad_bucket.proxy.requests]
    assert asked == ["read", "metadata"] * len(missing)


@pytest.mark.parametrize("what", [429, 500, 503, RESET, UNHEARD, CUT, CORRUPT])
def test_a_fault_that_passes_is_not_noticed(bad_bucket: BadBucket, what: Any) -> None:
    attempts: list[tuple[str, Callable[[str], bool]]] = [
        ("read", write),
        ("read", stream),
        ("write", write),
        ("create", create),
        ("delete", delete),
        ("metadata", identify),
        ("list", find),
    ]
    # Metadata and listings have no checksum.
    checked = ("read", "write", "create")
    for operation, attempt in attempts:
        if what != CORRUPT or operation in checked:
            bad_bucket.proxy.fail(what, operation, times=2)
            assert attempt(bad_bucket.uri(f"{operation}/{attempt.__name__}"))
            assert bad_bucket.proxy.pending == []


@pytest.mark.parametrize("what", [503, RESET, UNHEARD, CUT, CORRUPT])
def test_a_large_object_survives_faults_in_any_of_its_requests(
    bad_bucket: BadBucket, what: Any
) -> None:
    data, uri = os.urandom(LARGE), bad_bucket.uri("x.h5")
    # The request that begins it has the metadata, which have no checksum.
    for operation in ("chunk",) if what == CORRUPT else ("write", "chunk"):
        bad_bucket.proxy.fail(what, operation)
        storage.write_bytes(uri, data, PNG)
    bad_bucket.proxy.fail(what, "read")
    assert storage.read_bytes(uri) == data
    assert bad_bucket.proxy.pending == []


def test_a_download_that_breaks_off_is_verified_all_the_same(bad_bucket: BadBucket) -> None:
    storage.write_bytes(bad_bucket.uri("x.png"), PIXELS, PNG)
    bad_bucket.proxy.fail(CUT, "read")
    bad_bucket.proxy.fail(CORRUPT, "read")
    assert storage.read_bytes(bad_bucket.uri("x.png")) == PIXELS
    assert [what for _, _, what in bad_bucket.proxy.requests[-3:]] == [CUT, CORRUPT, None]


def test_the_first_bytes_of_a_file_are_verified_where_they_are_all(bad_bucket: BadBucket) -> None:
    storage.write_bytes(bad_bucket.uri("x.png"), PIXELS, PNG)
    bad_bucket.proxy.fail(CORRUPT, "read")
    first = storage.read_bytes(bad_bucket.uri("x.png"), first=len(PIXELS), max_bytes=1 << 20)
    assert first == PIXELS


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("what", [503, RESET])
def test_a_fault_that_lasts_is_the_jobs_trouble_within_a_bounded_time(
    bad_bucket: BadBucket, what: Any
) -> None:
    uri = bad_bucket.uri("x.png")
    storage.write_bytes(uri, PIXELS, PNG)
    bad_bucket.proxy.fail(what, times=ALWAYS)
    for attempt in (
        lambda: storage.write_bytes(uri, PIXELS, PNG),
        lambda: storage.create_bytes(uri, PIXELS, PNG),
        lambda: storage.read_bytes(uri),
        lambda: storage.exists(uri),
        lambda: list(storage.list_uris(bad_bucket.uri("images"))),
        lambda: storage.check_writable(bad_bucket.uri("out")),
    ):
        with pytest.raises(storage.StorageError, match=r"in spite of retries .*run the same"):
            attempt()


def test_waits_are_random_up_to_a_limit_that_doubles_and_three_minutes_in_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    def fail() -> None:
        raise ServiceUnavailable("as the test wants it")

    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr("time.monotonic", lambda: sum(waits))
    with pytest.raises(RetryError):
        gcs_faults.RETRY(fail)()
    assert all(0 <= wait <= min(2**n, 32) for n, wait in enumerate(waits))
    assert len({*waits}) == len(waits) >= 5
    assert 180 - 32 <= sum(waits) <= 180


@pytest.mark.parametrize("what", [STALL, STALL_HALFWAY])
def test_a_connection_that_stalls_is_given_up_and_tried_again(
    bad_bucket: BadBucket, monkeypatch: pytest.MonkeyPatch, what: Any
) -> None:
    uri = bad_bucket.uri("x.png")
    storage.write_bytes(uri, PIXELS, PNG)
    monkeypatch.setattr(gcs_faults, "TIMEOUT_SECONDS", 0.5)
    bad_bucket.proxy.fail(what, "read")
    bad_bucket.proxy.fail(what, "write")
    started = time.monotonic()
    assert storage.read_bytes(uri) == PIXELS
    storage.write_bytes(uri, PIXELS, PNG)
    assert bad_bucket.proxy.pending == []
    assert time.monotonic() - started >= 1.0


@pytest.mark.usefixtures("impatient")
def test_bytes_damaged_every_time_are_never_returned(bad_bucket: BadBucket) -> None:
    uri = bad_bucket.uri("x.png")
    storage.write_bytes(uri, PIXELS, PNG)
    bad_bucket.proxy.fail(CORRUPT, times=ALWAYS)
    for read in (storage.read_bytes, storage.open_binary):
        with pytest.raises(storage.Damaged, match="do not have its checksum however often"):
            read(uri)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("operation", "size"), [("write", len(PIXELS)), ("chunk", LARGE)])
def test_bytes_damaged_on_their_way_up_never_appear(
    bad_bucket: BadBucket, operation: str, size: int
) -> None:
    uri = bad_bucket.uri("x.png")
    storage.write_bytes(uri, b"old", PNG)
    bad_bucket.proxy.fail(CORRUPT, operation, times=ALWAYS)
    with pytest.raises(storage.StorageError, match="in spite of retries"):
        storage.write_bytes(uri, bytes(size), PNG)
    assert storage.read_bytes(uri) == b"old"


def test_an_object_is_created_once(bad_bucket: BadBucket) -> None:
    assert storage.create_bytes(bad_bucket.uri("a.json"), b"first", JSON)
    assert not storage.create_bytes(bad_bucket.uri("a.json"), b"other", JSON)
    assert not storage.create_bytes(bad_bucket.uri("a.json"), b"longer", JSON)
    assert storage.read_bytes(bad_bucket.uri("a.json")) == b"first"


def test_of_creations_at_the_same_moment_exactly_one_wins(bad_bucket: BadBucket) -> None:
    writers = 8
    barrier = threading.Barrier(writers)
    bad_bucket.proxy.fail(barrier.wait, "create", times=writers)
    with ThreadPoolExecutor(writers) as threads:

        def create(index: int) -> bool:
            return storage.create_bytes(bad_bucket.uri("a.json"), b"%d" % index, JSON)

        won = list(threads.map(create, range(writers)))
    assert won.count(True) == 1
    assert storage.read_bytes(bad_bucket.uri("a.json")) == b"%d" % won.index(True)


def test_a_creation_whose_answer_was_lost_has_succeeded(bad_bucket: BadBucket) -> None:
    bad_bucket.proxy.fail(UNHEARD, "create")
    assert storage.create_bytes(bad_bucket.uri("a.json"), b"first", JSON)
    assert [what for what, _, _ in bad_bucket.proxy.requests[-3:]] == [
        "create",
        "create",
        "metadata",
    ]


def test_an_object_replaced_while_it_is_read_is_read_anew(bad_bucket: BadBucket) -> None:
    uri = bad_bucket.uri("x.png")
    storage.write_bytes(uri, b"pixels", PNG)
    bad_bucket.proxy.fail(lambda: storage.write_bytes(uri, b"replaced", PNG), "read")
    assert storage.read_bytes(uri, max_bytes=100) == b"replaced"
    # Nor is it told to be the version that it was before.
    bad_bucket.proxy.fail(lambda: storage.write_bytes(uri, b"once more", PNG), "read")
    assert storage.read_version(uri, max_bytes=100) == (b"once more", storage.version(uri))


def test_many_threads_at_once_have_a_connection_each(
    bad_bucket: BadBucket, caplog: pytest.LogCaptureFixture
) -> None:
    readers = 24
    storage.write_bytes(bad_bucket.uri("x.png"), PIXELS, PNG)
    bad_bucket.proxy.fail(threading.Barrier(readers).wait, "read", times=readers)
    with ThreadPoolExecutor(readers) as threads:
        read = threads.map(storage.read_bytes, [bad_bucket.uri("x.png")] * readers)
        assert set(read) == {PIXELS}
    assert caplog.messages == []


def test_a_refusal_is_denied_access_or_the_jobs_trouble(bad_bucket: BadBucket) -> None:
    storage.write_bytes(bad_bucket.uri("x.png"), PIXELS, PNG)
    bad_bucket.proxy.fail(403, times=ALWAYS)
    with pytest.raises(storage.AccessDenied, match=r"grant it roles/storage\.objectViewer"):
        storage.read_bytes(bad_bucket.uri("x.png"))
    with pytest.raises(storage.StorageError, match=r"grant .* roles/storage\.objectUser on bucket"):
        storage.check_writable(bad_bucket.uri("out"))


@pytest.mark.parametrize("operation", ["write", "read", "list", "delete"])
def test_an_account_that_lacks_a_permission_is_found_out_early(
    bad_bucket: BadBucket, operation: str
) -> None:
    bad_bucket.proxy.fail(403, operation, times=ALWAYS)
    with pytest.raises(storage.StorageError, match=r"out cannot be .*, no permission"):
        storage.check_writable(bad_bucket.uri("out"))
    bad_bucket.proxy.heal()
    if operation != "delete":
        assert list(storage_gcs.client().list_blobs(bad_bucket.bucket)) == []


def test_a_trial_write_whose_end_was_not_heard_is_good(bad_bucket: BadBucket) -> None:
    bad_bucket.proxy.fail(UNHEARD, "delete")
    storage.check_writable(bad_bucket.uri("out"))
    assert list(storage_gcs.client().list_blobs(bad_bucket.bucket)) == []


def test_an_account_unknown_to_the_service_is_the_jobs_trouble(bad_bucket: BadBucket) -> None:
    bad_bucket.proxy.fail(401)
    with pytest.raises(storage.StorageError, match="no Google credentials that work"):
        storage.exists(bad_bucket.uri("x.png"))


def test_a_name_that_the_service_refuses_is_not_found(bad_bucket: BadBucket) -> None:
    bad_bucket.proxy.fail(400, "read")
    with pytest.raises(storage.NotFound):
        storage.read_bytes(bad_bucket.uri("x" * 2000))
