"""The Flex Template: its metadata, the options of `nst run` and the documentation agree."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest

from nst_core.errors import ConfigError
from pipeline import cli, template
from pipeline.job import gpus
from pipeline.job.options import RunOptions
from pipeline.runners import dataflow
from tests.deploy.conftest import DEPLOY, ROOT, StandIns
from tests.deploy.test_container import images

METADATA = json.loads((DEPLOY / "dataflow/metadata.json").read_text())
PARAMETERS = {one["name"]: one for one in METADATA["parameters"]}
BUILD = str(DEPLOY / "dataflow/build.sh")
IMAGE, PLACE = "reg.example/p/nst:3", "gs://bucket/templates/nst.json"
PUSHED = f"reg.example/p/nst@sha256:{'b' * 64}"
# What the launcher adds of its own.
OF_THE_LAUNCHER = (
    *("--runner=DataflowRunner", "--project=p", "--region=us-central1", "--job_name=nst"),
    *("--temp_location=gs://b/tmp", "--template_location=gs://b/staging/job"),
)


def options_of(parameters: dict[str, str], image: str = IMAGE) -> RunOptions:
    """The options of the run that the launcher starts with these parameters."""
    given = [f"--{name}={value}" for name, value in parameters.items()]
    options = template.options_of([*given, *OF_THE_LAUNCHER], image)
    return dataflow.completed(cli.run_options(cli.parse(["run", *options])))


def accepted(name: str, value: str) -> bool:
    """Whether Dataflow would take the value, by the parameter's patterns."""
    return all(re.fullmatch(pattern, value) for pattern in PARAMETERS[name]["regexes"])


def test_the_metadata_are_those_of_the_code() -> None:
    assert template.metadata() == METADATA, "python -m pipeline.template writes it"


def test_every_option_of_run_is_a_parameter_or_left_out_for_a_reason() -> None:
    options = {action.dest for action in cli.options_of("run")}
    assert options == {*PARAMETERS, *template.LEFT_OUT} - {template.IMAGE}


def test_the_documentation_has_every_parameter_and_no_other() -> None:
    text = (ROOT / "docs/running.md").read_text()
    table = text.partition("### The template's parameters")[2].partition("### ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(PARAMETERS)


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=PARAMETERS)
def test_every_parameter_is_described_and_has_a_pattern(parameter: dict[str, Any]) -> None:
    assert parameter["label"]
    assert parameter["helpText"]
    assert [re.compile(pattern) for pattern in parameter["regexes"]]
    assert re.fullmatch("[a-z_]+", parameter["name"])
    assert parameter["isOptional"] == (parameter["name"] not in ("output",))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("manifest", "gs://b/incoming/*.jsonl", "pairs.csv"),
        ("manifest", "gs://b/incoming.tsv", "-"),
        ("columns", "content=image_url,options.steps=steps", "content"),
        ("contents", "gs://b/c/*.jpg;gs://b/d", "gs://b/c;d"),
        ("styles", "gs://b/s", "s/*.jpg"),
        ("output", "gs://b/out", "gs://B/out"),
        ("config", "quality", "my.yaml"),
        ("config", "gs://b/mine.yaml", "/mine.yaml"),
        ("set", "image_size=640;steps=[60, 40]", "image_size"),
        ("weights", "imagenet", "vgg19.h5"),
        ("on_existing", "redo", "replace"),
        ("inputs", "trust", "ignore"),
        ("batch_size", "8", "0"),
        ("results_shards", "10", "-1"),
        ("limit", "1000", "0"),
        ("max_failures", "5%", "few"),
        ("results_format", "parquet", "csv"),
        ("allow_schemes", "gs,s3", "gs://"),
        ("program_cache", "gs://b/programs", "/programs"),
        ("run_id", "nightly-20260101T020000", "a/b"),
        ("run_id", "a.b", ".hidden"),
        ("gpu", "nvidia-l4", "nvidia-l5"),
        ("verbose", "true", "yes"),
        ("sdk_container_image", IMAGE, "IMAGE 1"),
    ],
)
def test_patterns_take_what_the_command_takes_and_nothing_else(
    name: str, good: str, bad: str
) -> None:
    assert accepted(name, good)
    assert not accepted(name, bad)


def test_every_gpu_passes_the_pattern_by_either_name() -> None:
    for gpu in gpus.GPUS.values():
        assert accepted("gpu", gpu.name)
        assert accepted("gpu", gpu.accelerator)


def test_parameters_become_the_options_of_run() -> None:
    parameters = {
        "manifest": "gs://b/incoming/*.jsonl",
        "output": "gs://b/out",
        "config": "quality",
        "set": "image_size=640;seed=3",
        "weights": "procedural",
        "on_existing": "redo",
        "batch_size": "8",
        "results_shards": "2",
        "run_id": "tonight",
        "gpu": "nvidia-l4",
        "verbose": "true",
    }
    assert all(accepted(name, value) for name, value in parameters.items())
    options = options_of(parameters)
    assert options.manifest == "gs://b/incoming/*.jsonl"
    assert (options.config.image_size, options.config.seed) == (640, 3)
    assert options.config.weights == "procedural"
    assert (options.on_existing, options.batch_size, options.results_shards) == ("redo", 8, 2)
    assert (options.run_id, options.gpu) == ("tonight", gpus.find("nvidia-l4"))
    assert options.beam_values("--template_location") == ["gs://b/staging/job"]
    assert options.beam_values("--sdk_container_image") == [IMAGE]


def test_pictures_may_be_named_in_place_of_a_manifest() -> None:
    given = ["--contents=gs://b/c/*.jpg;gs://b/d", "--styles=gs://b/s", "--columns=id=sku"]
    arguments = cli.parse(["run", *template.options_of([*given, "--output=gs://b/o"], "")])
    assert arguments.manifest is None
    assert (arguments.contents, arguments.styles) == (["gs://b/c/*.jpg", "gs://b/d"], ["gs://b/s"])
    assert arguments.columns == ["id=sku"]


def test_workers_are_started_from_the_image_that_a_parameter_names() -> None:
    parameters = {"manifest": "gs://b/m.csv", "output": "gs://b/o", "sdk_container_image": "x:1"}
    assert options_of(parameters).beam_values("--sdk_container_image") == ["x:1"]
    del parameters["sdk_container_image"]
    with pytest.raises(ConfigError, match="give --sdk_container_image"):
        options_of(parameters, "")
    given = ["--manifest=gs://b/m.csv", "--verbose=false"]
    assert [*template.options_of(given, "")] == given[:1]


def add_docker(stand_ins: StandIns, digest: str) -> None:
    """A stand-in for docker which tells what it has pushed."""
    stand_ins.add("docker", "gcloud")
    docker = stand_ins.folder / "docker"
    docker.write_text(f'{docker.read_text()}[ "$1" = image ] && echo "{digest}"\nexit 0\n')


@pytest.mark.parametrize("is_pinned", [True, False])
def test_the_build_script_builds_pushes_and_publishes(
    is_pinned: bool, stand_ins: StandIns, tmp_path: pathlib.Path
) -> None:
    add_docker(stand_ins, PUSHED)
    lock = tmp_path / "images.lock"
    lines = [f"{name}={image}@sha256:{'a' * 64}" for name, image in images().items()]
    lock.write_text("".join(f"{line}\n" for line in lines))
    how = {"NST_IMAGES_LOCK": str(lock)} if is_pinned else {"NST_UNPINNED": "1"}
    done = stand_ins.run(BUILD, IMAGE, PLACE, "imagenet", **how)
    assert done.returncode == 0, done.stderr
    build, push, _, publish = stand_ins.calls()
    assert ({*lines} <= {*build}) == is_pinned
    assert build[:2] == ["docker", "build"]
    assert build[-1] == "."
    assert {f"IMAGE={IMAGE}", "WEIGHTS=imagenet", "dataflow", IMAGE} <= {*build}
    assert push == ["docker", "push", IMAGE]
    assert publish[:5] == ["gcloud", "dataflow", "flex-template", "build", PLACE]
    options = dict(zip(publish[5::2], publish[6::2], strict=True))
    assert options == {
        "--image": PUSHED,
        "--sdk-language": "PYTHON",
        "--metadata-file": "deploy/dataflow/metadata.json",
    }


def test_the_build_script_publishes_nothing_without_a_digest(
    stand_ins: StandIns, tmp_path: pathlib.Path
) -> None:
    add_docker(stand_ins, "")
    done = stand_ins.run(BUILD, IMAGE, PLACE, NST_IMAGES_LOCK=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "has no digest" in done.stderr
    assert stand_ins.calls() == []
    done = stand_ins.run(BUILD, IMAGE, PLACE, NST_UNPINNED="1")
    assert done.returncode == 1
    assert "docker tells no digest" in done.stderr
    assert "gcloud" not in {call[0] for call in stand_ins.calls()}


@pytest.mark.parametrize(
    "arguments",
    [(), (IMAGE,), ("reg.example/p/nst", PLACE), ("reg.example/p/nst:latest", PLACE), (IMAGE, "x")],
)
def test_the_build_script_refuses_what_it_cannot_publish(
    arguments: tuple[str, ...], stand_ins: StandIns
) -> None:
    stand_ins.add("docker", "gcloud")
    done = stand_ins.run(BUILD, *arguments)
    assert done.returncode == 2
    assert "build.sh" in done.stderr
    assert stand_ins.calls() == []
