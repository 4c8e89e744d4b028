"""What a server on the web says of a request: what is tried again, and which error the rest is."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import ssl
import time

import aiohttp

from pipeline.storage.credentials import without_credentials
from pipeline.storage.errors import AccessDenied, NotFound, StorageError, TooLarge, Unreadable
from pipeline.storage.web_addresses import PrivateAddressError

# And all from 500 on but 501, which a server says of what it never does.
_TRANSIENT_CODES = {408, 425, 429}
_BROKEN = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientOSError,
    asyncio.TimeoutError,
    ConnectionError,
)


class TransientError(Exception):
    """The same request may succeed in a moment; `after`: seconds that the server asks to wait."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


def check_status(uri: str, status: int, reason: str | None, retry_after: str | None) -> None:
    """Raise for an answer that is no success.

    Raises:
        TransientError: it may be one in a moment.
        NotFound, AccessDenied, Unreadable: it will be none.
    """
    shown, said = without_credentials(uri), f"{status} {reason or ''}".strip()
    if status in _TRANSIENT_CODES or (status >= 500 and status != 501):
        raise TransientError(f"the server answers {said}", seconds_of(retry_after))
    if status in (404, 410):
        raise NotFound(f"{shown} does not exist, the server answers {said}: correct the URL.")
    if status in (401, 403):
        raise AccessDenied(
            f"{shown} may not be read, the server answers {said}: make the file public, renew a "
            "signature that has lapsed, or download the file and name its path."
        )
    if status != 200:
        raise Unreadable(
            f"{shown} cannot be read, the server answers {said}: correct the URL, or download the "
            "file and name its path."
        )


def seconds_of(retry_after: str | None) -> float:
    """The seconds in a header Retry-After, which has them as a number or as a time."""
    if not retry_after:
        return 0.0
    if retry_after.isascii() and retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def fault_of(uri: str, error: Exception) -> Exception:
    """What an error of the connection is: of this package's errors, or `TransientError`."""
    shown = without_credentials(uri)
    private = _private(error)
    if private is not None:
        return AccessDenied(
            f"{shown} leads to {private.address}, which is no public address, and what only this "
            "machine reaches is not asked: download the file and name its path, or, where all "
            "URLs are to be trusted, run with --allow-private-hosts."
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError) and _is_unknown(error.os_error):
        return NotFound(f"{shown} is on a host whose name is not known: correct the URL.")
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return Unreadable(
            f"{shown} cannot be read, no TLS with its server comes about ({_said(error)}): correct "
            "the URL, its port above all."
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreadable(
            f"{shown} cannot be read, its server's certificate is not trusted ({_said(error)}): "
            "correct the URL, or name a file with the authority's certificate in SSL_CERT_FILE."
        )
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return NotFound(f"{shown} is no URL that can be asked ({_said(error)}): correct it.")
    if isinstance(error, (*_BROKEN, OSError, aiohttp.ClientError)):
        return TransientError(_said(error))
    return error


def given_up(uri: str, error: TransientError, hint: str) -> StorageError:
    """The error of a request that went on failing."""
    return Unreadable(
        f"{without_credentials(uri)} cannot be read in spite of retries ({error}): check the "
        f"server and the network{hint}, and run the same command again."
    )


def too_slow(uri: str, seconds: float) -> StorageError:
    """The error of a file that did not come in time."""
    return Unreadable(
        f"{without_credentials(uri)} did not come within {seconds:g} s: make the file smaller, or "
        "download it and name its path."
    )


def too_many_bytes(uri: str, limit: int) -> StorageError:
    """The error of a file that goes on beyond the limit."""
    return TooLarge(
        f"{without_credentials(uri)} has more than {limit} bytes, which is the limit: make the "
        "file smaller or raise max_bytes."
    )


def bad_redirect(uri: str, why: str) -> StorageError:
    """The error of an answer that sends one elsewhere, where one does not go."""
    return Unreadable(
        f"{without_credentials(uri)} is redirected {why}: name the URL at which the file is."
    )


def _private(error: BaseException | None) -> PrivateAddressError | None:
    """The refusal behind an error of a connection."""
    while error is not None:
        if isinstance(error, PrivateAddressError):
            return error
        error = error.__cause__ or getattr(error, "os_error", None)
    return None


def _is_unknown(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None))
        error = error.__cause__
    return False


def _said(error: Exception) -> str:
    """The reason on one line, without an address that lets its holder in."""
    if isinstance(error, asyncio.TimeoutError) and not str(error):
        return "no answer in time"
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return inner.verify_message
    text = " ".join(str(inner).split())[:300].rstrip(".")
    return without_credentials(text) or type(error).__name__
