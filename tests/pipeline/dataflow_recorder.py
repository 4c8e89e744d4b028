"""Dataflow's endpoint on this machine: it keeps the job that is submitted, and runs nothing."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Recorder:
    """What was submitted; `state` is how every job ends, `at_submission` what happens then."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.state = "JOB_STATE_DONE"
        self.at_submission: Callable[[dict[str, Any]], None] = lambda _: None
        self.endpoint = ""

    @contextmanager
    def serving(self) -> Iterator[Recorder]:
        """Listen on a port of its own."""
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                job = json.loads(body)
                recorder.jobs.append(job)
                recorder.paths.append(self.path)
                recorder.at_submission(job)
                self._answer({**job, "id": "2026-job-1", "currentState": recorder.state})

            def do_GET(self) -> None:
                recorder.paths.append(self.path)
                self._answer({**recorder.jobs[-1], "id": "2026-job-1"})

            def _answer(self, value: dict[str, Any]) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.endpoint = f"http://localhost:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()
