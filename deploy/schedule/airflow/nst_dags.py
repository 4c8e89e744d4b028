"""Airflow: every night the catalog's new pairs, on Dataflow or on a Flink cluster.

Put this file into Airflow's DAGs folder and set the variables `nst_project`, `nst_region`,
`nst_bucket` and, for Flink, `nst_flink_master`. Dataflow needs the package
apache-airflow-providers-google; Flink needs `nst` on the worker that runs the task.
"""

from __future__ import annotations

import datetime

from airflow import DAG
from airflow.providers.google.cloud.operators.dataflow import DataflowStartFlexTemplateOperator
from airflow.providers.standard.operators.bash import BashOperator

BUCKET = "gs://{{ var.value.nst_bucket }}"
# A retry has the name of its first try, and takes its folder.
RUN_ID = "nightly-{{ ts_nodash }}"
COMMON = {
    "schedule": "0 2 * * *",
    "start_date": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {"retries": 2, "retry_delay": datetime.timedelta(minutes=10)},
}

with DAG("nst_dataflow", **COMMON):
    DataflowStartFlexTemplateOperator(
        task_id="stylize",
        project_id="{{ var.value.nst_project }}",
        location="{{ var.value.nst_region }}",
        # Of one name, Dataflow runs one job at a time.
        append_job_name=False,
        wait_until_finished=True,
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

with DAG("nst_flink", **COMMON):
    # 3, some pairs failed, and 4, another run works on the output, are no reason to try again.
    BashOperator(
        task_id="stylize",
        skip_on_exit_code=[3, 4],
        bash_command=(
            f"nst run --manifest '{BUCKET}/incoming/*.jsonl' --output {BUCKET}/stylized "
            f"--weights imagenet --run-id {RUN_ID} --lock --log-format json "
            "--runner=FlinkRunner --flink_master={{ var.value.nst_flink_master }} "
            "--environment_type=EXTERNAL --environment_config=localhost:50000"
        ),
    )
