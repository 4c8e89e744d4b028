"""Fingerprints: hashes of what decides the pixels of a result, and of nothing else.

A *recipe* is what is known of that before any image is read: settings, weights, engine, how many
styles there are and how heavy. A *fingerprint* is a recipe with the checksums of the images that
were read. Where these images lie decides nothing.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator

from nst_core.config import StyleConfig, with_changes
from nst_core.identity import ALIKE_VERSIONS, ENGINE_VERSION, FORMER_STEPS, counting
from nst_core.setting_text import names_file
from pipeline.pairs.parsing import Pair
from pipeline.records.tasks import sources

_SORTED = json.JSONEncoder(sort_keys=True)
# Values that settings have got since, by what they count as in fingerprints: what had the default
# of before, 32 px, is done.
_FORMER = {("canvas_multiple", "auto"): 32}
# Settings that can name an image, whose checksum then counts.
_IMAGES = ("init", "keep")


def roles_of(pair: Pair, config: StyleConfig) -> Iterator[tuple[str, str]]:
    """What each image is for that a pair reads, and its URI, in the order of the fingerprint."""
    yield "content", pair.content
    for style in pair.styles:
        yield "style", style.uri
        if style.mask:
            yield "mask", style.mask
    yield from _images_of(config.changes())


@functools.lru_cache(maxsize=1024)
def _images_of(changes: str) -> tuple[tuple[str, str], ...]:
    """The images that a configuration with these changes names, by their settings."""
    config = with_changes(changes)
    named = ((key, getattr(config, key)) for key in _IMAGES)
    return tuple((key, value) for key, value in named if names_file(value, key))


def recipe(
    pair: Pair, config: StyleConfig, weights_identity: str, engine: str = ENGINE_VERSION
) -> str:
    """64 hex digits of what decides the pixels, besides what is in the images."""
    return _recipe(config.changes(), _styles_of(pair), weights_identity, engine)


def _styles_of(pair: Pair) -> tuple[tuple[float, bool], ...]:
    return tuple((style.weight, style.mask is not None) for style in pair.styles)


@functools.lru_cache(maxsize=1024)
def _recipe(
    changes: str, styles: tuple[tuple[float, bool], ...], weights_identity: str, engine: str
) -> str:
    settings = _pixel_settings(with_changes(changes))
    settings.update(dict.fromkeys(dict(_images_of(changes)), "an image"))
    text = _SORTED.encode(
        {"engine": engine, "settings": settings, "styles": styles, "weights": weights_identity}
    )
    return hashlib.sha256(text.encode()).hexdigest()


def alike_recipes(pair: Pair, config: StyleConfig, weights_identity: str) -> Iterator[str]:
    """The recipes of earlier engines whose pictures look the same."""
    styles = _styles_of(pair)
    return (
        _recipe(changes, styles, weights_identity, engine)
        for engine in ALIKE_VERSIONS
        for changes in _as_before(config.changes())
    )


@functools.lru_cache(maxsize=1024)
def _as_before(changes: str) -> tuple[str, ...]:
    """A configuration's changes, and those by which earlier engines came to the same picture."""
    config = with_changes(changes)
    former = FORMER_STEPS.get((config.scales, config.steps_per_scale))
    return (changes, config.updated({"steps": [*former]}).changes()) if former else (changes,)


def fingerprint(of_recipe: str, checksums: Iterable[str]) -> str:
    """16 hex digits of a recipe and the SHA-256 of its images, in the order of `roles_of`."""
    return hashlib.sha256("\n".join((of_recipe, *checksums)).encode()).hexdigest()[:16]


def former_fingerprints(pair: Pair, config: StyleConfig, weights_identity: str) -> Iterator[str]:
    """Those that records without `inputs` have, of a time when the URIs of the images counted.

    Of this engine and of those whose pictures look the same.
    """
    settings_of_each = map(_former_settings, _as_before(config.changes()))
    versions = (ENGINE_VERSION, *ALIKE_VERSIONS)
    for engine, settings in itertools.product(versions, settings_of_each):
        text = (
            f'{{"engine": {json.dumps(engine)}, "settings": {settings}, '
            f'"sources": {_SORTED.encode(sources(pair))}, '
            f'"weights": {json.dumps(weights_identity)}}}'
        )
        yield hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=1024)
def _former_settings(changes: str) -> str:
    return json.dumps(_pixel_settings(with_changes(changes)), sort_keys=True)


def _pixel_settings(config: StyleConfig) -> dict[str, object]:
    settings = json.loads(config.key())
    for (name, value), former in _FORMER.items():
        if settings[name] == value:
            settings[name] = former
    return counting(settings)
