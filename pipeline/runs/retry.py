"""With which command a person goes on from a run, or runs its failed pairs again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline import storage
from pipeline.pairs.row_settings import allow_options_arguments
from pipeline.pairs.schemes import default_schemes

_FAILURES = re.compile(r"/runs/(?P<run>[^/]+)/failures\.csv")

GOES_ON = "the same command goes on where this run ended"
_GOING_ON = {
    "redo": "the same command, with --on-existing redo, begins with the first pair again",
    "error": "the same command with --on-existing skip goes on where this run ended",
}


def going_on(on_existing: str) -> str:
    """How a person goes on from a run that ends early, as the last words of its sentence."""
    return _GOING_ON.get(on_existing, GOES_ON)


def retried_runs(run: str, manifests: Mapping[str, str]) -> Iterator[str]:
    """The run whose failures this run retries, the run whose failures that one retried, and so on.

    Args:
        manifests: the URI of the manifest of each run, by the runs' names.
    """
    seen = {run}
    while found := _FAILURES.search(manifests[run]):
        run = found["run"]
        if run in seen or run not in manifests:
            return
        seen.add(run)
        yield run


class Allowed(NamedTuple):
    """What the rows of a run may do, and those of its retry too.

    `schemes` that they may name, None where that is not known; `settings` that they may change,
    None for all; whether their URLs may lead to hosts that only this machine reaches.
    """

    schemes: Sequence[str] | None
    settings: Sequence[str] | None
    private_hosts: bool


def allowed_in(told: Mapping[str, Any]) -> Allowed:
    """What a run tells of it in its run.json; one of an earlier version does not tell all."""
    schemes, settings = (
        [str(name) for name in found] if isinstance(found := told.get(key), list) else None
        for key in ("schemes", "row_settings")
    )
    return Allowed(schemes, settings, told.get("private_hosts") is True)


def retry_command(failures: str, output: str, allowed: Allowed) -> str:
    """The command that runs the rows of a failures.csv, given by its URI, again."""
    config = storage.join(storage.directory(failures), "config.yaml")
    again = ["nst", "run", "--manifest", failures, "--output", output, "--config", config]
    # The failed rows name what the manifest named, from where the output is.
    if allowed.schemes and {*allowed.schemes} != {*default_schemes(failures, output)}:
        again += ["--allow-schemes", ",".join(allowed.schemes)]
    again += allow_options_arguments(allowed.settings)
    if allowed.private_hosts:
        again.append("--allow-private-hosts")
    return shlex.join(again)
