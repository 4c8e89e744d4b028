"""`O/catalog.json`: what all runs of an output have to agree on.

That is how ids are made for rows that have none. Earlier versions made them from absolute URIs, and
wrote no such file: where their records are, ids go on being made so, and what is done stays done.
"""

from __future__ import annotations

import json

from nst_core.errors import JobError
from pipeline import storage
from pipeline.records.reading import read_each, record_names

NAMES, URIS = "names", "uris"


def has_absolute_ids(output: str) -> bool:
    """Whether ids of this output are made from absolute URIs. Writes nothing.

    Raises:
        JobError: the file is damaged, or the storage has trouble.
    """
    uri = _uri(output)
    try:
        data = storage.read_bytes(uri)
    except storage.NotFound:
        return _is_of_earlier_version(output)
    try:
        made_from = json.loads(data)["ids_from"]
    except (ValueError, KeyError, TypeError):
        made_from = None
    if made_from not in (NAMES, URIS):
        raise JobError(
            f"{uri} does not say from what the ids of this output are made; put "
            f'{{"ids_from": "{NAMES}"}} there, or "{URIS}" where an earlier version began it.'
        )
    return bool(made_from == URIS)


def _is_of_earlier_version(output: str) -> bool:
    """Whether an output without this file was begun before there was one: else it was lost.

    Records have had `inputs` for as long; where none can be read, a checkpoint is taken for one
    of an earlier version.
    """
    is_known = False
    for _, is_earlier in read_each(
        output, record_names(output), lambda one, _: "inputs" not in one
    ):
        if is_earlier:
            return True
        is_known = is_known or is_earlier is not None
    checkpoints = storage.list_uris(storage.join(output, "checkpoints"))
    return not is_known and any(True for _ in checkpoints)


def keep(output: str, *, absolute_ids: bool) -> None:
    """Say so for all later runs, unless it is said already. Raises JobError."""
    said = {"ids_from": URIS if absolute_ids else NAMES}
    storage.create_bytes(_uri(output), json.dumps(said).encode() + b"\n", "application/json")


def _uri(output: str) -> str:
    return storage.join(output, "catalog.json")
