"""Schedules: what each would start is what the command, the template and Dataflow take."""

from __future__ import annotations

import json
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import types
from collections.abc import Sequence
from typing import Any, ClassVar

import kubernetes_validate
import pytest
import yaml
from google.cloud import dataflow as dataflow_api

from pipeline import cli
from pipeline.job.options import RunOptions
from pipeline.runners import dataflow
from tests.deploy.conftest import DEPLOY, ROOT, StandIns
from tests.deploy.test_template import PARAMETERS, accepted, options_of

SCHEDULE = DEPLOY / "schedule"
CACHE = "/opt/nst/weights/cache"
CREATE = str(SCHEDULE / "cloud-scheduler/create.sh")


def check_launch(body: dict[str, Any]) -> RunOptions:
    """That Dataflow would take the body; the options of the run that it starts."""
    # Refuses a field that Dataflow does not know.
    text = json.dumps(body["launchParameter"])
    launched = dataflow_api.LaunchFlexTemplateParameter.from_json(text)
    assert {*body} == {"launchParameter"}
    assert launched.container_spec_gcs_path.startswith("gs://")
    parameters = dict(launched.parameters)
    assert {"manifest", "output"} <= {*parameters} <= {*PARAMETERS}
    for name, value in parameters.items():
        assert accepted(name, value), name
    assert launched.environment.temp_location.startswith("gs://")
    return options_of(parameters)


def run_options(arguments: Sequence[str]) -> RunOptions:
    """The options of `nst run` that a schedule gives, checked as the command checks them."""
    return dataflow.completed(cli.run_options(cli.parse(list(arguments))))


def test_cloud_scheduler_s_body_launches_the_template_and_its_accounts_may_do_no_more(
    stand_ins: StandIns,
) -> None:
    stand_ins.add("gcloud")
    done = stand_ins.run(CREATE, "proj", "us-central1", "bucket", "images", "0 3 * * *")
    assert done.returncode == 0, done.stderr
    body = json.loads(stand_ins.calls_file.with_name("calls.body").read_text())
    assert check_launch(body).manifest == "gs://bucket/incoming/*.jsonl"
    account = body["launchParameter"]["environment"]["serviceAccountEmail"]
    assert account == "nst-worker@proj.iam.gserviceaccount.com"

    granted: dict[str, set[str]] = {}
    for call in stand_ins.calls():
        if "--role" in call:
            member = call[call.index("--member") + 1]
            granted.setdefault(member, set()).add(call[call.index("--role") + 1])
    assert granted == {
        "serviceAccount:nst-launcher@proj.iam.gserviceaccount.com": {
            "roles/dataflow.developer",
            "roles/iam.serviceAccountUser",
            "roles/storage.objectViewer",
        },
        f"serviceAccount:{account}": {
            "roles/dataflow.worker",
            "roles/storage.objectUser",
            "roles/artifactregistry.reader",
        },
    }
    # Only these two are the project's; the others end at the bucket, the repository, the account.
    of_the_project = [
        c for c in stand_ins.calls() if c[1:3] == ["projects", "add-iam-policy-binding"]
    ]
    assert len(of_the_project) == 2
    job = stand_ins.calls()[-1]
    assert job[1:5] == ["scheduler", "jobs", "create", "http"]
    assert job[job.index("--schedule") + 1] == "0 3 * * *"
    assert job[job.index("--uri") + 1] == (
        "https://dataflow.googleapis.com/v1b3/projects/proj/locations/us-central1/"
        "flexTemplates:launch"
    )


def test_the_script_for_cloud_scheduler_given_again_goes_on_where_it_stopped(
    stand_ins: StandIns,
) -> None:
    stand_ins.add("gcloud")
    gcloud = stand_ins.folder / "gcloud"
    # What it makes is there already.
    gcloud.write_text(gcloud.read_text() + 'case "$*" in *" create "*) exit 1 ;; esac\n')
    done = stand_ins.run(CREATE, "proj", "us-central1", "bucket", "images", "0 3 * * *")
    assert done.returncode == 0, done.stderr
    described = [call[4] for call in stand_ins.calls() if call[3] == "describe"]
    accounts = [f"nst-{name}@proj.iam.gserviceaccount.com" for name in ("launcher", "worker")]
    assert described == accounts
    *_, created, updated = stand_ins.calls()
    assert (created[3], updated[3]) == ("create", "update")
    assert created[4:] == updated[4:]
    # An account that can be neither made nor found is the end.
    gcloud.write_text(gcloud.read_text() + 'case "$*" in *" describe "*) exit 1 ;; esac\n')
    assert stand_ins.run(CREATE, "proj", "us-central1", "bucket", "images").returncode == 1


def test_the_script_for_cloud_scheduler_says_what_it_wants(stand_ins: StandIns) -> None:
    stand_ins.add("gcloud")
    done = stand_ins.run(CREATE, "proj")
    assert done.returncode == 2
    assert "PROJECT REGION BUCKET REPOSITORY" in done.stderr
    assert stand_ins.calls() == []


class Operator:
    """Any operator of Airflow's: it keeps what it was given."""

    made: ClassVar[list[Operator]] = []

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.dag = Dag.current
        self.after: list[Operator] = []
        Operator.made.append(self)

    def __rshift__(self, other: Operator) -> Operator:
        self.after.append(other)
        return other


class Dag:
    """Airflow's DAG, as far as a file of DAGs uses it."""

    current: Dag | None = None

    def __init__(self, name: str, **given: Any) -> None:
        self.name, self.given = name, given

    def __enter__(self) -> Dag:
        Dag.current = self
        return self

    def __exit__(self, *_: Any) -> None:
        Dag.current = None


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> dict[str, Operator]:
    """The operators of the file of DAGs, by their DAG, with Airflow stood in for."""
    names = {
        "airflow.sdk": {"DAG": Dag},
        "airflow.sdk.exceptions": {
            "AirflowFailException": RuntimeError,
            "AirflowSkipException": InterruptedError,
        },
        "airflow.providers.google.cloud.hooks.gcs": {"GCSHook": None},
        "airflow.providers.google.cloud.operators.dataflow": {
            "DataflowStartFlexTemplateOperator": Operator
        },
        "airflow.providers.standard.operators.bash": {"BashOperator": Operator},
        "airflow.providers.standard.operators.python": {"PythonOperator": Operator},
    }
    for name, content in names.items():
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            parent = ".".join(parts[:count])
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        vars(sys.modules[name]).update(content)
    Operator.made.clear()
    runpy.run_path(str(SCHEDULE / "airflow/nst_dags.py"))
    assert all(one.dag for one in Operator.made)
    return {
        one.dag.name: one for one in Operator.made if one.dag and one.given["task_id"] == "stylize"
    }


def filled(value: Any) -> Any:
    """A value with its templates filled in, as Airflow does."""
    filling = {
        "{{ var.value.nst_bucket }}": "bucket",
        "{{ var.value.nst_flink_master }}": "flink:8081",
        "{{ ts_nodash }}": "20260101T020000",
    }
    text = json.dumps(value)
    for template, text_of_it in filling.items():
        text = text.replace(template, text_of_it)
    return json.loads(text)


def test_airflow_launches_the_template_with_a_run_id_of_its_own(
    operators: dict[str, Operator],
) -> None:
    operator = operators["nst_dataflow"]
    options = check_launch(filled(operator.given["body"]))
    assert options.run_id == "nightly-20260101T020000"
    assert options.manifest == "gs://bucket/incoming/*.jsonl"
    assert operator.given["deferrable"]
    # Airflow refuses both.
    assert "wait_until_finished" not in operator.given
    assert not operator.given["append_job_name"]


def test_airflow_runs_the_command_on_flink_with_lock_and_json_logs(
    operators: dict[str, Operator],
) -> None:
    given = operators["nst_flink"].given
    command, _, rest = filled(given["bash_command"]).partition(" || ")
    program, *arguments = shlex.split(command)
    assert program == "nst"
    assert cli.parse(arguments).log_format == "json"
    options = run_options(arguments)
    assert (options.runner, options.lock) == ("FlinkRunner", True)
    # As the pool is started by the manual.
    (pool,) = options.beam_values("--environment_config")
    assert f"--environment_config={pool}" in (ROOT / "docs/flink.md").read_text()
    assert options.run_id == "nightly-20260101T020000"
    assert [*given["skip_on_exit_code"]] == [4]
    # What bash makes of each status, and the next task of 3: below, with Airflow itself.
    assert "-eq 3" in rest


def test_airflow_judges_each_run_by_the_summary_of_the_folder_that_it_wrote(
    operators: dict[str, Operator],
) -> None:
    for operator in operators.values():
        (judging,) = operator.after
        given = filled(judging.given["op_kwargs"])
        assert (given["bucket"], given["run_id"]) == ("bucket", "nightly-20260101T020000")
        assert "'nst_when_pairs_fail', 'fail'" in given["when_pairs_fail"]


def test_with_airflow_the_dags_load_and_a_run_whose_pairs_failed_fails(
    tmp_path: pathlib.Path,
) -> None:
    python = os.environ.get("NST_AIRFLOW_PYTHON")
    if not python:
        pytest.skip("NST_AIRFLOW_PYTHON names no Python with Airflow 3 and its providers")
    done = subprocess.run(
        [python, str(ROOT / "tests/deploy/airflow_check.py"), str(SCHEDULE / "airflow")],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "PYTHONPATH": "",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["errors"] == {}
    assert found["tasks"] == {name: ["stylize", "judge"] for name in ("nst_dataflow", "nst_flink")}
    assert found["after"] == ["judge", "judge"]
    assert (found["deferrable"], found["waits"]) == (True, False)
    assert found["statuses"] == [0, 1, 2, 0, 4]
    said = "2 input_not_found, 3 ok; the failed rows with their reasons: "
    said += "gs://bucket/stylized/runs/nightly-1/failures.csv"
    assert found["judged"] == {
        "good": "succeeds: 3 ok, 1 postponed, 9 skipped",
        "fail": f"fails: {said}",
        "skip": f"skips: {said}",
        "succeed": f"succeeds: {said}",
        "x": f"fails: {said} (nst_when_pairs_fail is 'x': give fail, skip or succeed)",
    }


def test_airflow_does_not_run_two_at_once_nor_catches_up(operators: dict[str, Operator]) -> None:
    for operator in operators.values():
        dag = operator.dag
        assert dag
        assert (dag.given["max_active_runs"], dag.given["catchup"]) == (1, False)
        assert dag.given["default_args"]["retries"] > 0


def test_kubernetes_runs_the_command_on_one_gpu_without_root() -> None:
    text = (SCHEDULE / "kubernetes/cronjob.yaml").read_text()
    found = yaml.safe_load(text.replace("BUCKET", "bucket"))
    assert (found["kind"], found["apiVersion"]) == ("CronJob", "batch/v1")
    assert found["spec"]["concurrencyPolicy"] == "Forbid"
    job = found["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    # Kubernetes puts in the job's name, of lower-case letters, digits and dashes.
    arguments = [one.replace("$(JOB_NAME)", "nst-nightly-1") for one in container["args"]]
    label = container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"]
    assert (container["env"][0]["name"], label) == (
        "JOB_NAME",
        "metadata.labels['batch.kubernetes.io/job-name']",
    )
    options = run_options(arguments)
    assert options.run_id == "nst-nightly-1"
    assert options.manifest == "gs://bucket/incoming/*.jsonl"
    assert (options.lock, options.config.device) == (True, "gpu")
    assert cli.parse(arguments).log_format == "json"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["restartPolicy"] == "Never"
    (rule,) = [r for r in job["podFailurePolicy"]["rules"] if r["action"] == "FailJob"]
    assert rule["onExitCodes"]["values"] == [2, 3, 4]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    (verify,) = pod["initContainers"]
    assert "nst weights verify" in verify["command"][-1]


def cron_job() -> dict[str, Any]:
    """The CronJob, with its place-holders filled in."""
    text = (SCHEDULE / "kubernetes/cronjob.yaml").read_text()
    found = yaml.safe_load(text.replace("BUCKET", "bucket").replace("IMAGE", "reg.example/nst:1"))
    assert isinstance(found, dict)
    return found


def test_kubernetes_takes_the_cron_job_with_no_field_that_it_does_not_know() -> None:
    kubernetes_validate.validate(cron_job(), kubernetes_validate.latest_version(), strict=True)
    spoiled = cron_job()
    spoiled["spec"]["jobTemplate"]["spec"]["activeDeadline"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoiled, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_bounds_a_night_and_tries_again_only_what_may_end_otherwise() -> None:
    job = cron_job()["spec"]["jobTemplate"]["spec"]
    assert 0 < job["activeDeadlineSeconds"] < 24 * 3600
    assert 0 < job["backoffLimit"] <= 6
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    # SIGTERM, and then time to say what is done.
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] >= 30
    ignored, final = job["podFailurePolicy"]["rules"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == (
        "Ignore",
        "DisruptionTarget",
    )
    assert (final["action"], final["onExitCodes"]["operator"]) == ("FailJob", "In")


def test_kubernetes_lets_nothing_be_written_but_cache_and_temporary_files() -> None:
    pod = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert all("sizeLimit" in one["emptyDir"] for one in volumes.values())
    for container in (*pod["containers"], *pod["initContainers"]):
        confined = container["securityContext"]
        assert confined["readOnlyRootFilesystem"]
        assert not confined["allowPrivilegeEscalation"]
        assert confined["capabilities"] == {"drop": ["ALL"]}
        mounted = {one["mountPath"] for one in container["volumeMounts"]}
        assert mounted == {CACHE, "/tmp"}
        assert {one["name"] for one in container["volumeMounts"]} == {*volumes}
        homes = [one["value"] for one in container["env"] if one["name"] == "HOME"]
        assert homes == ["/tmp"]
    assert f"NST_CACHE={CACHE}" in (DEPLOY / "Dockerfile").read_text()


def test_schedules_end_with_a_newline_and_name_no_account() -> None:
    for path in SCHEDULE.rglob("*.*"):
        if path.is_file() and "__pycache__" not in path.parts:
            text = path.read_text()
            assert text.endswith("\n")
            assert not re.search(r"AIza|BEGIN PRIVATE KEY", text)
