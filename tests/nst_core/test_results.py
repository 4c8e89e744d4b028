"""What the engine takes and returns can be looked for in lists and kept in sets."""

from __future__ import annotations

import copy
import pickle

import numpy as np

from nst_core.results import LossLog, Snapshot, Style


def test_what_holds_arrays_is_equal_to_itself_alone() -> None:
    rgb = np.zeros((16, 16, 3), np.uint8)
    for one, other in (
        (Style(rgb), Style(rgb)),
        (LossLog(("total",), rgb[0]), LossLog(("total",), rgb[0])),
        (Snapshot(0, 1, rgb), Snapshot(0, 1, rgb)),
    ):
        assert one == one
        assert one != other
        assert one in [other, one]
        assert len({one, other}) == 2
        for copied in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert type(copied) is type(one)
            assert repr(copied) == repr(one)
