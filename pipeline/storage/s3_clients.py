"""Clients of S3 for Beam's filesystem: one of boto3 for each thread, not one for each call.

Beam makes a session and a client of boto3 for each call, a tenth of a second of the processor.
"""

from __future__ import annotations

import copy
import json
import os
import threading
import time
from typing import Any

from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.options.pipeline_options import PipelineOptions, S3Options

# So long credentials are kept, which somebody else may renew, in a file for instance.
SECONDS_KEPT = 300

_new_client = boto3_client.Client
_of_thread = threading.local()


def keep() -> None:
    """Let Beam's filesystem keep its clients, in this process."""
    boto3_client.Client = client


def client(options: Any) -> Any:
    """Beam's client for one call: what it keeps of a download is its own, all else the thread's."""
    if not isinstance(options, PipelineOptions):
        return _new_client(options)
    settings = json.dumps(options.view_as(S3Options).get_all_options(), default=str)
    key = settings, sorted(one for one in os.environ.items() if one[0].startswith("AWS_"))
    known, made_at = getattr(_of_thread, "key", None), getattr(_of_thread, "made_at", 0.0)
    if known != key or time.monotonic() - made_at > SECONDS_KEPT:
        _of_thread.key, _of_thread.made_at = key, time.monotonic()
        _of_thread.client = _new_client(options)
    return copy.copy(_of_thread.client)
