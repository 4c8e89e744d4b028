"""What Beam's result of a job tells beside its end: the job's page, the bytes that passed."""

from __future__ import annotations

import contextlib
from typing import Any

from nst_core.errors import JobError

CONSOLE = "https://console.cloud.google.com/dataflow/jobs/{region}/{id}?project={project}"
BYTES = {"bytes_read": "read", "bytes_written": "written"}


class LostJobError(JobError):
    """Nobody here hears any more of a job that was not at its end when it was last heard of."""


def wait_for(result: Any, job: dict[str, str] | None) -> None:
    """Wait for a job's end.

    Args:
        job: as of `job_of`.

    Raises:
        LostJobError: Dataflow cannot be asked any more how the job is, which goes on by itself.
    """
    try:
        result.wait_until_finish()
    except Exception as error:
        has_ended = getattr(result, "is_in_terminal_state", None)
        if has_ended is None or has_ended():
            raise
        place = job and (job.get("console") or job["id"])
        raise LostJobError(
            f"Dataflow cannot be asked any more how the job is, and it may go on there: look at "
            f"{place}, and before the same command is given again let it end or cancel it."
        ) from error


def job_of(result: Any, options: Any) -> dict[str, str] | None:
    """A job's id and, on Dataflow, its page in the console; None where the runner gives no id.

    Args:
        options: Beam's, of the pipeline: it looks up region and project that nobody gave.
    """
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    found = None
    with contextlib.suppress(Exception):
        found = result.job_id()
    if not found:
        return None
    cloud = options.view_as(GoogleCloudOptions)
    job = {"id": str(found)}
    if cloud.region and cloud.project:
        job["console"] = CONSOLE.format(region=cloud.region, id=found, project=cloud.project)
    return job


def bytes_of(result: Any) -> dict[str, int]:
    """How many bytes a job has `read` and `written`; nothing where the runner does not tell."""
    from apache_beam.metrics import MetricsFilter

    from pipeline.job.elements import NAMESPACE

    with contextlib.suppress(Exception):
        asked = MetricsFilter().with_namespace(NAMESPACE).with_names([*BYTES])
        counters = result.metrics().query(asked)["counters"]
        found = dict.fromkeys(BYTES.values(), 0)
        for counter in counters:
            found[BYTES[counter.key.metric.name]] += int(counter.result or 0)
        return found if counters else {}
    return {}
