"""What Cloud Storage says of a request: what is tried again, and which error the rest is."""

import http.client
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3
from google.api_core import exceptions as api_exceptions
from google.api_core.retry import Retry
from google.auth import exceptions as auth_exceptions
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from pipeline.storage.errors import AccessDenied, Damaged, NotFound, StorageError, missing
from pipeline.storage.uris import split_root

_LOGGER = logging.getLogger(__name__)
_FAULTS = (
    api_exceptions.GoogleAPIError,
    auth_exceptions.GoogleAuthError,
    InvalidResponse,
    DataCorruption,
    OSError,
)
# What is said of an object that may not be replaced or deleted yet.
_KEPT = re.compile("(?i)retention polic|object retention|under (active )?[a-z- ]*hold")
# 410: an upload that the service has forgotten halfway.
_TRANSIENT_CODES = {408, 410, 429, 500, 502, 503, 504}
_TRANSIENT = (
    ConnectionError,
    DataCorruption,
    auth_exceptions.TransportError,
    http.client.HTTPException,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.JSONDecodeError,
    urllib3.exceptions.HTTPError,
)


class InvalidNameError(Exception):
    """A URI names no object."""


class ReplacedError(Exception):
    """An object was replaced between a look at its size and its download."""


def _is_transient(error: Exception) -> bool:
    """Whether the same request may succeed in a moment, also because its bytes came damaged."""
    if isinstance(error, api_exceptions.BadRequest):
        # So the service refuses an upload whose bytes do not have the checksum sent with them.
        return "crc32c" in str(error).lower()
    return (
        isinstance(error, (*_TRANSIENT, ReplacedError))
        or getattr(error, "code", None) in _TRANSIENT_CODES
        or getattr(error, "retryable", False)  # what google-auth says of its own errors
    )


def _tell(error: Exception) -> None:
    _LOGGER.info("Cloud Storage is tried again: %s", _reason(error))


# Each wait is random, up to a limit that doubles. Uploads are idempotent here, since the same
# bytes are sent again. No answer for `TIMEOUT_SECONDS` is a fault: a try can outlast the whole by
# as long.
RETRY = Retry(_is_transient, initial=1.0, maximum=32.0, timeout=180.0, on_error=_tell)
TIMEOUT_SECONDS = 60.0


def split(uri: str) -> tuple[str, str]:
    """The bucket's name and what follows it."""
    root, name = split_root(uri)
    return root.partition("://")[2], name


def _reason(error: Exception) -> str:
    """What the service said, on one line."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def _wants_payer(error: Exception) -> bool:
    """Whether the bucket is one whose requests are paid by who makes them, and nobody is named."""
    return getattr(error, "code", None) == 400 and "user project" in str(error).lower()


_PAYER = "set GOOGLE_CLOUD_QUOTA_PROJECT to the project that pays for the requests"


def _trouble(uri: str, error: Exception, action: str) -> StorageError:
    """The StorageError for a fault that is not the object's own."""
    bucket, _ = split(uri)
    code = getattr(error, "code", None)
    if isinstance(error, auth_exceptions.DefaultCredentialsError | auth_exceptions.RefreshError):
        text = (
            "there are no Google credentials that work: run `gcloud auth application-default "
            "login`, or set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file"
        )
    elif isinstance(error, InvalidNameError):
        text = f"{error}: correct the URI"
    elif code == 404:
        text = f"bucket {bucket} does not exist: create it or correct the URI"
    elif _wants_payer(error):
        text = f"its bucket wants a payer ({_reason(error)}): {_PAYER}"
    elif code == 403 and _KEPT.search(str(error)):
        text = (
            f"its bucket keeps what is written ({_reason(error)}), and a run replaces and deletes "
            "files of its own: name an output in a bucket without retention and holds"
        )
    elif code in (401, 403):
        text = (
            f"no permission ({_reason(error)}): grant this account roles/storage.objectUser on "
            f"bucket {bucket}"
        )
    else:
        text = (
            f"Cloud Storage failed in spite of retries ({_reason(error)}): check the network and "
            "run the same command again"
        )
    return StorageError(f"{uri} cannot be {action}, {text}.")


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turn what the service says about a read into this package's errors."""
    try:
        yield
    except InvalidNameError as error:
        raise NotFound(f"{uri} cannot be read, {error}: correct the URI.") from error
    except _FAULTS as error:
        if isinstance(getattr(error, "cause", None), DataCorruption):
            raise Damaged(
                f"{uri} is damaged, its bytes do not have its checksum however often they are "
                "read: write it anew."
            ) from error
        code = getattr(error, "code", None)
        if code in (401, 403):
            raise AccessDenied(
                f"{uri} may not be read by this account ({_reason(error)}): "
                "grant it roles/storage.objectViewer."
            ) from error
        if code == 404:
            raise missing(uri) from error
        if _wants_payer(error):
            raise AccessDenied(
                f"{uri} may not be read without a payer ({_reason(error)}): {_PAYER}."
            ) from error
        # 400 and 414: a name that the service does not take, which no object can have.
        if code in (400, 414):
            raise NotFound(f"{uri} cannot be read ({_reason(error)}): correct the URI.") from error
        raise _trouble(uri, error, "read") from error


@contextmanager
def changing(uri: str, action: str = "written") -> Iterator[None]:
    """Turn what the service says about a write or a listing into a StorageError."""
    try:
        yield
    except (InvalidNameError, *_FAULTS) as error:
        raise _trouble(uri, error, action) from error
