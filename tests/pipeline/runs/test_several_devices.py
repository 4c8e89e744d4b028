"""A machine of several devices: all of them work, and one may fail."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

SCRIPT = pathlib.Path(__file__).parents[1] / "two_devices.py"


def on_two(catalog: Catalog, **environment: str) -> subprocess.CompletedProcess[str]:
    """`nst run` of the catalog."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), **environment}
    command = [
        sys.executable,
        str(SCRIPT),
        *catalog.arguments("--batch-size=1", "--on-existing=redo"),
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_both_devices_work_and_what_one_cannot_do_the_other_does(catalog: Catalog) -> None:
    names = [f"{letter}.png" for letter in "abcdefgh"]
    catalog.pairs(names)
    assert catalog.run() == 0
    alone = {name: catalog.pixels(name) for name in names}
    done = on_two(catalog)
    assert done.returncode == 0, done.stderr
    devices = {record["device"] for record in catalog.records().values()}
    assert devices == {"cpu (CPU:0)", "cpu (CPU:1)"}
    for name in names:
        np.testing.assert_array_equal(catalog.pixels(name), alone[name])
    done = on_two(catalog, NST_TEST_LOST="1")
    assert done.returncode == 0, done.stderr
    assert {record["device"] for record in catalog.records().values()} == {"cpu (CPU:0)"}
    assert "CPU:1 has failed with 2 batches that others have done" in done.stderr
