"""Python workers for the task managers of this machine: `python -m pipeline.runners.worker_pool`.

Beam's own pool tells workers apart by their id, which is the same for the first worker of every
task manager: where two share a machine, the first to end its worker would end the other's. Here
a worker ends when its task manager closes the connection, or is gone.

A worker executes whatever its task manager sends. So it is started only for who asks from this
machine as the pool's own user, and works only for an endpoint at which that user listens. (A Unix
socket would say as much, but Beam's Java runners bring no library that speaks one.)
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent import futures
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from nst_core.errors import ConfigError
from pipeline.runners import sockets, submission
from pipeline.worker import versions

WORKER = (
    "import sys; from apache_beam.runners.worker.sdk_worker import SdkHarness; "
    "SdkHarness(sys.argv[1], worker_id=sys.argv[2]).run()"
)
HOST = "127.0.0.1"
THREADS = 8
MOST_WORKERS = 16
# A worker uses the first alone; a task manager's others are at the same place.
_ENDPOINTS = ("control_endpoint", "logging_endpoint", "artifact_endpoint", "provision_endpoint")


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]
    """Answers task managers (Beam's `EXTERNAL` environment): a process for each worker.

    Args:
        code: what a worker's Python runs, with the endpoint and the worker's id as arguments.
        most: how many workers there may be at once.
        any_user: start workers also for other users of this machine, and for their endpoints.
    """

    def __init__(
        self, code: str = WORKER, *, most: int = MOST_WORKERS, any_user: bool = False
    ) -> None:
        self._code = code
        self._most = most
        self._any_user = any_user
        self._lock = threading.Lock()
        self._workers: list[subprocess.Popen[bytes]] = []

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Start a process that works for who asks; a gRPC error tells why it is not."""
        if not self._any_user and not self._is_own(context.peer()):
            context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"Workers are started only for processes of user {os.geteuid()} on this machine; "
                "run the task manager as that user.",
            )
        named = {name: getattr(request, name).url for name in _ENDPOINTS}
        checked = {url: self._checked(url) for url in named.values() if url}
        refused = [url for url, endpoint in checked.items() if endpoint is None]
        control = checked.get(named["control_endpoint"])
        if refused or control is None:
            context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"A worker would have to obey {(refused or [''])[0][:200]!r}, where no process of "
                f"user {os.geteuid()} on this machine listens alone; run the task manager here, "
                "as that user.",
            )
        command = [sys.executable, "-c", self._code, str(control), request.worker_id]
        with self._lock:
            # Those that have ended are taken note of, or they would stay as zombies.
            self._workers = [worker for worker in self._workers if worker.poll() is None]
            if len(self._workers) >= self._most:
                context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"There are {len(self._workers)} workers, as many as --most-workers allows; "
                    "let some end, or raise it.",
                )
            self._workers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Nothing: the worker ends with its connection."""
        return beam_fn_api_pb2.StopWorkerResponse()

    def _versions(self, request: bytes, context: Any) -> bytes:  # noqa: ARG002
        return versions.to_text(versions.here()).encode()

    def serve(self, port: int) -> int:
        """Listen at a port of 127.0.0.1 (0: a free one) until `close`; the port.

        Raises:
            ConfigError: the port is taken.
        """
        # Or a second pool would share the port in silence.
        alone = [("grpc.so_reuseport", 0)]
        self._server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=alone)
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(self, self._server)
        # Before it submits a job, nst run asks for the versions that its workers will have.
        tell = grpc.unary_unary_rpc_method_handler(self._versions)
        told = grpc.method_handlers_generic_handler(submission.SERVICE, {submission.METHOD: tell})
        self._server.add_generic_rpc_handlers((told,))
        try:
            self._port = int(self._server.add_insecure_port(f"{HOST}:{port}"))
        except RuntimeError as error:
            raise ConfigError(
                f"Nothing can listen at {HOST}:{port}: another process does; give another --port."
            ) from error
        self._server.start()
        return self._port

    def close(self) -> None:
        """Listen no longer, and end every worker."""
        self._server.stop(None)
        with self._lock:
            for worker in self._workers:
                worker.terminate()
            for worker in self._workers:
                worker.wait()

    def _is_own(self, peer: str) -> bool:
        """Whether gRPC's `ipv4:127.0.0.1:40000` is a connection of this process's user."""
        (server,) = sockets.candidates(f"{HOST}:{self._port}")
        clients = sockets.candidates(peer.removeprefix("ipv4:"))
        return [sockets.user_at(client, server) for client in clients] == [os.geteuid()]

    def _checked(self, url: str) -> sockets.Endpoint | None:
        """The address that `url` means: one at which only this process's user listens.

        `localhost` can be two addresses with a listener each; the worker is told which one.
        """
        for endpoint in sockets.candidates(url):
            if self._any_user or sockets.users_listening(endpoint) == {os.geteuid()}:
                return endpoint
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer until SIGTERM or SIGINT."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        _check(given)
        pool = WorkerPool(most=given.most_workers, any_user=given.any_user)
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        port = pool.serve(given.port)
    except ConfigError as error:
        parser.error(str(error))
    who = "anyone on this machine" if given.any_user else f"user {os.geteuid()} on this machine"
    print(f"Workers are started for {who} at {HOST}:{port}.", flush=True)
    ended.wait()
    pool.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.runners.worker_pool", allow_abbrev=False
    )
    parser.add_argument("--port", type=int, required=True, help=f"at {HOST}; 0: a free one")
    parser.add_argument(
        "--most-workers",
        type=int,
        default=MOST_WORKERS,
        metavar="N",
        help=f"most workers at once (default {MOST_WORKERS})",
    )
    parser.add_argument(
        "--allow-root",
        action="store_true",
        help="run as root: whoever commands a task manager then commands this machine",
    )
    parser.add_argument(
        "--any-user",
        action="store_true",
        help="start workers for every user of this machine: each may then do what this one may",
    )
    return parser


def _check(given: argparse.Namespace) -> None:
    """Refuse what would be dangerous without a word of the operator's.

    Raises:
        ConfigError: with that word.
    """
    if not 0 <= given.port < 65536:
        raise ConfigError(f"--port is {given.port}; give one below 65536, or 0 for a free one.")
    if given.most_workers < 1:
        raise ConfigError(f"--most-workers is {given.most_workers}; give at least 1.")
    if os.geteuid() == 0 and not given.allow_root:
        raise ConfigError(
            "Workers would run what a Flink job brings as root; start the pool and the task "
            "managers as a user without rights, or give --allow-root where only root is here "
            "(a container of its own)."
        )
    if not sockets.are_known() and not given.any_user:
        raise ConfigError(
            "This system does not tell which user a connection is of (there is no /proc/net/tcp); "
            "where all its users may do what this one may, give --any-user."
        )


if __name__ == "__main__":
    sys.exit(main())
