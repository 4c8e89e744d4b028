"""Names that a storage has to take, and what is below a place."""

from __future__ import annotations

from pipeline import storage

PNG = "image/png"
ODD_NAMES = [
    "with space.png",
    "größe-猫.png",
    "100%20.png",
    "a#b?c=d&e.png",
    "[1]*.png",
    "x+y;z.png",
]


def below(uri: str) -> list[str]:
    return sorted(storage.list_uris(uri))
