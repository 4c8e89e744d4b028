"""For a Python that has Airflow: imports the DAGs as Airflow does and tells of them as JSON."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import types

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

DAGS = pathlib.Path(sys.argv[1])


def judged(judge: types.FunctionType, statuses: dict[str, int], when_pairs_fail: str) -> str:
    """How a run with these statuses is judged, and where its summary was looked for."""
    asked = []

    class Hook:
        """Stands for Cloud Storage."""

        def download(self, bucket_name: str, object_name: str) -> bytes:
            """The summary."""
            asked.append(f"{bucket_name}/{object_name}")
            return json.dumps({"statuses": statuses}).encode()

    judge.__globals__["GCSHook"] = Hook
    try:
        found = f"succeeds: {judge('bucket', 'nightly-1', when_pairs_fail)}"
    except AirflowFailException as error:
        found = f"fails: {error}"
    except AirflowSkipException as error:
        found = f"skips: {error}"
    assert asked == ["bucket/stylized/runs/nightly-1/summary.json"]
    return found


def command_status(command: str, status: int) -> int:
    """The exit status of the command, where `nst` has ended with this one."""
    script = f"nst() {{ return {status}; }}\n{command}"
    return subprocess.run(["bash", "-c", script], check=False).returncode


bag = DagBag(dag_folder=str(DAGS))
judge = bag.dags["nst_dataflow"].get_task("judge").python_callable
stylize = bag.dags["nst_dataflow"].get_task("stylize")
flink = bag.dags["nst_flink"].get_task("stylize")
mixed = {"ok": 3, "input_not_found": 2}
print(
    json.dumps(
        {
            "errors": {str(path): str(error) for path, error in bag.import_errors.items()},
            "tasks": {name: [one.task_id for one in dag.tasks] for name, dag in bag.dags.items()},
            "after": sorted(stylize.downstream_task_ids) + sorted(flink.downstream_task_ids),
            "deferrable": stylize.deferrable,
            "waits": stylize.wait_until_finished,
            "skips": flink.skip_on_exit_code,
            "statuses": [command_status(flink.bash_command, n) for n in (0, 1, 2, 3, 4)],
            "judged": {
                "good": judged(judge, {"ok": 3, "skipped": 9, "postponed": 1}, "fail"),
                **{name: judged(judge, mixed, name) for name in ("fail", "skip", "succeed", "x")},
            },
        }
    )
)
