"""Workers with other versions than whoever submits: known before, or at their first step."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import tomllib
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from nst_core.errors import ConfigError, JobError
from nst_core.identity import ENGINE_VERSION
from pipeline import cli
from pipeline.__main__ import main
from pipeline.commands import run
from pipeline.job.budget import Failures
from pipeline.job.plan_transforms import GivePlaces
from pipeline.job.stylize_transforms import StylizeBatches
from pipeline.runners import submission
from pipeline.runners.worker_pool import WorkerPool
from pipeline.worker import versions

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

ROOT = pathlib.Path(__file__).parents[3]
REAL = versions.here()
OTHER = {**REAL, "Python": "3.9", "nst-catalog": "0.0.7"}
DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >> "$0.calls"
printf '%s\\n' "{answer}"
exit {status}
"""


def options(*beam: str) -> Any:
    """The options of a run on another runner."""
    given = ("run", "--manifest", "m.csv", "--output", "o", "--runner=PortableRunner", *beam)
    return cli.run_options(cli.parse(given))


@pytest.fixture
def pool() -> Iterator[str]:
    """The address of a pool of this project's."""
    own = WorkerPool("")
    yield f"127.0.0.1:{own.serve(0)}"
    own.close()


@pytest.fixture
def other_pool() -> Iterator[str]:
    """The address of a pool in an environment of other versions."""
    answer = grpc.unary_unary_rpc_method_handler(lambda *_: versions.to_text(OTHER).encode())
    methods = {submission.METHOD: answer}
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(submission.SERVICE, methods),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def docker(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pathlib.Path]:
    """Puts a stand-in for docker first on PATH, which answers so; the file of its calls."""

    def make(answer: str, status: int = 0) -> pathlib.Path:
        path = tmp_path / "docker"
        path.write_text(DOCKER.format(answer=answer, status=status))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return tmp_path / "docker.calls"

    return make


def external(address: str) -> list[tuple[str, ...]]:
    """The ways in which a pool may be named."""
    kind = "--environment_type=EXTERNAL"
    return [
        (kind, f"--environment_config={address}"),
        (kind, "--environment_config", f'{{"url": "{address}"}}'),
        (kind, f"--environment_options=external_service_address={address}"),
    ]


def test_a_pool_of_other_versions_is_refused_with_both_sides(other_pool: str) -> None:
    for named in external(other_pool):
        with pytest.raises(ConfigError) as refused:
            submission.check_versions(options(*named))
        sentence = str(refused.value)
        assert f"The workers of {other_pool} have Python 3.9, nst-catalog 0.0.7, and" in sentence
        assert f"made with Python {REAL['Python']}, nst-catalog {REAL['nst-catalog']}" in sentence


def test_the_command_ends_with_status_2_before_anything_is_written(
    other_pool: str,
    catalog: Catalog,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    catalog.pairs()
    given = ["--runner=FlinkRunner", *external(other_pool)[0]]
    assert main([*catalog.arguments(), *given]) == 2
    assert "Python 3.9" in one_sentence(capsys.readouterr().err)
    assert not catalog.names("out")


def test_a_pool_of_the_same_versions_is_taken(pool: str) -> None:
    assert submission._of_pool(pool) == REAL
    for named in external(pool):
        submission.check_versions(options(*named))


def test_a_pool_that_cannot_be_asked_is_left_to_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submission, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        submission.check_versions(options(*external(address)[0]))
    submission.check_versions(options(*external(address)[0]))


def test_beam_s_own_image_tells_by_its_name() -> None:
    image = "apache/beam_python3.10_sdk:2.50.0"
    with pytest.raises(ConfigError, match=rf"{image} have Python 3\.10, apache-beam 2\.50\.0"):
        submission.check_versions(options(f"--sdk_container_image=mirror.example/{image}"))
    same = f"apache/beam_python{REAL['Python']}_sdk:{REAL['apache-beam']}"
    submission.check_versions(options("--sdk_container_image", same))


@pytest.mark.parametrize(
    "named",
    [
        ("--sdk_container_image=registry.example/nst:7",),
        ("--environment_type=DOCKER", "--environment_config=registry.example/nst:7"),
        (
            "--environment_type=DOCKER",
            "--environment_options=docker_container_image=registry.example/nst:7",
        ),
    ],
)
def test_an_image_that_docker_has_here_tells_by_its_label(
    named: tuple[str, ...], docker: Callable[..., pathlib.Path]
) -> None:
    calls = docker(versions.to_text(OTHER))
    with pytest.raises(ConfigError, match=r"registry\.example/nst:7 have Python 3\.9"):
        submission.check_versions(options(*named))
    assert "nst.versions" in calls.read_text()
    assert calls.read_text().startswith("image inspect ")
    docker(versions.to_text(REAL))
    submission.check_versions(options(*named))


@pytest.mark.parametrize(("answer", "status"), [("", 0), ("<no value>", 0), ("No such image", 1)])
def test_an_image_that_tells_nothing_is_left_to_the_worker(
    answer: str, status: int, docker: Callable[..., pathlib.Path]
) -> None:
    docker(answer, status)
    submission.check_versions(options("--sdk_container_image=registry.example/nst:7"))


def test_the_images_have_the_label_of_what_is_in_them() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    (label,) = re.findall(rf'^LABEL {submission.LABEL}="(.+)"$', text, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (python,) = re.findall(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)\.", text, re.MULTILINE)
    (beam,) = re.findall(r"^ARG BEAM_IMAGE=apache/beam_python[\d.]+_sdk:(\S+)", text, re.MULTILINE)
    assert versions.of_text(label) == {
        "Python": python,
        "nst-catalog": project["version"],
        "apache-beam": beam,
        "engine": ENGINE_VERSION,
    }


def test_dataflow_without_a_way_for_the_package_is_refused(
    capsys: pytest.CaptureFixture[str], one_sentence: Callable[[str], str]
) -> None:
    places = ("--manifest=gs://b/m.csv", "--output=gs://b/o", "--runner=DataflowRunner")
    assert main(["run", *places]) == 2
    sentence = one_sentence(capsys.readouterr().err)
    assert "--sdk_container_image" in sentence
    assert "--setup_file" in sentence


def test_a_worker_s_first_step_refuses_a_job_of_other_versions() -> None:
    for step in (
        GivePlaces([], OTHER),
        StylizeBatches(options(), "run", Failures("run", None)),
    ):
        step._submitter = OTHER
        with pytest.raises(
            JobError, match=rf"have Python {REAL['Python']}.* made with Python 3\.9"
        ):
            step.setup()


def test_a_job_of_other_versions_fails_before_any_pair_is_touched(
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # This process submits the job, and then works on it.
    side = {"versions": OTHER}
    wait = run._wait_for

    def work(*given: Any) -> None:
        side["versions"] = REAL
        wait(*given)

    monkeypatch.setattr(run, "_wait_for", work)
    monkeypatch.setattr(versions, "here", lambda: side["versions"])
    catalog.pairs()
    assert main([*catalog.arguments(), "--runner=FnApiRunner"]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"nst: The workers have Python {REAL['Python']}, nst-catalog ")
    assert "made with Python 3.9, nst-catalog 0.0.7" in last
    assert not [name for name in catalog.names("out") if "images/" in name or "records/" in name]


def test_what_one_side_does_not_tell_is_no_difference() -> None:
    assert versions.difference(REAL, {}) is None
    assert versions.difference({"engine": "4"}, {"Python": "3.9", "engine": "4"}) is None
    assert versions.of_text("no value = here Python=") == {}
    assert versions.of_text(versions.to_text(REAL)) == REAL
