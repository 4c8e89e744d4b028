"""Which schemes there are on this machine, and what to do about those that there are not."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from pipeline.storage.credentials import HIDDEN, has_hidden, names_user, without_credentials

# Beam's own filesystems that want a package: its top module, and the extra that brings it.
_EXTRAS = {
    "s3": ("boto3", "nst-catalog[aws]"),
    "azfs": ("azure", "apache-beam[azure]"),
    "hdfs": ("hdfs", "apache-beam[hadoop]"),
}
# Read, never written.
WEB = ("https", "http")
_UNREAD = ("ftp", "ftps", "sftp")
_SHOWN = 200

_beam_arguments: tuple[str, ...] = ()


def name_beam_arguments(arguments: Sequence[str]) -> None:
    """With which options Beam's filesystems are used before there is a pipeline."""
    global _beam_arguments
    _beam_arguments = tuple(arguments)


def beam_arguments() -> tuple[str, ...]:
    """See `name_beam_arguments`."""
    return _beam_arguments


def missing_reason(uri: str, name: str) -> str | None:
    """Why nothing of the scheme `name` can be read or written here, as a sentence about `uri`.

    None where it can, and for a scheme of which only Beam can tell (see `unknown_reason`).
    """
    shown = _cut(uri)
    if name in WEB and names_user(uri):
        return (
            f"{shown} has a user's name or password in it, which would stand in every record: "
            "leave it out, or download the file and name its path."
        )
    if name in WEB and has_hidden(uri):
        return (
            f"{shown} has {HIDDEN} where an earlier run has hidden a signature or a key: take the "
            "row from the manifest that has it."
        )
    if name in _UNREAD:
        return (
            f"{shown} is on a server from which nothing is read here: download the file and name "
            f"its path, or copy it to a bucket. {_here()}"
        )
    if name == "data":
        return (
            f"{shown} is a picture written out as text, which is not read here: save it as a file "
            f"and name its path. {_here()}"
        )
    if name in _EXTRAS and not _is_installed(name):
        return (
            f"{shown} needs a package that is not installed here: pip install "
            f"'{_EXTRAS[name][1]}' (on every worker too), or copy the file to where there is one. "
            f"{_here()}"
        )
    return None


def unwritable_reason(uri: str) -> str:
    """The sentence about a `uri` on the web where something is to be written."""
    return (
        f"{_cut(uri)} is on the web, to which nothing is written: name a local path, or a bucket."
    )


def only_images_reason(uri: str) -> str | None:
    """The sentence about a `uri` on the web that is to be no image; None for one elsewhere."""
    if not uri.lower().startswith(tuple(f"{name}://" for name in WEB)):
        return None
    return (
        f"{_cut(uri)} is on the web, from where only images are read: download the file (curl -o "
        "NAME URL) and name its path."
    )


def unknown_reason(uri: str, name: str) -> str:
    """The sentence about `uri` where no package brings a filesystem for its scheme."""
    return (
        f"{_cut(uri)} has the scheme {name[:50]}, for which there is no filesystem here: correct "
        f"it, or copy the file to where there is one. {_here()}"
    )


def _here() -> str:
    installed = [f"{name}://" for name in _EXTRAS if _is_installed(name)]
    return f"Here are {', '.join(['local paths', 'gs://', 'https:// (only read)', *installed])}."


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(_EXTRAS[name][0]) is not None


def _cut(uri: str) -> str:
    uri = without_credentials(uri)
    return uri if len(uri) <= _SHOWN else uri[:_SHOWN] + "…"
