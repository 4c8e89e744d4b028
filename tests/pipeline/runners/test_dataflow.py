"""Dataflow: what a job asks for as it is submitted, and options that contradict `--gpu`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.errors import ConfigError
from pipeline import cli, storage, template
from pipeline.__main__ import main
from pipeline.job import gpus
from pipeline.job.budget import Failures
from pipeline.job.options import RunOptions
from pipeline.runners import dataflow
from tests.pipeline.dataflow_recorder import Recorder

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket

IMAGE = "registry.example/nst:1"
PLACES = ("--manifest", "gs://catalog/m.csv", "--output", "gs://catalog/out")
# As in docs/running.md.
SUBMISSION = (
    *("run", *PLACES, "--weights", "procedural", "--run-id", "tonight"),
    *("--runner=DataflowRunner", "--project=proj", "--region=us-central1"),
    *("--temp_location=gs://catalog/tmp", f"--sdk_container_image={IMAGE}"),
)
HINTS = {
    "beam:resources:accelerator:v1": (
        b"type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver"
    ),
    "beam:resources:max_active_bundles_per_worker:v1": b"2",
}


@pytest.fixture
def recorder(gcs: EmulatedBucket) -> Iterator[Recorder]:
    """Dataflow, with a manifest in the bucket; a job that is done has written its summary."""
    storage.write_bytes(gcs.uri("m.csv"), b"content,style\na.png,s.png\n", "text/csv")
    summary = json.dumps({"run": "tonight", "statuses": {"ok": 1}, "pairs": 1, "failures": ""})

    def finish(_: dict[str, Any]) -> None:
        place = gcs.uri("out/runs/tonight/summary.json")
        storage.write_bytes(place, summary.encode(), "application/json")

    found = Recorder()
    found.at_submission = finish
    with found.serving():
        yield found


def submit(recorder: Recorder, *more: str) -> int:
    """The command of the documentation, sent to the recorder; its exit status."""
    return main([*SUBMISSION, f"--dataflow_endpoint={recorder.endpoint}", "--no_auth", *more])


def staged_pipeline(gcs: EmulatedBucket) -> Any:
    """The pipeline's graph as it was staged in the bucket."""
    from apache_beam.portability.api import beam_runner_api_pb2

    (uri,) = (u for u in storage.list_uris(gcs.uri("tmp")) if u.endswith("/pipeline.pb"))
    return beam_runner_api_pb2.Pipeline.FromString(storage.read_bytes(uri))


def test_a_submitted_job_asks_for_gpus_where_it_stylizes_and_nowhere_else(
    recorder: Recorder, gcs: EmulatedBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(recorder, "--gpu", "nvidia-l4", "--max_num_workers=8") == 0
    assert "Run tonight" in capsys.readouterr().out
    (job,) = recorder.jobs
    assert recorder.paths[0].startswith("/v1b3/projects/proj/locations/us-central1/jobs?")
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    assert pool["numThreadsPerWorker"] == 2
    assert pool["diskSizeGb"] == 100
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 8
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert {"no_use_multiple_sdk_containers", "use_runner_v2"} <= set(environment["experiments"])
    # Right fitting and the service option worker_accelerator exclude each other.
    assert environment.get("serviceOptions", []) == []
    assert "machineType" not in pool

    components = staged_pipeline(gcs).components
    hints = {name: dict(e.resource_hints) for name, e in components.environments.items()}
    hinted = {
        transform.unique_name: hints[transform.environment_id]
        for transform in components.transforms.values()
        if hints.get(transform.environment_id)
    }
    assert hinted == {"Stylize/ParDo(StylizeBatches)": HINTS}
    names = {transform.unique_name for transform in components.transforms.values()}
    assert "MakePages" not in names


def test_processes_that_share_a_gpu_are_asked_for_as_a_service_and_not_as_a_hint(
    recorder: Recorder, gcs: EmulatedBucket
) -> None:
    assert submit(recorder, "--gpu=nvidia-l4", "--use-nvidia-mps") == 0
    environment = recorder.jobs[0]["environment"]
    (pool,) = environment["workerPools"]
    assert pool["machineType"] == "g2-standard-8"
    assert environment["serviceOptions"] == [
        "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver;use_nvidia_mps"
    ]
    assert "no_use_multiple_sdk_containers" not in environment["experiments"]
    components = staged_pipeline(gcs).components
    assert not any(dict(one.resource_hints) for one in components.environments.values())


def test_each_process_that_shares_a_gpu_is_held_to_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nst_core.devices import device
    from pipeline.job.stylize_transforms import StylizeBatches

    limits: list[int] = []
    monkeypatch.setattr(device, "limit_gpu_memory", limits.append)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    for more in ((), ("--use-nvidia-mps",)):
        do = StylizeBatches(options_of(*more), "tonight", Failures("tonight", None))
        do.setup()
        do.teardown()
    assert limits == [int(0.85 * 24 * 1024 / 4)]


def test_options_of_one_s_own_travel_along_and_those_of_gpu_give_way(recorder: Recorder) -> None:
    own = ("--number_of_worker_harness_threads=5", "--disk_size_gb", "200")
    service = "--dataflow_service_options=enable_google_cloud_profiler"
    machine = ("--machine_type=n2-standard-4", "--experiments=use_network_tags=nst")
    assert submit(recorder, "--gpu=nvidia-h100", *own, service, *machine) == 0
    environment = recorder.jobs[0]["environment"]
    (pool,) = environment["workerPools"]
    assert (pool["numThreadsPerWorker"], pool["diskSizeGb"]) == (5, 200)
    assert pool["machineType"] == "n2-standard-4"
    assert environment["serviceOptions"] == ["enable_google_cloud_profiler"]
    assert "use_network_tags=nst" in environment["experiments"]


def test_a_job_that_fails_on_dataflow_is_one_sentence_and_status_1(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.state = "JOB_STATE_FAILED"
    recorder.at_submission = lambda _: None
    assert submit(recorder) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nst: ")]
    assert len(said) == 1
    assert said[0].startswith("nst: The job failed: Dataflow")


def test_run_json_and_status_name_the_job_and_its_page(
    recorder: Recorder, gcs: EmulatedBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(recorder) == 0
    told = json.loads(storage.read_bytes(gcs.uri("out/runs/tonight/run.json")))
    page = "https://console.cloud.google.com/dataflow/jobs/us-central1/2026-job-1?project=proj"
    assert told["job"] == {"id": "2026-job-1", "console": page}
    assert (told["runner"], told["state"], told["done"]) == ("DataflowRunner", "finished", 1)
    capsys.readouterr()
    assert main(["status", "gs://catalog/out"]) == 0
    assert f"Job: {page}\n" in capsys.readouterr().out


def test_a_job_that_goes_on_is_named_at_once(
    recorder: Recorder, gcs: EmulatedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []

    def wait(_: Any) -> None:
        until = time.monotonic() + 30  # Half of the time between two heartbeats.
        while not named and time.monotonic() < until:
            told = json.loads(storage.read_bytes(gcs.uri("out/runs/tonight/run.json")))
            named.extend([told["job"]["id"]] if told["job"] else [])

    monkeypatch.setattr(
        "apache_beam.runners.dataflow.dataflow_runner.DataflowPipelineResult.wait_until_finish",
        wait,
    )
    assert submit(recorder) == 0
    assert named == ["2026-job-1"]


def test_a_job_that_cannot_be_asked_any_more_is_said_to_go_on(
    recorder: Recorder, gcs: EmulatedBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    finish, recorder.at_submission = recorder.at_submission, lambda _: None
    # As with credentials that have expired: what asks for the job ends, and the job does not.
    recorder.state = "JOB_STATE_RUNNING"
    poll = "apache_beam.runners.dataflow.dataflow_runner.DataflowRunner.poll_for_job_completion"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poll, lambda *_: None)
        assert submit(recorder) == 1
    said = capsys.readouterr().err
    page = "https://console.cloud.google.com/dataflow/jobs/us-central1/2026-job-1?project=proj"
    assert f"it may go on there: look at {page}, and before" in said
    assert main(["status", "gs://catalog/out"]) == 5
    assert "Next: nst status gs://catalog/out --watch" in capsys.readouterr().out
    finish({})
    assert main(["status", "gs://catalog/out"]) == 0
    capsys.readouterr()

    # Nor does it with the process that waits for it.
    place = gcs.uri("out/runs/tonight/run.json")
    told = {**json.loads(storage.read_bytes(place)), "state": "running", "process": "0-0-0"}
    told["renewed_at"] = "2026-01-01T00:00:00+00:00"
    storage.write_bytes(place, json.dumps(told).encode(), "application/json")
    storage.delete(gcs.uri("out/runs/tonight/summary.json"))
    assert main(["status", "gs://catalog/out"]) == 6
    assert f"Job: {page}\nIt may go on without" in capsys.readouterr().out


def test_with_a_template_location_the_job_is_written_there_and_not_submitted(
    recorder: Recorder,
    gcs: EmulatedBucket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NST_IMAGE", IMAGE)
    place = gcs.uri("templates/nst")
    # As the launcher of the Flex Template starts it: the template's parameters, and its own.
    parameters = ("manifest=gs://catalog/*.csv", "output=gs://catalog/out", "gpu=nvidia-l4")
    more = ("weights=procedural", "set=image_size=64;steps=[3, 2]", "on_existing=redo")
    own = [one for one in SUBMISSION if one.startswith(("--runner", "--proj", "--reg", "--temp"))]
    given = [f"--{one}" for one in (*parameters, *more)]
    own += [f"--dataflow_endpoint={recorder.endpoint}", "--no_auth"]
    assert template.launch([*given, *own, f"--template_location={place}"]) == 0
    assert recorder.jobs == []
    assert f"Template: {place}" in capsys.readouterr().out
    (pool,) = json.loads(storage.read_bytes(place))["environment"]["workerPools"]
    assert pool["numThreadsPerWorker"] == 2
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    # Nobody waits for it, who would make the report.
    steps = staged_pipeline(gcs).components.transforms.values()
    assert "MakePages" in {step.unique_name for step in steps}


def options_of(*more: str, without: str = "") -> RunOptions:
    """The options of the submission with `--gpu nvidia-l4`, checked and completed."""
    given = [one for one in SUBMISSION if not (without and one.startswith(without))]
    return dataflow.completed(cli.run_options(cli.parse([*given, "--gpu=nvidia-l4", *more])))


@pytest.mark.parametrize(
    ("more", "without", "part"),
    [
        (("--set", "device=cpu"), "", "device: cpu"),
        (("--runner=DirectRunner",), "--runner", "runs on DirectRunner"),
        ((), "--runner", "runs on this process"),
        ((), "--sdk_container_image", "--sdk_container_image"),
        (
            ("--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1",),
            "",
            "worker_accelerator",
        ),
        (("--resource_hints", "accelerator=type:nvidia-l4"), "", "--resource_hints"),
        (("--machine_type=g2-standard-4",), "", "g2-standard-4"),
        (("--worker_machine_type", "a3-highgpu-8g"), "", "a3-highgpu-8g"),
        (("--flexrs_goal=COST_OPTIMIZED",), "", "FlexRS"),
        (("--experiments=x,use_multiple_sdk_containers",), "", "use_multiple_sdk_containers"),
        (
            ("--use-nvidia-mps", "--experiments=no_use_multiple_sdk_containers"),
            "",
            "several processes in a worker",
        ),
        (("--disk_size_gb=25",), "", "25"),
        (("--lock", "--template_location=gs://catalog/t"), "", "--job_name"),
        (("--manifest=pairs.csv",), "", "--manifest"),
        (("--output", "out"), "", "--output"),
        (("--program-cache", "programs"), "", "--program-cache"),
        (("--weights=vgg19.h5",), "", "weights"),
        (("--set", "init=start.png"), "", "start.png"),
        (("--gpu=nvidia-l5",), "", "nvidia-l4"),
        (("--gpu=radeon",), "", "nvidia-tesla-t4, nvidia-l4"),
    ],
)
def test_contradictory_options_are_refused_with_a_sentence(
    more: tuple[str, ...], without: str, part: str
) -> None:
    with pytest.raises(ConfigError, match=r"\A[^\n]*\Z") as refused:
        options_of(*more, without=without)
    assert part in str(refused.value)


def test_a_contradiction_is_status_2_before_anything_is_looked_at(
    capsys: pytest.CaptureFixture[str], one_sentence: Callable[[str], str]
) -> None:
    assert main(["run", *PLACES, "--gpu", "nvidia-l4"]) == 2
    assert "--runner=DataflowRunner" in one_sentence(capsys.readouterr().err)


def test_the_workers_of_a_gpu_job_stop_where_there_is_none() -> None:
    assert options_of().config.device == "gpu"
    assert options_of("--set", "device=gpu").config.device == "gpu"


def test_processes_share_no_gpu_that_nobody_asked_for() -> None:
    with pytest.raises(ConfigError, match="add --gpu TYPE"):
        dataflow.completed(cli.run_options(cli.parse([*SUBMISSION, "--use-nvidia-mps"])))


def test_machines_with_a_gpu_are_one_s_own_choice_where_processes_share_it() -> None:
    options = options_of("--use-nvidia-mps", "--machine_type=g2-standard-4")
    assert options.beam_values("--machine_type") == ["g2-standard-4"]


def test_without_gpu_the_options_stay_as_they_are() -> None:
    options = cli.run_options(cli.parse(list(SUBMISSION)))
    assert dataflow.completed(options) == options


@pytest.mark.parametrize("name", gpus.NAMES)
def test_every_gpu_has_what_belongs_together(name: str) -> None:
    gpu = gpus.find(name)
    hints = gpus.resource_hints(gpu)
    assert hints["accelerator"].split(";")[0] == f"type:{gpu.accelerator}"
    assert "install-nvidia-driver" in hints["accelerator"]
    assert gpus.find(gpu.accelerator) == gpu
