"""Manifests written: the cross product of two folders, and the failures of a run."""

import contextlib
import functools
import gzip
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, cast

from pipeline import storage
from pipeline.manifest.columns import ManifestError
from pipeline.manifest.ids import refuse_repeated, with_ids
from pipeline.manifest.parquet_rows import BATCH_ROWS
from pipeline.manifest.reading import relative
from pipeline.manifest.rows import is_tabbed, manifest_kind
from pipeline.manifest.values import OPTION, OUTCOME, defect, option_text, plain

CONTENT_TYPES = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}


def failure_fieldnames(keys: Iterable[str]) -> list[str]:
    """The columns of failures.csv for rows that have `keys`, always in the same order."""
    first = ("id", "content", "style")
    others = {*keys} - {*first, *OUTCOME}
    options = sorted(key for key in others if key.startswith(OPTION))
    return [*first, *options, *sorted(others.difference(options)), *OUTCOME]


def cross_product(contents: Sequence[str], styles: Sequence[str]) -> Iterator[dict[str, str]]:
    """A row for each content with each style, content by content; their URIs made absolute."""
    here = ""
    absolute_styles = [storage.resolve(style, here) for style in styles]
    for content in contents:
        absolute_content = storage.resolve(content, here)
        for style in absolute_styles:
            yield {"content": absolute_content, "style": style}


def crossed(
    contents: Sequence[str], styles: Sequence[str], template: str | None
) -> Iterator[dict[str, str]]:
    """The rows of `cross_product`, with ids by a template if given.

    Raises:
        ConfigError: the template makes no ids, or one twice.
    """
    if template is None:
        return cross_product(contents, styles)
    refuse_repeated(template, with_ids(cross_product(contents, styles), template))
    return with_ids(cross_product(contents, styles), template)


def content_type_of(uri: str) -> str:
    """That of a manifest, by its extension. Raises ManifestError: it is not known."""
    kind, packed = manifest_kind(uri)
    return "application/gzip" if packed else CONTENT_TYPES["tsv" if is_tabbed(uri) else kind]


def write_manifest(uri: str, rows: Iterable[dict[str, str]], base: str | None = None) -> int:
    """Writes rows with absolute URIs as the manifest `uri`, in its extension's format: their count.

    What lies below the manifest is written relative to it, so that the folder can be moved. All
    rows have the columns of the first.

    Args:
        base: an absolute URI that stands for the manifest's own where names are made relative.

    Raises:
        ManifestError: the extension is not known, or the name of an image is not UTF-8.
        StorageError: the manifest cannot be written.
    """
    kind, packed = manifest_kind(uri)
    beside = base or storage.resolve(uri, "")
    moved = (_moved(row, uri, beside) for row in rows)
    first = next(moved, None)
    names = list(first or ("content", "style"))
    write = functools.partial(write_csv, delimiter="\t") if is_tabbed(uri) else _WRITERS[kind]
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(storage.open_writer(uri, content_type_of(uri)))
        if packed:
            # No name and no time inside: the same rows are the same bytes.
            zipped = gzip.GzipFile("", "wb", fileobj=stream, mtime=0)
            stream = cast(BinaryIO, stack.enter_context(zipped))
        return write(itertools.chain([first] if first else [], moved), names, stream)


def _moved(row: dict[str, str], manifest_uri: str, base: str) -> dict[str, str]:
    """The row as it stands in a manifest whose names are relative to that of `base`."""
    for cell in row.values():
        problem = defect(cell)
        if problem:
            raise ManifestError(
                f"The name {cell!a} cannot be written into the manifest {manifest_uri}: "
                f"it {problem}."
            )
    return {
        name: relative(cell, base) if name in ("content", "style") else cell
        for name, cell in row.items()
    }


def write_csv(
    rows: Iterable[dict[str, Any]],
    names: Sequence[str],
    stream: BinaryIO,
    *,
    delimiter: str = ",",
) -> int:
    """Writes rows as CSV (UTF-8, LF) with these columns, no value altered: their count.

    A row's `options.KEY` that is text is YAML already; any other value is written as YAML.
    """
    count = 0
    header = {name: name for name in names}
    for row in itertools.chain([header], rows):
        cells = (_csv_cell(name, row.get(name), delimiter) for name in names)
        stream.write((delimiter.join(cells) + "\n").encode("utf-8", "backslashreplace"))
        count += 1
    return count - 1


def _csv_cell(name: str, value: Any, delimiter: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        text = value
    elif name.startswith(OPTION):
        text = option_text(value)
    else:
        jsonable = plain(value)
        text = jsonable if isinstance(jsonable, str) else json.dumps(jsonable, ensure_ascii=False)
    text = text.replace("\0", "\ufffd")
    # csv.writer leaves a lone carriage return unquoted, which would end the row.
    return '"' + text.replace('"', '""') + '"' if re.search(f'["{delimiter}\r\n]', text) else text


def _write_json(rows: Iterable[dict[str, Any]], names: Sequence[str], stream: BinaryIO) -> int:
    count = 0
    for row in rows:
        line = json.dumps({name: row[name] for name in names}, ensure_ascii=False)
        stream.write(f"{line}\n".encode())
        count += 1
    return count


def _write_parquet(rows: Iterable[dict[str, Any]], names: Sequence[str], stream: BinaryIO) -> int:
    import pyarrow
    from pyarrow import parquet

    count = 0
    remaining = iter(rows)
    schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    with parquet.ParquetWriter(stream, schema) as writer:
        while batch := list(itertools.islice(remaining, BATCH_ROWS)):
            writer.write_batch(pyarrow.RecordBatch.from_pylist(batch, schema))
            count += len(batch)
    return count


_WRITERS: dict[str, Callable[[Iterable[dict[str, Any]], Sequence[str], BinaryIO], int]] = {
    "csv": write_csv,
    "jsonl": _write_json,
    "parquet": _write_parquet,
}
