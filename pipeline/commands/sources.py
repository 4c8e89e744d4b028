"""What a job's rows come from: files, standard input, or every content with every style."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import dataclasses
import hashlib
import io
import os
import shlex
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence

from nst_core.errors import ConfigError
from pipeline import storage
from pipeline.commands.picture_files import find_both, find_pictures
from pipeline.job.options import HERE, RunOptions, require_utf8
from pipeline.manifest.columns import ManifestError
from pipeline.manifest.reading import STANDARD_INPUT, Reading, parse_columns
from pipeline.manifest.writing import content_type_of, crossed, write_manifest
from pipeline.pairs.schemes import scheme_name
from pipeline.runs.reports import Place

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_COPIED_AT_ONCE = 1 << 20
_LONGEST_NAME = 300


@contextlib.contextmanager
def with_rows(options: RunOptions, arguments: argparse.Namespace) -> Iterator[RunOptions]:
    """The options with what their rows come from.

    Rows that no file has are in a temporary one, which is gone at the end; see `keep`.

    Raises:
        ConfigError: what is given contradicts itself, or a glob or folder has no picture,
            or `--id` makes no ids, or one twice.
        ManifestError: standard input cannot be read, or a name cannot be written.
    """
    contents, styles, columns = arguments.contents, arguments.styles, arguments.columns
    _refuse_contradictions(arguments)
    reading = Reading(columns=parse_columns(columns))
    if contents:
        with _temporary(".jsonl") as path:
            reading = _crossed(contents, styles, arguments.id, path)
            yield dataclasses.replace(options, manifest=path, reading=reading)
        return
    if styles:
        pictures, left_out = find_pictures(styles)
        reading = dataclasses.replace(
            reading,
            styles=tuple(map(require_utf8, pictures)),
            more=f" {_named('--styles', styles)}",
            schemes=tuple({scheme_name(uri) for uri in pictures}),
            notes=tuple(left_out),
        )
    if arguments.manifest != STANDARD_INPUT:
        yield dataclasses.replace(options, reading=reading)
        return
    with _standard_input() as (path, name):
        base = storage.resolve("manifest" + _extension_of(path), HERE)
        reading = dataclasses.replace(reading, name=name, base=base)
        yield dataclasses.replace(options, manifest=path, reading=reading)


def keep(options: RunOptions, place: Place) -> RunOptions:
    """Where no file has the rows, put them into the run's folder: every worker reads them there.

    Raises:
        StorageError: they cannot be written.
    """
    if options.reading.name is None:
        return options
    kept = place.uri("manifest" + _extension_of(options.manifest))
    with (
        open(options.manifest, "rb") as rows,
        storage.open_writer(kept, content_type_of(kept)) as copy,
    ):
        shutil.copyfileobj(rows, copy, _COPIED_AT_ONCE)
    os.remove(options.manifest)
    return dataclasses.replace(options, manifest=kept)


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    given, contents = arguments.manifest is not None, bool(arguments.contents)
    if given and contents:
        raise ConfigError(
            "--contents makes rows of pictures, and --manifest has rows: leave one of them out; "
            "--styles alone gives the rows of a manifest their styles."
        )
    if contents and not arguments.styles:
        raise ConfigError("--contents is given without --styles; name the styles too.")
    if not given and not contents:
        raise ConfigError(
            "Nothing says which pairs there are; give --manifest M, or --contents GLOB --styles "
            "GLOB for every content with every style."
        )
    if contents and arguments.columns:
        raise ConfigError("--columns is of a manifest, and there is none; leave it out.")
    if arguments.id is not None and not contents:
        raise ConfigError(
            "--id is for the rows that --contents makes, and those of a manifest have their own; "
            "leave it out, or name their column with --columns id=NAME."
        )


def _crossed(
    contents: Sequence[str], styles: Sequence[str], template: str | None, path: str
) -> Reading:
    """Write the rows of every content with every style as `nst manifest` would in this folder."""
    found, found_styles, left_out = find_both(contents, styles)
    base = storage.resolve("manifest.jsonl", HERE)
    write_manifest(path, crossed(found, found_styles, template), base)
    ids = "" if template is None else f" {shlex.join(['--id', template])}"
    schemes = {scheme_name(uri) for uri in (*found, *found_styles)}
    return Reading(
        base=base,
        name=f"{_named('--contents', contents)} {_named('--styles', styles)}{ids}",
        schemes=tuple(sorted(schemes)),
        notes=tuple(left_out),
    )


def _named(option: str, names: Sequence[str]) -> str:
    """An option with its absolute names; the start of them where a shell has expanded a glob."""
    text = shlex.join([option, *(storage.resolve(name, HERE) for name in names)])
    if len(text) <= _LONGEST_NAME:
        return text
    checksum = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{text[:_LONGEST_NAME]}… ({len(names)} names, sha256:{checksum})"


def _extension_of(path: str) -> str:
    """That of a temporary file: `.csv.gz`."""
    _, dot, extension = os.path.basename(path).partition(".")
    return dot + extension


def _extension(start: bytes) -> str:
    """The extension of a manifest that begins so."""
    packed = start.startswith(GZIP)
    if packed:
        with contextlib.suppress(zlib.error):
            # As much as there is of it, which ends somewhere.
            start = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(start)
    elif start.startswith(PARQUET):
        return ".parquet"
    for mark in _MARKS:
        start = start.removeprefix(mark)
    is_json = start.replace(b"\0", b"").lstrip().startswith(b"{")
    return (".jsonl" if is_json else ".csv") + (".gz" if packed else "")


@contextlib.contextmanager
def _standard_input() -> Iterator[tuple[str, str]]:
    """A temporary file with all of it, and what it is called, which its content decides.

    Raises:
        ManifestError: it cannot be read, or there is no room for it.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        print("Reading the manifest from this terminal; Ctrl-D ends it.", file=sys.stderr)
    checksum = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        try:
            stream = io.BytesIO() if sys.stdin is None else sys.stdin.buffer
            piece = stream.read(_COPIED_AT_ONCE)
            path = stack.enter_context(_temporary(_extension(piece)))
            with open(path, "wb") as copy:
                while piece:
                    copy.write(piece)
                    checksum.update(piece)
                    piece = stream.read(_COPIED_AT_ONCE)
        except OSError as error:
            raise ManifestError(
                f"The manifest cannot be copied from standard input ({error.strerror}); make room "
                f"in {tempfile.gettempdir()}, or give it as a file."
            ) from error
        yield path, f"standard input (sha256:{checksum.hexdigest()[:16]})"


@contextlib.contextmanager
def _temporary(extension: str) -> Iterator[str]:
    handle, path = tempfile.mkstemp(prefix="nst-manifest-", suffix=extension)
    os.close(handle)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
