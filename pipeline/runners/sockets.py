"""TCP on this machine as /proc/net tells of it: which user is at the other end, or listens."""

from __future__ import annotations

import ipaddress
import pathlib
import sys
from collections.abc import Iterator
from typing import NamedTuple

_TABLES = (pathlib.Path("/proc/net/tcp"), pathlib.Path("/proc/net/tcp6"))
# While sockets come and go, a reading may miss one that stays.
_READINGS = 3
_ESTABLISHED, _LISTEN = "01", "0A"
_LOOPBACK = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Endpoint(NamedTuple):
    """An address and a port; an IPv4 address mapped into IPv6 is that IPv4 address."""

    address: IpAddress
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


class _Socket(NamedTuple):
    """One line of a table; `user` is the id of who opened it."""

    local: Endpoint
    remote: Endpoint
    state: str
    user: int


def are_known() -> bool:
    """Whether this system tells of its sockets; macOS, for one, does not."""
    return _TABLES[0].is_file()


def candidates(text: str) -> list[Endpoint]:
    """The endpoints of this machine alone that `localhost:8083`, `127.0.0.1:8083` … can mean.

    None for any other address, and for any other name: who answers for it is not known here.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        return []
    if host == "localhost":
        return [Endpoint(address, int(port)) for address in _LOOPBACK]
    try:
        address = _unmapped(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        return []
    return [Endpoint(address, int(port))] if address.is_loopback else []


def user_at(client: Endpoint, server: Endpoint) -> int | None:
    """The user whose open connection from `client` to `server` this is; None for none here."""
    for _ in range(_READINGS):
        for found in _sockets():
            if (found.local, found.remote, found.state) == (client, server, _ESTABLISHED):
                return found.user
    return None


def users_listening(at: Endpoint) -> set[int]:
    """The users whose sockets may answer at an endpoint of this machine."""
    users: set[int] = set()
    for _ in range(_READINGS):
        users |= {
            found.user
            for found in _sockets()
            if found.state == _LISTEN and found.local.port == at.port and _answers(found, at)
        }
    return users


def _answers(listener: _Socket, at: Endpoint) -> bool:
    address = listener.local.address
    # A socket of IPv6 that listens everywhere may take IPv4 too.
    everywhere = address.is_unspecified and address.version >= at.address.version
    return address == at.address or everywhere


def _sockets() -> Iterator[_Socket]:
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:  # A machine without IPv6.
            continue
        for line in lines:
            _, local, remote, state, _, _, _, user, *_ = line.split()
            yield _Socket(_endpoint(local), _endpoint(remote), state, int(user))


def _endpoint(text: str) -> Endpoint:
    """`0100007F:1F93` → 127.0.0.1, 8083: words of four bytes, each in the machine's order."""
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    step = -1 if sys.byteorder == "little" else 1
    ordered = b"".join(raw[start : start + 4][::step] for start in range(0, len(raw), 4))
    return Endpoint(_unmapped(ipaddress.ip_address(ordered)), int(port, 16))


def _unmapped(address: IpAddress) -> IpAddress:
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address
