"""With which command a person goes on from a run, or runs its failed pairs again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

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


def retry_command(
    failures: str,
    output: str,
    schemes: Sequence[str],
    *,
    private_hosts: bool,
    row_settings: Sequence[str] | None,
) -> str:
    """The command that runs the rows of a failures.csv, given by its URI, again.

    Args:
        schemes: those that the rows of the run may name; none where that is not known.
        private_hosts: whether its URLs may lead to hosts that only this machine reaches.
        row_settings: those that its rows may change; None for all.
    """
    config = storage.join(storage.directory(failures), "config.yaml")
    again = ["nst", "run", "--manifest", failures, "--output", output, "--config", config]
    # The failed rows name what the manifest named, from where the output is.
    if schemes and {*schemes} != {*default_schemes(failures, output)}:
        again += ["--allow-schemes", ",".join(schemes)]
    again += allow_options_arguments(row_settings)
    if private_hosts:
        again.append("--allow-private-hosts")
    return shlex.join(again)
