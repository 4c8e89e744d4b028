"""Fixtures for every test: made weights, a Cloud Storage emulator in this process, a browser."""

import os
import pathlib
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from gcp_storage_emulator.server import Server, create_server

from pipeline.storage import gcs as storage_gcs

ROOT = pathlib.Path(__file__).parent
# Before TensorFlow is imported: several test processes have more threads than there are processors.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# In the background of a script SIGINT is ignored, also by the processes that tests start and stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Whole runs, other processes, and the network compiled in many ways: not in `make test-fast`.
LONG = (
    "benchmarks/",
    "deploy/test_package.py",
    "manual/test_manual_commands.py",
    "manual/test_manual_site.py",
    "nst_core/decoding/test_decoder_processes.py",
    "nst_core/compiled/",
    "nst_core/devices/",
    "nst_core/engine/",
    "nst_core/objective/test_regions.py::test_a_batch_with_masks_and_keeps",
    "nst_core/objective/test_regions.py::test_each_half_takes_its_own_style",
    "nst_core/optimizers/test_bands.py::test_l_bfgs_needs_fewer_steps",
    "nst_core/optimizers/test_directions.py::test_for_xla",
    "pipeline/manifest/test_ids.py::test_a_local_catalog",
    "pipeline/pairs/test_names.py::test_special_characters_in_local_paths",
    "pipeline/manifest/test_sources.py::test_a_run_of_standard_input",
    "pipeline/runners/",
    "pipeline/whole_runs/",
    "pipeline/report/test_report_pages.py",
    "pipeline/commands/test_demo.py",
    "pipeline/commands/test_plan.py",
    "pipeline/commands/test_stylize_command.py",
    "pipeline/storage/test_storage_faults.py",
    "pipeline/worker/test_program_cache.py::test_a_run_fetches_first",
)
# A worker of the tests takes one file after the other: those of minutes come first, then all that
# are long, so that none is left with one at the end. Those that wait for other processes (Flink,
# Prism, kills) come one after the other, between those that compute.
LONGEST = (
    *("test_flink", "test_batches", "test_numbers", "test_tiles", "test_prism", "test_scales"),
    *("test_regions", "test_kill"),
)


@dataclass(frozen=True)
class EmulatedBucket:
    """An empty bucket. The emulator ignores `if_generation_match`."""

    bucket: str
    host: str

    def uri(self, path: str) -> str:
        """The `gs://` URI of a path in the bucket."""
        return f"gs://{self.bucket}/{path}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long, and begin with what takes longest."""
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(LONG):
            item.add_marker("long")
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda one: (places.get(one.path.stem, len(places)), "long" not in one.keywords))


@pytest.fixture(scope="session", autouse=True)
def made_weights(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """Made weights are kept in a folder that the workers of this run share."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NST_CACHE", str(folder / "weights"))
        yield


@pytest.fixture(scope="session")
def storage_emulator() -> Iterator[tuple[Server, str]]:
    """The emulator, with its address; tests take `gcs` instead, which points the library at it."""
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    port = server._api._httpd.server_address[1]
    yield server, f"http://127.0.0.1:{port}"
    server.stop()
    # The emulator's own `join` shuts the server down, but does not wait for its thread.
    threading.Thread.join(server._api)


@pytest.fixture
def gcs(
    storage_emulator: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmulatedBucket]:
    """An empty emulated bucket, which `gs://` URIs reach for the length of one test."""
    server, host = storage_emulator
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
    storage_gcs.forget_client()
    server.wipe()
    storage_gcs.client().create_bucket("catalog", project="nst")
    yield EmulatedBucket("catalog", host)
    storage_gcs.forget_client()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()
