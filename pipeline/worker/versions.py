"""The versions that a job's two sides, who submits it and who works on it, must have in common."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Mapping

from nst_core.errors import JobError
from nst_core.identity import ENGINE_VERSION

Versions = Mapping[str, str]

# Beam sends code and elements in forms of the Python and of the Beam that made them.
_PACKAGES = ("nst-catalog", "apache-beam")


@functools.cache
def here() -> Versions:
    """This process's: Python's minor one, this package's, its engine's and Beam's.

    Those of packages that are not installed (a folder on PYTHONPATH) are left out.
    """
    found = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "engine": ENGINE_VERSION}


def to_text(versions: Versions) -> str:
    """As pools of workers answer, and as labels of images have it: `Python=3.11 engine=4`."""
    return " ".join(f"{name}={version}" for name, version in versions.items())


def of_text(text: str) -> Versions:
    """What `to_text` has written; of anything else, nothing."""
    words = [word.partition("=") for word in text.split()]
    return {name: version for name, _, version in words if version}


def difference(submitter: Versions, workers: Versions) -> str | None:
    """What both sides tell and tell differently, as a phrase of two sides; None: nothing."""
    names = [name for name in submitter if workers.get(name, submitter[name]) != submitter[name]]
    if not names:
        return None
    sides = [", ".join(f"{name} {side[name]}" for name in names) for side in (workers, submitter)]
    return f"have {sides[0]}, and the job was made with {sides[1]}"


def check_worker(submitter: Versions) -> None:
    """A worker's first step: refuse a job that was made with other versions than its own.

    Raises:
        JobError: with both sides' versions.
    """
    if found := difference(submitter, here()):
        raise JobError(
            f"The workers {found}; start them from the same environment or image as the job."
        )
