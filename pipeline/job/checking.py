"""Whether a record still vouches for its image: the same recipe, and the same images read.

An input whose size and version are those of the record is the same. Otherwise its checksum says:
where that is the same too, the record is renewed, else the pair is done again.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

from pipeline import storage
from pipeline.records import marks, records
from pipeline.records.fingerprints import (
    alike_recipes,
    fingerprint,
    former_fingerprints,
    roles_of,
)
from pipeline.records.identities import Identity, identities_in
from pipeline.records.tasks import Task, sources
from pipeline.worker.weights import weights_identity

InputsMode = Literal["check", "trust"]

# Requests to a storage elsewhere at once.
THREADS = 32
# A folder elsewhere is listed where so many of its files are asked for, and given up where it has
# so many times more: a page of a listing has a thousand, and takes as long as ten requests.
LISTED_FROM = 20
LISTED_TIMES = 50
VERSIONS_KEPT = 262_144


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a pair with one record and its image.

    `done`: whether it is done, with what results repeat of the record; else `changed` says what
    has: `settings` (or weights, or the engine), or the roles of inputs. `result`: which result it
    is, as of `marks.identity_of`. `snapshots`: the names of its snapshots' files.
    """

    done: bool
    changed: str | None = None
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    result: str = ""
    snapshots: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Recorded:
    """What a record says that counts here; without `inputs` where an earlier version wrote it."""

    inputs: tuple[Identity, ...] | None
    sources: dict[str, Any]
    done: Verdict


class RecordCheck:
    """Judges records of one output; for any thread.

    Args:
        mode: `trust`: an input of the same name is the same, without a look.
        renews: whether records whose inputs are the same with another time, or at another place,
            are written anew.
    """

    def __init__(self, output: str, mode: InputsMode = "check", *, renews: bool = True) -> None:
        self.output = output
        self._mode = mode
        self._renews = renews
        self._recorded: dict[str, _Recorded | None] = {}
        self._versions: dict[str, storage.Version | None] = {}
        self._checksums: dict[str, str] = {}
        self._not_listed: set[str] = set()
        # Kept, since a thread may keep its connections; none begins before it has work.
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, "nst-checking")

    def prepare(self, several: Sequence[tuple[Task, str]]) -> None:
        """Read what `verdict` needs of these tasks and fingerprints, many files at once.

        On a disk that gains nothing: there each verdict reads for itself.
        """
        self._recorded.clear()
        if storage.scheme(self.output):
            uris = [records.record_uri(self.output, task.pair.id, mark) for task, mark in several]
            self._recorded = dict(zip(uris, self._threads.map(_read, uris), strict=True))
        if self._mode == "check":
            inputs = (uri for task, _ in several for _, uri in roles_of(task.pair, task.config))
            self._look_up({uri for uri in inputs if storage.scheme(uri)})

    def _look_up(self, uris: set[str]) -> None:
        """Find versions of files elsewhere."""
        if len(self._versions) > VERSIONS_KEPT:
            self._versions.clear()
        folders = collections.defaultdict(list)
        for uri in uris.difference(self._versions):
            folders[storage.directory(uri)].append(uri)
        for folder, wanted in folders.items():
            if len(wanted) < LISTED_FROM or folder in self._not_listed:
                continue
            found = None
            # Who may read its files may not be allowed to list a folder.
            with contextlib.suppress(storage.StorageError):
                found = storage.list_versions(folder, LISTED_TIMES * len(wanted))
            if found is None:
                self._not_listed.add(folder)
            else:
                self._versions.update({**dict.fromkeys(wanted), **found})
        remaining = [*uris.difference(self._versions)]
        if remaining:
            versions = self._threads.map(_version, remaining)
            self._versions.update(zip(remaining, versions, strict=True))

    def verdict(self, task: Task, mark: str) -> Verdict:
        """Whether the record of this fingerprint vouches for the task's image.

        Raises:
            JobError: trouble with a storage that is not about one file.
        """
        uri = records.record_uri(self.output, task.pair.id, mark)
        # Other threads prepare theirs meanwhile: then it is read here.
        try:
            recorded = self._recorded.pop(uri)
        except KeyError:
            recorded = _read(uri)
        if recorded is None:
            return Verdict(False)
        if recorded.inputs is None:
            weights = weights_identity(task.config.weights)
            if mark in former_fingerprints(task.pair, task.config, weights):
                return recorded.done
            return Verdict(False, _changed_sources(task, recorded) or "settings")
        roles = [*roles_of(task.pair, task.config)]
        is_alike = len(roles) == len(recorded.inputs)
        if not is_alike or not _is_of_recipe(task, mark, recorded.inputs):
            return Verdict(False, "settings")
        found = [
            (role, now, self._same(before, now))
            for (role, now), before in zip(roles, recorded.inputs, strict=True)
        ]
        changed = dict.fromkeys(role for role, _, identity in found if identity is None)
        if changed:
            return Verdict(False, ", ".join(changed))
        inputs = [(role, identity) for role, _, identity in found if identity]
        if self._renews and tuple(identity for _, identity in inputs) != recorded.inputs:
            self._renew(uri, task, mark, inputs)
        return recorded.done

    def _same(self, before: Identity, uri: str) -> Identity | None:
        """The identity of an input now, where it has the same bytes as before; else None."""
        # As records have it.
        named = storage.without_credentials(uri)
        is_named = before.uri == named
        if is_named and self._mode == "trust":
            return before
        try:
            now = self._version(uri)
            if now is None:
                # What is gone cannot be done again either.
                return before if is_named else None
            if now.bytes != before.bytes:
                return None
            if now.mark and now.mark == before.mark and is_named:
                return before
            if now.crc32c:
                is_same = now.crc32c == before.crc32c
            else:
                is_same = self._checksum(uri) == before.sha256
        except storage.ABOUT_ONE_FILE:
            return before if is_named else None
        return before._replace(uri=named, mark=now.mark) if is_same else None

    def _version(self, uri: str) -> storage.Version | None:
        # Other threads may forget them meanwhile.
        try:
            return self._versions[uri]
        except KeyError:
            pass
        if len(self._versions) > VERSIONS_KEPT:
            self._versions.clear()
        found = self._versions[uri] = _version(uri)
        return found

    def _checksum(self, uri: str) -> str:
        if found := self._checksums.get(uri):
            return found
        if len(self._checksums) > VERSIONS_KEPT:
            self._checksums.clear()
        with storage.open_binary(uri) as file:
            digest = hashlib.file_digest(cast(Any, file), "sha256")
        found = self._checksums[uri] = digest.hexdigest()
        return found

    def _renew(
        self, uri: str, task: Task, mark: str, inputs: Iterable[tuple[str, Identity]]
    ) -> None:
        """Write the record anew, with its inputs as they are now."""
        record = records.read_record(uri)
        if record is not None:
            place = records.place_of(task, self.output, mark)
            record |= {name: place[name] for name in ("image", "losses")}
            record["sources"] = sources(task.pair)
            record["inputs"] = [identity.to_dict(role) for role, identity in inputs]
            storage.write_bytes(uri, records.to_json(record), "application/json")


def _read(uri: str) -> _Recorded | None:
    """What counts of the record at a URI; None where there is none."""
    record = records.read_record(uri)
    try:
        if record is None:
            return None
        done = Verdict(
            True,
            summary=records.summary_of(record),
            result=marks.identity_of(record),
            snapshots=tuple(uri.rpartition("/")[2] for uri in record.get("snapshots") or ()),
        )
        return _Recorded(identities_in(record), record["sources"], done)
    except (KeyError, TypeError, AttributeError):
        return None  # Somebody else wrote it.


def _version(uri: str) -> storage.Version | None:
    try:
        return storage.version(uri)
    except storage.ABOUT_ONE_FILE:
        return None


def _is_of_recipe(task: Task, mark: str, inputs: Sequence[Identity]) -> bool:
    """Whether a fingerprint is that of a task that had read these inputs."""
    read = [one.sha256 for one in inputs]
    if fingerprint(task.recipe, read) == mark:
        return True
    others = alike_recipes(task.pair, task.config, weights_identity(task.config.weights))
    return any(fingerprint(one, read) == mark for one in others)


def _changed_sources(task: Task, recorded: _Recorded) -> str:
    """Which roles have other URIs than in a record of an earlier version."""
    now = sources(task.pair)
    before = recorded.sources
    pairs = itertools.zip_longest(now["styles"], before.get("styles", ()))
    changed = {
        "content": now["content"] != before.get("content"),
        "style": any(one != other for one, other in pairs),
    }
    return ", ".join(role for role, has_changed in changed.items() if has_changed)
