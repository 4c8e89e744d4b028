"""The pool that starts Python workers for task managers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import grpc
import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from pipeline.worker_pool import WorkerPool


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    """A pool whose workers only wait."""
    waiting = WorkerPool("import time; time.sleep(300)")
    yield waiting
    waiting.close()


def workers() -> list[psutil.Process]:
    """The processes that this one has started and that run."""
    found = psutil.Process().children()
    return [one for one in found if "time.sleep(300)" in " ".join(one.cmdline())]


def request(endpoint: str) -> beam_fn_api_pb2.StartWorkerRequest:
    """What a task manager sends for its first worker: all of them call it by the same id."""
    return beam_fn_api_pb2.StartWorkerRequest(worker_id="1-1", control_endpoint={"url": endpoint})


def test_one_task_manager_never_ends_the_worker_of_another(pool: WorkerPool) -> None:
    with grpc.insecure_channel(f"localhost:{pool.serve(0)}") as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        for endpoint in ("localhost:1", "localhost:2"):
            assert not stub.StartWorker(request(endpoint), timeout=60).error
        stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"), timeout=60)
    assert sorted(one.cmdline()[-2] for one in workers()) == ["localhost:1", "localhost:2"]
    pool.close()
    assert workers() == []


def test_the_pool_ends_on_sigterm_with_status_0() -> None:
    command = [sys.executable, "-m", "pipeline.worker_pool", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert "localhost:" in running.stdout.readline()
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(120) == 0
