"""What identifies a result: the engine's version, and the settings that decide its pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from nst_core.config import SETTINGS

# Raised whenever the pixels change for the same settings, so that catalogs are done again.
ENGINE_VERSION = "5"
# Earlier versions whose pictures look the same: what they have done stays done. 3 differs from 4 by
# rounding, and 4 from 5 by steps of L-BFGS that come less far.
ALIKE_VERSIONS = ("4", "3")
# Scales and steps that the defaults have now, and the steps that they had in these versions.
FORMER_STEPS: dict[tuple[tuple[float, ...], tuple[int, ...]], tuple[int, ...]] = {
    ((0.5, 1.0), (40, 26)): (60, 40)
}
# Raised whenever a step is another: older checkpoints are then started over.
STEP_VERSION = "3"
# Settings that came later, by the value at which all is as before: with that they do not count.
LATER_SETTINGS: dict[str, Any] = {"smallest_side": 0, "betas": [0.9, 0.999]}
# Settings that never change a pixel of any file, snapshots among them; `weights` counts by its
# content, not by its name.
WITHOUT_EFFECT = frozenset(
    {
        *("weights", "device", "tile", "deadline_seconds", "checkpoint_seconds", "metadata"),
        *("max_pixels", "max_bytes", "decode_seconds"),
    }
)
PIXEL_SETTINGS = tuple(name for name in SETTINGS if name not in WITHOUT_EFFECT)


def counting(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that count; see `PIXEL_SETTINGS` and `LATER_SETTINGS`."""
    return {
        name: settings[name]
        for name in PIXEL_SETTINGS
        if name in settings and not _is_as_before(name, settings[name])
    }


def _is_as_before(name: str, value: Any) -> bool:
    plain = [*value] if isinstance(value, tuple) else value
    return name in LATER_SETTINGS and plain == LATER_SETTINGS[name]


def digest(*parts: Any) -> bytes:
    """16 bytes that tell arrays, and values that have a `repr`, from others."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
            part = (part.shape, part.dtype)
        found.update(repr(part).encode())
    return found.digest()
