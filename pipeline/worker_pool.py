"""Starts Python workers for the task managers of this machine: `python -m pipeline.worker_pool`.

Beam's own pool tells workers apart by their id, which is the same for the first worker of every
task manager: where two share a machine, the first to end its worker would end the other's. Here
a worker ends when its task manager closes the connection, or is gone. And only this machine can
ask for workers.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent import futures
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

WORKER = (
    "import sys; from apache_beam.runners.worker.sdk_worker import SdkHarness; "
    "SdkHarness(sys.argv[1], worker_id=sys.argv[2]).run()"
)
THREADS = 8


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]
    """Answers task managers (Beam's `EXTERNAL` environment): a process for each worker.

    Args:
        code: what a worker's Python runs, with the endpoint and the worker's id as arguments.
    """

    def __init__(self, code: str = WORKER) -> None:
        self._code = code
        self._lock = threading.Lock()
        self._workers: list[subprocess.Popen[bytes]] = []

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Start a process that works for who asks."""
        endpoint = request.control_endpoint.url
        command = [sys.executable, "-c", self._code, endpoint, request.worker_id]
        with self._lock:
            # Those that have ended are taken note of, or they would stay as zombies.
            self._workers = [worker for worker in self._workers if worker.poll() is None]
            self._workers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Nothing: the worker ends with its connection."""
        return beam_fn_api_pb2.StopWorkerResponse()

    def serve(self, port: int) -> int:
        """Listen at a port of localhost (0: a free one) until `close`; the port."""
        self._server = grpc.server(futures.ThreadPoolExecutor(THREADS))
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(self, self._server)
        chosen = self._server.add_insecure_port(f"localhost:{port}")
        self._server.start()
        return int(chosen)

    def close(self) -> None:
        """Listen no longer, and end every worker."""
        self._server.stop(None)
        with self._lock:
            for worker in self._workers:
                worker.terminate()
            for worker in self._workers:
                worker.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.worker_pool", allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True, help="at localhost; 0: a free one")
    port = parser.parse_args(arguments).port
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    pool = WorkerPool()
    print(f"Workers are started for who asks at localhost:{pool.serve(port)}.", flush=True)
    ended.wait()
    pool.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
