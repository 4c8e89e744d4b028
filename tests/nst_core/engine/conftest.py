"""Engines and pictures that the tests of this room share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from nst_core.engine import programs
from nst_core.engine.style_engine import StyleEngine
from nst_core.network.weights import VggWeights
from nst_core.results import Style
from tests.nst_core.engine.quick import Draw, new_engine, shared_network


@pytest.fixture(scope="session", autouse=True)
def shared_networks() -> Iterator[None]:
    """Engines of the same weights share their networks, never what they have compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "Vgg19", shared_network)
        yield


@pytest.fixture(scope="session")
def engine(procedural: VggWeights) -> StyleEngine:
    return new_engine(procedural)


@pytest.fixture(scope="session")
def rough_engine(procedural: VggWeights) -> StyleEngine:
    """In bfloat16."""
    return new_engine(procedural, "bfloat16")


@pytest.fixture(scope="module")
def contents(draw: Draw) -> list[np.ndarray]:
    return [draw(64, 64, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def style(draw: Draw) -> Style:
    return Style(draw(80, 64, 9))
