"""`nst manifest`: every content with every style, as a manifest."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import storage
from pipeline.commands.picture_files import find_both
from pipeline.job.options import HERE
from pipeline.manifest.writing import crossed, write_manifest


def make_manifest(
    contents: Sequence[str], styles: Sequence[str], output: str, template: str | None
) -> int:
    """Write every content with every style, with ids by a template if given; the exit status.

    Raises:
        ConfigError: a glob or folder has no picture, or the template makes no ids, or one twice.
        ManifestError: the output's extension is no manifest format.
    """
    target = storage.resolve(output, HERE)
    found, found_styles, left_out = find_both(contents, styles)
    count = write_manifest(target, crossed(found, found_styles, template))
    print(f"{target}: {count} pairs", *left_out, sep="\n")
    return 0
