"""What the tests of the decoding processes share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nst_core.decoding import Decoder


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    """A decoder of the module's own."""
    one = Decoder()
    yield one
    one.close()
