"""Which schemes there are on this machine, and what to do about those that there are not."""

from __future__ import annotations

import importlib.util

# Beam's own filesystems that want a package: its top module, and Beam's extra that brings it.
_EXTRAS = {"s3": ("boto3", "aws"), "azfs": ("azure", "azure"), "hdfs": ("hdfs", "hadoop")}
_WEB = ("http", "https", "ftp", "ftps", "sftp")
_SHOWN = 200


def missing_reason(uri: str, name: str) -> str | None:
    """Why nothing of the scheme `name` can be read or written here, as a sentence about `uri`.

    None where it can, and for a scheme of which only Beam can tell (see `unknown_reason`).
    """
    shown = _cut(uri)
    if name in _WEB:
        return (
            f"{shown} is on the web, from which nothing is read here: download the file and name "
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
            f"'apache-beam[{_EXTRAS[name][1]}]' (on every worker too), or copy the file to where "
            f"there is one. {_here()}"
        )
    return None


def unknown_reason(uri: str, name: str) -> str:
    """The sentence about `uri` where no package brings a filesystem for its scheme."""
    return (
        f"{_cut(uri)} has the scheme {name[:50]}, for which there is no filesystem here: correct "
        f"it, or copy the file to where there is one. {_here()}"
    )


def _here() -> str:
    installed = [f"{name}://" for name in _EXTRAS if _is_installed(name)]
    return f"Here are {', '.join(['local paths', 'gs://', *installed])}."


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(_EXTRAS[name][0]) is not None


def _cut(uri: str) -> str:
    return uri if len(uri) <= _SHOWN else uri[:_SHOWN] + "…"
