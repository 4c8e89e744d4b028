"""What Beam's result of a job tells beside its end: the job's page, the bytes that passed."""

from __future__ import annotations

import contextlib
from typing import Any

from pipeline.job.options import RunOptions

CONSOLE = "https://console.cloud.google.com/dataflow/jobs/{region}/{id}?project={project}"
BYTES = {"bytes_read": "read", "bytes_written": "written"}


def job_of(result: Any, options: RunOptions) -> dict[str, str] | None:
    """A job's id and, on Dataflow, its page in the console; None where the runner gives no id."""
    found = None
    with contextlib.suppress(Exception):
        found = result.job_id()
    if not found:
        return None
    region, project = (
        next(iter(options.beam_values(name)), "") for name in ("--region", "--project")
    )
    job = {"id": str(found)}
    if region and project:
        job["console"] = CONSOLE.format(region=region, id=found, project=project)
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
