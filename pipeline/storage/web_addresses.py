"""Which addresses of the network may be asked: not those of this machine and its neighbours.

A row of a manifest must not make a worker fetch what only the worker can reach: its cloud's
metadata, an administrator's page. What is checked is the very address that a connection is about
to be made to, so that neither a redirect nor a name that resolves differently each time gets past.
"""

from __future__ import annotations

import ipaddress

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
# Among the public ones, and yet each machine on Azure reaches its own host there, with its keys.
_OF_THE_HOST = ipaddress.ip_address("168.63.129.16")

_allowed = False


class PrivateAddressError(OSError):
    """A connection to an address that may not be asked.

    All have one text: where a host has several addresses, that says that they fail alike.
    """

    def __init__(self, address: str) -> None:
        super().__init__("not a public address")
        self.address = address


def allow_private(allowed: bool) -> bool:
    """Whether private addresses may be asked from now on; whether that is a change."""
    global _allowed
    changed, _allowed = _allowed != allowed, allowed
    return changed


def private_allowed() -> bool:
    """Whether private addresses may be asked."""
    return _allowed


def check_address(text: str) -> None:
    """Refuse an address that is not a public one, unless private ones are allowed.

    Raises:
        PrivateAddressError: it is not, or no address but a name or another way of writing one.
    """
    if _allowed:
        return
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError as error:
        raise PrivateAddressError(text) from error
    if not is_public(address):
        raise PrivateAddressError(str(address))


def is_public(address: _Address) -> bool:
    """Whether anybody on the internet can ask the address; also of one written within another.

    Not private, loopback, link-local, multicast, reserved, shared or for documentation, nor the
    one at which Azure's machines have their host.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address in _LOCAL_NAT64:
            return False
        if inner := _inner(address):
            return is_public(inner)
        if address.is_site_local:
            return False
    is_refused = address.is_multicast or address.is_reserved or address == _OF_THE_HOST
    return address.is_global and not is_refused


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which one of IPv6 leads."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
