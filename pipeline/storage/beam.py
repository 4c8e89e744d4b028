"""Every other scheme (`s3://`, `hdfs://`, …), through Beam's `FileSystems`.

Written to a temporary name, then renamed. What that is worth is up to the filesystem: an object
store copies and deletes, nothing is checksummed or retried beyond what its client does, creating
is a check and then a rename, and where a rename does not replace (HDFS) a crash in the middle of
a replacement can leave the old file under a temporary name only. Credentials and hosts come from
the pipeline's options. Importing this module imports Beam; `storage` does so at the first URI.
"""

import hashlib
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.storage import filesystems, s3_clients
from pipeline.storage.errors import (
    AccessDenied,
    NoFilesystem,
    NotFound,
    StorageError,
    missing,
    refuse_too_large,
)
from pipeline.storage.filesystems import unknown_reason
from pipeline.storage.local import spool
from pipeline.storage.uris import directory, scheme, split_root, temporary_name
from pipeline.storage.versions import Version

_PLAIN = CompressionTypes.UNCOMPRESSED


def _filesystem(uri: str, *, is_folder: bool = False) -> Any:
    """Beam's filesystem for a URI, with the pipeline's options."""
    name = scheme(uri)
    if not any(kind.scheme() == name for kind in FileSystem.get_all_subclasses()):
        raise NoFilesystem(unknown_reason(uri, name))
    if not uri.startswith(f"{name}://"):
        raise NotFound(f"{uri} has capitals in its scheme: write {name}://.")
    if FileSystems._pipeline_options is None:
        # No pipeline has been made yet, and most commands make none; some filesystems want options.
        FileSystems.set_options(PipelineOptions([*filesystems.beam_arguments()]))
    if name == "s3":
        if not s3_clients.is_name(uri):
            raise NotFound(f"{uri} is a name that nothing on S3 can have: correct the URI.")
        if not split_root(uri)[1].strip("/") and not is_folder:
            # Beam would try again for minutes.
            raise NotFound(f"{uri} is a bucket, not a file: name a file in it.")
        s3_clients.keep()
        if not s3_clients.has_credentials(FileSystems._pipeline_options):
            raise StorageError(
                f"{uri} cannot be reached, there are no AWS credentials here: set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run aws configure."
            )
    return FileSystems.get_filesystem(uri)


def _filesystem_with(uri: str) -> Any:
    """The filesystem of a file that is there. Raises NotFound."""
    filesystem = _filesystem(uri)
    if not filesystem.exists(uri):
        raise missing(uri)
    return filesystem


def _causes(error: Exception) -> list[Any]:
    """The error and, of a batch operation, those of its parts."""
    details = getattr(error, "exception_details", None)
    return [error, *(details.values() if isinstance(details, dict) else [])]


def _trouble(uri: str, error: Exception, action: str) -> StorageError:
    """The StorageError for whatever a filesystem has raised."""
    reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    return StorageError(
        f"{uri} cannot be {action} ({reason}): check the name, the permissions and Beam's options "
        f"for {scheme(uri)}://."
    )


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Turn what a filesystem says about a read into this package's errors."""
    try:
        yield
    except StorageError:
        raise
    # Each filesystem raises its own client's errors.
    except Exception as error:
        for cause in _causes(error):
            if isinstance(cause, PermissionError) or getattr(cause, "code", 0) in (401, 403):
                raise AccessDenied(
                    f"{uri} may not be read by this account: grant it read permission."
                ) from error
        raise _trouble(uri, error, "read") from error


@contextmanager
def _changing(uri: str, action: str = "written") -> Iterator[None]:
    """Turn whatever a filesystem says about a write or a listing into a StorageError."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise _trouble(uri, error, action) from error


def _is_directory(filesystem: Any, uri: str) -> bool:
    """Whether a name without bytes is a directory: Beam's metadata do not say."""
    if not filesystem.has_dirs():
        return False
    try:
        # Empty files are refused, or listed as themselves.
        return all(found.path.rstrip("/") != uri for found in filesystem._list(uri))
    except Exception:
        return False


def _open(uri: str, max_bytes: int | None = None) -> Any:
    """A filesystem's own file for reading. Raises NotFound, TooLarge."""
    filesystem = _filesystem_with(uri)
    size = filesystem.size(uri)
    if size == 0 and _is_directory(filesystem, uri):
        raise NotFound(f"{uri} is a directory, not a file: name a file.")
    refuse_too_large(uri, size, max_bytes)
    return filesystem.open(uri, compression_type=_PLAIN)


def read(uri: str, max_bytes: int | None, first: int | None) -> bytes:
    """See `storage.read_bytes`."""
    with _reading(uri), _open(uri, max_bytes) as file:
        return cast(bytes, file.read() if first is None else file.read(first))


def read_version(uri: str, max_bytes: int) -> tuple[bytes, Version]:
    """See `storage.read_version`."""
    found = version(uri)
    return read(uri, max_bytes, None), found


def version(uri: str) -> Version:
    """See `storage.version`."""
    with _reading(uri):
        # Not `match`: it takes brackets in a name for wildcards.
        found = _filesystem_with(uri).metadata(uri)
    changed = found.last_updated_in_seconds
    return Version(int(found.size_in_bytes), f"modified:{changed}" if changed else "")


def stream(uri: str) -> BinaryIO:
    """See `storage.open_binary`."""
    target = spool()
    try:
        with _reading(uri), _open(uri) as file:
            shutil.copyfileobj(file, target)
        target.seek(0)
    except BaseException:
        target.close()
        raise
    return target


def exists(uri: str) -> bool:
    """See `storage.exists`; where a filesystem does not tell them apart, a directory counts."""
    try:
        with _reading(uri):
            return bool(_filesystem(uri).exists(uri))
    except NoFilesystem:
        raise
    except NotFound:
        return False


def remove(uri: str) -> None:
    """See `storage.delete`."""
    with _changing(uri, "deleted"):
        filesystem = _filesystem(uri)
        if filesystem.exists(uri):
            filesystem.delete([uri])


def files(directory_uri: str) -> Iterator[str]:
    """See `storage.list_uris`."""
    with _changing(directory_uri, "listed"):
        filesystem = _filesystem(directory_uri, is_folder=True)
        pending = [directory_uri.rstrip("/")]
        if filesystem.has_dirs() and not filesystem.exists(pending[0]):
            return
        while pending:
            folder = pending.pop()
            # Not `match`: it takes brackets in a directory's name for wildcards, and holds all
            # results in memory. Object stores list recursively; HDFS one level, directories too.
            for found in filesystem._list(folder if filesystem.has_dirs() else folder + "/"):
                path = found.path.rstrip("/")
                if found.size_in_bytes == 0 and _is_directory(filesystem, path):
                    pending.append(path)
                elif path == found.path:
                    yield path


def _rename(filesystem: Any, temporary: str, uri: str) -> None:
    """Rename; where that does not replace, move the old file aside and bring it back on failure."""
    try:
        filesystem.rename([temporary], [uri])
    except BeamIOError:
        if not filesystem.exists(uri):
            raise
        aside = temporary_name(directory(uri))
        filesystem.rename([uri], [aside])
        try:
            filesystem.rename([temporary], [uri])
        except BaseException:
            filesystem.rename([aside], [uri])
            raise
        filesystem.delete([aside])


def _store(filesystem: Any, uri: str, source: BinaryIO, content_type: str) -> None:
    """Create a file with what `source` has. A file cut short by an exception is removed."""
    try:
        # Filesystems with directories have no content types, and say so for every file.
        kind = "application/octet-stream" if filesystem.has_dirs() else content_type
        with filesystem.create(uri, mime_type=kind, compression_type=_PLAIN) as target:
            shutil.copyfileobj(source, target)
    except BaseException:
        with suppress(Exception):
            filesystem.delete([uri])
        raise


def _publish(uri: str, source: BinaryIO, content_type: str) -> None:
    """Write beside the final name, then rename."""
    filesystem = _filesystem(uri)
    folder = directory(uri)
    if filesystem.has_dirs() and not filesystem.exists(folder):
        # Another writer may make it at the same moment.
        with suppress(BeamIOError, FileExistsError):
            filesystem.mkdirs(folder)
    temporary = temporary_name(folder)
    _store(filesystem, temporary, source, content_type)
    try:
        _rename(filesystem, temporary, uri)
    except BaseException:
        with suppress(Exception):
            filesystem.delete([temporary])
        raise


def write(uri: str, data: bytes, content_type: str) -> None:
    """See `storage.write_bytes`."""
    with _changing(uri):
        _publish(uri, io.BytesIO(data), content_type)


def create(uri: str, data: bytes, content_type: str) -> bool:
    """See `storage.create_bytes`."""
    with _changing(uri):
        if _filesystem(uri).exists(uri):
            return False
        _publish(uri, io.BytesIO(data), content_type)
        return True


@contextmanager
def writer(uri: str, content_type: str) -> Iterator[BinaryIO]:
    """See `storage.open_writer`."""
    with spool() as file:
        yield file
        file.seek(0)
        with _changing(uri):
            _publish(uri, file, content_type)


def check_writable(directory_uri: str) -> None:
    """See `storage.check_writable`."""
    with _changing(directory_uri):
        filesystem = _filesystem(directory_uri, is_folder=True)
        folder = directory_uri.rstrip("/")
        # In the nearest directory there is: deleting one again would take others' files along.
        while filesystem.has_dirs() and folder != directory(folder):
            if filesystem.exists(folder):
                break
            folder = directory(folder)
        probe = temporary_name(folder)
        _store(filesystem, probe, io.BytesIO(b"probe"), "application/octet-stream")
        filesystem.delete([probe])


def identity(uri: str) -> str:
    """See `storage.identity`; a filesystem without checksums has the file read."""
    with _reading(uri):
        filesystem = _filesystem_with(uri)
        try:
            return f"{scheme(uri)}:{filesystem.checksum(uri)}"
        except NotImplementedError:
            with _open(uri) as file:
                return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def size(uri: str) -> int:
    """See `storage.size`."""
    with _reading(uri):
        return int(_filesystem_with(uri).size(uri))
