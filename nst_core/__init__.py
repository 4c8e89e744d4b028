"""Neural style transfer of arrays: what a user of the library needs, imported on first use.

    from nst_core import Style, StyleEngine, preset

Importing this package alone imports neither TensorFlow nor Pillow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nst_core.config import StyleConfig, preset
    from nst_core.engine.style_engine import StyleEngine
    from nst_core.errors import (
        ConfigError,
        DeadlineExceeded,
        DeviceError,
        Diverged,
        InputTooLarge,
        InputTooSmall,
        InputUnreadable,
        JobError,
        OutOfMemory,
        PairError,
        WeightsError,
    )
    from nst_core.objective import losses
    from nst_core.results import Style, StyleResult

__all__ = [
    "ConfigError",
    "DeadlineExceeded",
    "DeviceError",
    "Diverged",
    "InputTooLarge",
    "InputTooSmall",
    "InputUnreadable",
    "JobError",
    "OutOfMemory",
    "PairError",
    "Style",
    "StyleConfig",
    "StyleEngine",
    "StyleResult",
    "WeightsError",
    "losses",
    "preset",
]

_MODULES = {
    "Style": "nst_core.results",
    "StyleConfig": "nst_core.config",
    "StyleEngine": "nst_core.engine.style_engine",
    "StyleResult": "nst_core.results",
    "preset": "nst_core.config",
}


def __getattr__(name: str) -> Any:
    """A public name, from its module: TensorFlow takes seconds, and not every use needs it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "losses":
        return importlib.import_module("nst_core.objective.losses")
    return getattr(importlib.import_module(_MODULES.get(name, "nst_core.errors")), name)


def __dir__() -> list[str]:
    return __all__
