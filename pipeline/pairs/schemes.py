"""Which schemes a manifest's rows may name, so that no row makes a worker read its own files."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nst_core.errors import ConfigError, ManifestInvalid, OptionsInvalid, PairError
from pipeline import storage
from pipeline.pairs.parsing import Pair
from pipeline.storage.filesystems import missing_reason

LOCAL = "file"
_NAME = re.compile("[a-z][a-z0-9+.-]*")


def scheme_name(uri: str) -> str:
    """The scheme of an absolute URI; "file" for a local path."""
    return storage.scheme(uri) or LOCAL


def default_schemes(manifest: str, output: str) -> tuple[str, ...]:
    """Those of the manifest and the output, and gs.

    Local files are read for a manifest elsewhere only where the results, too, stay local.
    """
    return tuple(sorted({scheme_name(manifest), scheme_name(output), "gs"}))


def parse_schemes(text: str) -> tuple[str, ...]:
    """The names in `gs,s3,file`, sorted.

    Raises:
        ConfigError: one of them cannot be a scheme.
    """
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"--allow-schemes is {text!r}, and {name!r} is no scheme; give names with commas "
                "between, such as gs,s3,https,file (file: local paths)."
            )
        if reason := missing_reason(f"{name}://", name):
            raise ConfigError(f"--allow-schemes is {text!r}: {reason}")
    return tuple(sorted(set(names)))


def check_sources(pair: Pair, allowed: Sequence[str]) -> None:
    """Refuse a pair whose content, styles or masks have a scheme that is not allowed.

    Raises:
        ManifestInvalid: with the first of them.
    """
    _check("content", pair.content, allowed, ManifestInvalid)
    for style in pair.styles:
        _check("style", style.uri, allowed, ManifestInvalid)
        if style.mask is not None:
            _check("mask", style.mask, allowed, ManifestInvalid)


def check_option(key: str, uri: str, allowed: Sequence[str]) -> None:
    """Refuse an option that names a file of a scheme that is not allowed.

    Raises:
        OptionsInvalid: it does.
    """
    _check(f"options.{key}", uri, allowed, OptionsInvalid)


def _check(role: str, uri: str, allowed: Sequence[str], kind: type[PairError]) -> None:
    name = scheme_name(uri)
    try:
        # First: to allow what cannot be read would help nobody.
        storage.check_scheme(uri)
    except storage.NoFilesystem as error:
        raise kind(f"{role}: {error}") from error
    if name not in allowed:
        raise kind(
            f"{role} is {storage.without_credentials(uri)}, of the scheme {name}, and rows may "
            f"name only {', '.join(allowed)}; copy the file to where they may, or run with "
            f"--allow-schemes {','.join(sorted({*allowed, name}))}."
        )
