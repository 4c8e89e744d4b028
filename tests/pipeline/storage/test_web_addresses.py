"""Addresses that nobody on the internet can ask: refused, however they are written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.storage.web_addresses import PrivateAddressError, allow_private, check_address

PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.1.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2001:db8::1",
    "2001::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
# Ways of writing 127.0.0.1 that the system takes too.
DISGUISED = ["2130706433", "127.1", "0x7f000001", "0177.0.0.1", "localhost"]


@pytest.fixture(autouse=True)
def _not_allowed() -> Iterator[None]:
    allow_private(False)
    yield
    allow_private(False)


@pytest.mark.parametrize("address", [*PRIVATE, *DISGUISED])
def test_what_only_this_machine_reaches_is_refused(address: str) -> None:
    with pytest.raises(PrivateAddressError):
        check_address(address)
    allow_private(True)
    check_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_everybody_reaches_is_not(address: str) -> None:
    check_address(address)
