"""`StyleEngine` and one batch's way through the scales."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine

__all__ = ["StyleEngine"]


def __getattr__(name: str) -> Any:
    """`StyleEngine`, imported on first use: other modules here need no network."""
    if name != "StyleEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("nst_core.engine.style_engine").StyleEngine
