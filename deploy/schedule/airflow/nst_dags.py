"""Airflow: every night the catalog's new pairs, on Dataflow or on a Flink cluster.

Put this file into Airflow's DAGs folder and set the variables `nst_project`, `nst_region`,
`nst_bucket` and, for Flink, `nst_flink_master`. `nst_when_pairs_fail` says what becomes of a run
that came to its end, of which some pairs failed: `fail` (the default), `skip` or `succeed`. Both
need Airflow 3 with the packages apache-airflow-providers-google and
apache-airflow-providers-apache-beam; Dataflow a triggerer, for its task waits without a worker;
Flink `nst` on the worker that runs the task.
"""

from __future__ import annotations

import datetime
import json

from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

BUCKET = "gs://{{ var.value.nst_bucket }}"
# A retry has the name of its first try, and takes its folder.
RUN_ID = "nightly-{{ ts_nodash }}"
NO_FAILURES = {"ok", "skipped", "postponed"}
COMMON = {
    "schedule": "0 2 * * *",
    "start_date": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {"retries": 2, "retry_delay": datetime.timedelta(minutes=10)},
}


def judge(bucket: str, run_id: str, when_pairs_fail: str) -> str:
    """Tell by the run's summary whether pairs failed, which no second try would mend.

    Raises:
        AirflowFailException, AirflowSkipException: some did, or the setting is none.
    """
    place = f"stylized/runs/{run_id}"
    summary = json.loads(
        GCSHook().download(bucket_name=bucket, object_name=f"{place}/summary.json")
    )
    statuses = summary["statuses"]
    counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    if NO_FAILURES.issuperset(statuses):
        return counts or "no pairs"
    said = f"{counts}; the failed rows with their reasons: gs://{bucket}/{place}/failures.csv"
    if when_pairs_fail == "succeed":
        return said
    if when_pairs_fail == "skip":
        raise AirflowSkipException(said)
    if when_pairs_fail != "fail":
        said += f" (nst_when_pairs_fail is {when_pairs_fail!r}: give fail, skip or succeed)"
    raise AirflowFailException(said)


def judging() -> PythonOperator:
    """The task that ends a DAG: whether pairs failed."""
    return PythonOperator(
        task_id="judge",
        python_callable=judge,
        op_kwargs={
            "bucket": "{{ var.value.nst_bucket }}",
            "run_id": RUN_ID,
            "when_pairs_fail": "{{ var.value.get('nst_when_pairs_fail', 'fail') }}",
        },
    )


with DAG("nst_dataflow", **COMMON):
    stylize = DataflowStartFlexTemplateOperator(
        task_id="stylize",
        project_id="{{ var.value.nst_project }}",
        location="{{ var.value.nst_region }}",
        # Of one name, Dataflow runs one job at a time.
        append_job_name=False,
        # While the job goes on, the triggerer asks for it and no worker is held.
        deferrable=True,
        poll_sleep=60,
        body={
            "launchParameter": {
                "jobName": "nst-nightly",
                "containerSpecGcsPath": f"{BUCKET}/templates/nst.json",
                "parameters": {
                    "manifest": f"{BUCKET}/incoming/*.jsonl",
                    "output": f"{BUCKET}/stylized",
                    "weights": "imagenet",
                    "gpu": "nvidia-l4",
                    "run_id": RUN_ID,
                },
                "environment": {
                    "tempLocation": f"{BUCKET}/tmp",
                    "stagingLocation": f"{BUCKET}/staging",
                    "maxWorkers": 8,
                },
            }
        },
    )
    stylize >> judging()

with DAG("nst_flink", **COMMON):
    stylize = BashOperator(
        task_id="stylize",
        # 4, another run works on the output, is no reason to try again; 3, some pairs failed, is
        # judged by the next task.
        skip_on_exit_code=[4],
        bash_command=(
            f"nst run --manifest '{BUCKET}/incoming/*.jsonl' --output {BUCKET}/stylized "
            f"--weights imagenet --run-id {RUN_ID} --lock --log-format json "
            "--runner=FlinkRunner --flink_master={{ var.value.nst_flink_master }} "
            "--environment_type=EXTERNAL --environment_config=127.0.0.1:8083"
            " || { status=$?; [ $status -eq 3 ] || exit $status; }"
        ),
    )
    stylize >> judging()
