"""A thread that renews: at its beginning and end too, and no trouble of the storage ends it."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from pipeline import storage
from pipeline.runs.renewing import Renewing


def test_it_renews_between_the_first_and_the_last() -> None:
    calls: list[str] = []
    thrice = threading.Event()

    def renew() -> bool:
        calls.append("renewed")
        if calls.count("renewed") == 3:
            thrice.set()
        return True

    renewing = Renewing(
        renew,
        0.001,
        "The file",
        first=lambda: calls.append("first"),
        last=lambda: calls.append("last"),
    )
    assert thrice.wait(30)
    assert renewing.end()
    assert (calls[0], calls[-1]) == ("first", "last")
    assert {*calls[1:-1]} == {"renewed"}


def test_what_is_to_be_renewed_soon_waits_for_no_time() -> None:
    renewed = threading.Event()

    def renew() -> bool:
        renewed.set()
        return True

    renewing = Renewing(renew, 3600, "The file")
    renewing.renew_soon()
    assert renewed.wait(30)
    assert renewing.end(30)


def test_trouble_is_one_warning_for_as_long_as_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    left = 6
    through = threading.Event()

    def renew() -> bool:
        nonlocal left
        left -= 1
        if left in (5, 4, 3, 1):
            raise storage.StorageError("The bucket is away.")
        if left <= 0:
            through.set()
        return left > 0

    with caplog.at_level(logging.WARNING):
        renewing = Renewing(renew, 0.001, "The file")
        assert through.wait(30)
        assert renewing.end()
    assert caplog.messages == ["The file could not be renewed: The bucket is away."] * 2


def test_whoever_ends_it_waits_no_longer_than_he_wants() -> None:
    go_on = threading.Event()
    renewing = Renewing(lambda: go_on.wait(60), 0.001, "The file")
    time.sleep(0.05)
    began = time.monotonic()
    assert not renewing.end(0.05)
    assert time.monotonic() - began < 20
    go_on.set()
    assert renewing.end()
