"""Clients of S3 for Beam's filesystem: one of boto3 for each thread, not one for each call.

Beam makes a session and a client of boto3 for each call, a tenth of a second of the processor; and
what boto3 refuses it asks again, for minutes.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import threading
import time
from typing import Any

from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.options.pipeline_options import PipelineOptions, S3Options

from pipeline.storage.uris import split_root

# So long credentials are kept, which somebody else may renew, in a file for instance.
SECONDS_KEPT = 300
# Beam takes no line break, and S3 only what UTF-8 has, so many bytes of it.
_KEY = re.compile(r"[^\n\ud800-\udfff]*")
_KEY_BYTES = 1024
# They print a traceback for each try that fails; what the last one says is in the error's sentence.
_LOUD = ("apache_beam.io.aws.s3io", "apache_beam.utils.retry")

_new_client = boto3_client.Client
_of_thread = threading.local()


def is_name(uri: str) -> bool:
    """Whether there may be a bucket, or a file in one, of this URI."""
    from botocore.handlers import VALID_BUCKET, VALID_S3_ARN

    root, key = split_root(uri)
    bucket = root.removeprefix("s3://")
    if not (VALID_BUCKET.fullmatch(bucket) or VALID_S3_ARN.fullmatch(bucket)):
        return False
    return _KEY.fullmatch(key) is not None and len(key.encode()) <= _KEY_BYTES


def keep() -> None:
    """Let Beam's filesystem keep its clients, in this process."""
    boto3_client.Client = client
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def has_credentials(options: Any) -> bool:
    """Whether boto3 finds any; without, Beam would ask again for minutes."""
    return client(options).client._request_signer._credentials is not None


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
