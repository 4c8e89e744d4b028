"""A machine of several devices, of which one may fail; and one with a GPU, as far as that goes."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

SCRIPTS = pathlib.Path(__file__).parents[1]


def started(
    script: str, catalog: Catalog, *more: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`nst run` of the catalog by a script."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), **environment}
    command = [sys.executable, str(SCRIPTS / script), *catalog.arguments(*more)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_both_devices_work_and_what_one_cannot_do_the_other_does(catalog: Catalog) -> None:
    names = [f"{letter}.png" for letter in "abcdefgh"]
    catalog.pairs(names)
    assert catalog.run() == 0
    alone = {name: catalog.pixels(name) for name in names}
    one_by_one = ("--batch-size=1", "--on-existing=redo")
    done = started("two_devices.py", catalog, *one_by_one)
    assert done.returncode == 0, done.stderr
    devices = {record["device"] for record in catalog.records().values()}
    assert devices == {"cpu (CPU:0)", "cpu (CPU:1)"}
    for name in names:
        np.testing.assert_array_equal(catalog.pixels(name), alone[name])
    done = started("two_devices.py", catalog, *one_by_one, NST_TEST_LOST="1")
    assert done.returncode == 0, done.stderr
    assert {record["device"] for record in catalog.records().values()} == {"cpu (CPU:0)"}
    assert "CPU:1 has failed with 2 batches that others have done" in done.stderr


def test_on_a_gpu_elements_of_any_styles_are_one_batch_on_a_canvas_of_the_grid(
    catalog: Catalog,
) -> None:
    names = "abcdef"
    for name in names:
        # 64×47 and 64×41 px: other multiples of 32 px would do, the grid has one for both.
        catalog.picture(f"{name}.png", (640, 470) if name < "d" else (640, 410))
        catalog.picture(f"style-{name}.png")
    catalog.manifest([{"id": n, "content": f"{n}.png", "style": f"style-{n}.png"} for n in names])
    rough = ("--set", "precision=bfloat16", "--set", "canvas_multiple=grid")
    assert catalog.run(*rough) == 0
    before = {name: catalog.pixels(f"{name}.png") for name in names}
    assert {record["batch"] for record in catalog.records().values()} == {2, 4}
    cache = catalog.uri("cache")
    done = started("as_on_gpu.py", catalog, *rough, "--on-existing=redo", NST_CACHE=cache)
    assert done.returncode == 0, done.stderr
    kept = [name for name in catalog.names("cache/programs") if "/nst_" in name]
    assert len(kept) == 1
    for name, record in catalog.records().items():
        assert (record["batch"], record["device"]) == (6, "gpu")
        assert np.abs(catalog.pixels(f"{name}.png") - before[name]).mean() < 2
