"""What is read for one pair, and what is refused before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nst_core.config import StyleConfig
from nst_core.errors import InputTooLarge
from pipeline.inputs import read_inputs
from pipeline.manifest import Pair, StyleReference

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


def pair(catalog: Catalog, content: str = "a.png") -> Pair:
    """A pair of the catalog."""
    styles = (StyleReference(catalog.uri("s.png")),)
    return Pair("a", catalog.uri(content), styles, {}, {}, {})


def config(**changes: Any) -> StyleConfig:
    """The configuration with changes."""
    return StyleConfig().updated(changes)


def test_a_format_that_cannot_hold_the_original_s_size_is_refused(catalog: Catalog) -> None:
    catalog.picture("a.png", (17000, 300))
    with pytest.raises(InputTooLarge, match=r"17000x300 px, and webp holds at most 16383"):
        read_inputs(pair(catalog), config(output_size="original", output_format="webp"))
    for fine in ({"output_size": "original"}, {"output_format": "webp"}):
        assert read_inputs(pair(catalog), config(**fine)).picture.width == 17000
