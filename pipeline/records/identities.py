"""What identifies an image that was read: its size, version and checksums, as records keep them."""

from __future__ import annotations

import dataclasses
import hashlib
from base64 import b64encode
from typing import Any, NamedTuple

import google_crc32c

from pipeline import storage
from pipeline.records.fingerprints import fingerprint, roles_of
from pipeline.records.tasks import Task


class Identity(NamedTuple):
    """One image as it was read.

    `uri`: without a signature that it may have. `mark`: which version of its file, as of
    `storage.Version`. `sha256` in hexadecimal digits, `crc32c` in base64 as Cloud Storage has it:
    by which a file that moved there is known.
    """

    uri: str
    bytes: int
    mark: str
    crc32c: str
    sha256: str

    def to_dict(self, role: str) -> dict[str, Any]:
        """As an entry of a record's `inputs`."""
        return {"role": role, **self._asdict()}


def identity_of(uri: str, data: bytes, version: storage.Version) -> Identity:
    """The identity of a file with this content."""
    checksum = google_crc32c.value(data).to_bytes(4, "big")
    return Identity(
        storage.without_credentials(uri),
        len(data),
        version.mark,
        b64encode(checksum).decode("ascii"),
        hashlib.sha256(data).hexdigest(),
    )


def identities_in(record: dict[str, Any]) -> tuple[Identity, ...] | None:
    """Those of a record's inputs; None where it has none: an earlier version wrote it.

    Raises:
        KeyError, TypeError: somebody else has.
    """
    if "inputs" not in record:
        return None
    return tuple(
        Identity(one["uri"], one["bytes"], one["mark"], one["crc32c"], one["sha256"])
        for one in record["inputs"]
    )


def identified(task: Task, read: dict[str, Identity]) -> Task:
    """The task with its fingerprint and inputs, once its images have been read, by their URIs."""
    roles = [(role, read[uri]) for role, uri in roles_of(task.pair, task.config)]
    return dataclasses.replace(
        task,
        fingerprint=fingerprint(task.recipe, (one.sha256 for _, one in roles)),
        inputs=tuple(one.to_dict(role) for role, one in roles),
    )
