"""The small commands: `nst manifest` and `nst weights`."""

from __future__ import annotations

from collections.abc import Sequence

from nst_core.config import URI_SETTINGS
from nst_core.errors import ConfigError
from pipeline import storage
from pipeline.manifest import cross_product, write_manifest
from pipeline.manifest_ids import refuse_repeated, with_ids
from pipeline.notices import without_notices
from pipeline.options import HERE
from pipeline.picture_files import find_pictures
from pipeline.weights import fetch_weights, local_weights


def make_manifest(
    contents: Sequence[str], styles: Sequence[str], output: str, template: str | None
) -> int:
    """Write every content with every style, with ids by a template if given; the exit status.

    Raises:
        ConfigError: a glob or folder has no picture, or the template makes no ids, or one twice.
        ManifestError: the output's extension is no manifest format.
    """
    target = storage.resolve(output, HERE)
    found, left_out = [], []
    for named in (contents, styles):
        pictures, sentences = find_pictures([storage.resolve(name, HERE) for name in named])
        found.append(pictures)
        left_out += sentences
    rows = cross_product(*found)
    if template is not None:
        refuse_repeated(template, with_ids(rows, template))
        rows = with_ids(cross_product(*found), template)
    count = write_manifest(target, rows)
    print(f"{target}: {count} pairs", *left_out, sep="\n")
    return 0


def weights(action: str, source: str, target: str | None) -> int:
    """Fetch or verify weights; the exit status.

    Raises:
        WeightsError: they cannot be had, or are not VGG19's.
    """
    if source not in URI_SETTINGS["weights"]:
        source = storage.resolve(source, HERE)
    if action == "fetch":
        place = fetch_weights(source, target and storage.resolve(target, HERE))
        print(f"{place}: fetched and verified; use it with --weights {place}")
        return 0
    if target is not None:
        raise ConfigError(f"--to {target} goes with fetch, not with verify.")
    from nst_core.weights import load_weights

    with without_notices():
        loaded = load_weights(local_weights(source))
    print(f"{source}: good, {len(loaded.layers)} layers, sha256 {loaded.sha256}")
    return 0
