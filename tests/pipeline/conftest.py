"""Fixtures for the pipeline's tests: small catalogs and runs on them, quick weights, commands."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import fake_gcs
import h5py
import numpy as np
import pyarrow
import pytest
import web_server
from fault_proxy import FaultProxy
from PIL import Image
from pyarrow import parquet
from quick_beam import quick_beam
from web_server import WebServer

from nst_core.network.weights import layer_shapes
from pipeline import storage
from pipeline.__main__ import main
from pipeline.storage import gcs as storage_gcs
from pipeline.storage import gcs_faults
from pipeline.storage import web as storage_web
from pipeline.storage.web import transfer as web_transfer
from pipeline.worker.engine_cache import EngineCache

# The least work: one scale of 64 px, shallow layers, the optimiser that is traced soonest; float32,
# so that every machine computes alike.
SETTINGS = (
    "image_size=64",
    "scales=[1]",
    "steps=2",
    "optimizer=adam",
    "precision=float32",
    "content_layers={block2_conv1: 1}",
    "style_layers={block1_conv1: 1, block2_conv1: 1}",
)
SMALL = ("--weights", "procedural", *(text for one in SETTINGS for text in ("--set", one)))
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclasses.dataclass
class Catalog:
    """A folder, local or `gs://`, with pictures, manifests and the output `out` of its runs."""

    root: str
    run_folder: str = ""
    small: tuple[str, ...] = SMALL

    def uri(self, name: str) -> str:
        """The URI of a file in the catalog."""
        return storage.join(self.root, name)

    def write(self, name: str, data: bytes) -> str:
        """Write a file; its URI."""
        storage.write_bytes(self.uri(name), data, "application/octet-stream")
        return self.uri(name)

    def read(self, name: str) -> bytes:
        """The bytes of a file in the catalog."""
        return storage.read_bytes(self.uri(name))

    def picture(self, name: str, size: tuple[int, int] = (64, 48), **save: Any) -> str:
        """Draw a smooth picture that only its name decides, in the extension's format."""
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        coarse = generator.integers(0, 256, (6, 6, 3), np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        if "alpha" in save:
            image.putalpha(Image.fromarray(save.pop("alpha")).resize(size))
        stream = io.BytesIO()
        kind = name.rpartition(".")[2].upper().replace("JPG", "JPEG")
        image.save(stream, kind, **save)
        return self.write(name, stream.getvalue())

    def grey(
        self,
        name: str,
        values: Sequence[Sequence[int]],
        size: tuple[int, int] = (64, 48),
        alpha: int = 255,
    ) -> str:
        """Draw a mask of equal blocks of grey, PNG."""
        blocks = Image.fromarray(np.array(values, np.uint8)).resize(size, Image.Resampling.NEAREST)
        if alpha < 255:
            blocks.putalpha(alpha)
        stream = io.BytesIO()
        blocks.save(stream, "PNG")
        return self.write(name, stream.getvalue())

    def manifest(self, rows: Sequence[dict[str, Any]], name: str = "pairs.csv") -> str:
        """Write rows as a manifest in the extension's format."""
        names = list(dict.fromkeys(key for row in rows for key in row))
        if name.endswith(".parquet"):
            packed = io.BytesIO()
            filled = [{key: row.get(key) for key in names} for row in rows]
            parquet.write_table(pyarrow.Table.from_pylist(filled), packed)
            return self.write(name, packed.getvalue())
        if name.endswith(".jsonl"):
            return self.write(name, "".join(json.dumps(row) + "\n" for row in rows).encode())
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        for row in rows:
            cells = {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()}
            writer.writerow(cells)
        return self.write(name, text.getvalue().encode())

    def pairs(self, contents: Sequence[str] = ("a.png", "b.png"), style: str = "s.png") -> str:
        """Draw the pictures and write `pairs.csv` with an id (its stem) for each content."""
        for name in (*contents, style):
            self.picture(name)
        rows = [{"id": n.partition(".")[0], "content": n, "style": style} for n in contents]
        return self.manifest(rows)

    def arguments(self, *more: str, manifest: str = "pairs.csv", small: bool = True) -> list[str]:
        """The arguments of `nst run` on this catalog."""
        where = ["--manifest", self.uri(manifest), "--output", self.uri("out")]
        return ["run", *where, *(SMALL if small else ()), *more]

    def run(self, *more: str, manifest: str = "pairs.csv", small: bool = True) -> int:
        """`nst run` in this process; its exit status."""
        before = self.names("out/runs")
        status = main(self.arguments(*more, manifest=manifest, small=small))
        self.note_run(before)
        return status

    def note_run(self, before: set[str]) -> None:
        """Find the folder of the run that has been added since the listing `before`."""
        added = {name.partition("/")[0] for name in self.names("out/runs") - before}
        self.run_folder = f"out/runs/{added.pop()}" if added else ""
        assert not added

    def names(self, folder: str) -> set[str]:
        """The files below a folder, as paths relative to it."""
        root = self.uri(folder) if folder else self.root
        return {uri[len(root) + 1 :] for uri in storage.list_uris(root)}

    def files(self) -> dict[str, bytes]:
        """Every file of the catalog with its bytes."""
        return {name: self.read(name) for name in self.names("")}

    def results(self) -> list[dict[str, Any]]:
        """The results of the last run, by row, with the other columns as an object."""
        folder = self.uri(self.run_folder)
        lines = [
            json.loads(line)
            for uri in storage.list_uris(folder)
            if "/results-" in uri and uri.endswith(".jsonl")
            for line in storage.read_bytes(uri).decode().splitlines()
        ]
        results = [{**line, "columns": json.loads(line["columns"])} for line in lines]
        return sorted(results, key=lambda result: int(result["row"]))

    def statuses(self) -> list[str]:
        """The statuses of the last run, by row."""
        return [result["status"] for result in self.results()]

    def summary(self) -> dict[str, Any]:
        """The summary of the last run."""
        return dict(json.loads(self.read(f"{self.run_folder}/summary.json")))

    def failures(self) -> list[dict[str, str]]:
        """The rows of the last run's failures.csv."""
        text = self.read(f"{self.run_folder}/failures.csv").decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def records(self) -> dict[str, dict[str, Any]]:
        """Every record in the output, by id; at most one for each."""
        found = [json.loads(self.read(f"out/records/{n}")) for n in self.names("out/records")]
        by_id = {str(record["id"]): record for record in found}
        assert len(by_id) == len(found)
        return by_id

    def pixels(self, name: str) -> np.ndarray:
        """The pixels of an image in the output, int16."""
        with Image.open(io.BytesIO(self.read(f"out/images/{name}"))) as image:
            return np.asarray(image, np.int16)


@pytest.fixture(scope="session", autouse=True)
def beam() -> Iterator[None]:
    """What Beam has looked up for one test it knows in the next."""
    with quick_beam():
        yield


@pytest.fixture(scope="session")
def engines() -> EngineCache:
    """The engines that the runs of this session share."""
    return EngineCache()


@pytest.fixture
def catalog(
    tmp_path: pathlib.Path, engines: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> Catalog:
    """An empty local catalog; its runs load no network that an earlier test has loaded."""
    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", lambda: engines)
    # On a busy machine a test can take longer than the time between two lines.
    monkeypatch.setattr("pipeline.console.watch.SECONDS_PER_LINE", 3600.0)
    return Catalog(str(tmp_path / "catalog"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants an engine in this test fails it."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", EngineCache)
    monkeypatch.setattr("pipeline.worker.engine_cache.load_engine", refuse)


@pytest.fixture
def nst(tmp_path: pathlib.Path) -> Command:
    """`nst(*arguments, **environment)`: the command in a process of its own."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=270,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A Keras VGG19 `.h5` that is small on disk: each kernel repeats one tile of numbers."""
    path = tmp_path_factory.mktemp("keras") / "vgg19.h5"
    generator = np.random.default_rng(19)
    with h5py.File(path, "w") as file:
        for name, shape in layer_shapes().items():
            tile = generator.normal(size=(3, 3, shape[2], 8)) * np.sqrt(2 / (9 * shape[2]))
            kernel = np.tile(tile.astype(np.float16), (1, 1, 1, shape[3] // 8))
            group = file.create_group(name).create_group(name)
            group.create_dataset("kernel:0", data=kernel, compression="gzip")
            group.create_dataset("bias:0", data=np.zeros(shape[3], np.float16))
    return path


@pytest.fixture
def one_sentence() -> Callable[[str], str]:
    """Checks that a failed command's stderr is one line of its own, no traceback; that line."""

    def check(stderr: str) -> str:
        lines = stderr.splitlines()
        assert len(lines) == 1, stderr
        assert lines[0].startswith("nst")
        return lines[0]

    return check


@dataclasses.dataclass(frozen=True)
class BadBucket:
    """An empty bucket that honours preconditions, behind a proxy that goes wrong as it is told."""

    bucket: str
    proxy: FaultProxy

    def uri(self, path: str) -> str:
        """The `gs://` URI of a path in the bucket."""
        return f"gs://{self.bucket}/{path}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the server before the tests: that can take longer than a test may."""
    if any("fake_gcs_port" in getattr(item, "fixturenames", ()) for item in session.items):
        fake_gcs.build()


@pytest.fixture(scope="session")
def fake_gcs_port() -> Iterator[int]:
    """The port of a Cloud Storage that honours preconditions; needs Go once, to build it."""
    if problem := fake_gcs.build():
        pytest.skip(problem)
    with fake_gcs.serving() as port:
        yield port


@pytest.fixture
def bad_bucket(
    fake_gcs_port: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BadBucket]:
    """A bucket of this test's own, which `gs://` URIs reach; retries as in earnest, only quicker.

    A test of a fault that lasts shortens `gcs_faults.RETRY`: how long is not to decide others.
    """
    quick = gcs_faults.RETRY.with_delay(initial=0.01, maximum=0.05)
    monkeypatch.setattr(gcs_faults, "RETRY", quick)
    name = f"catalog-{zlib.crc32(request.node.nodeid.encode()):08x}"
    with FaultProxy(fake_gcs_port).running() as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        storage_gcs.forget_client()
        storage_gcs.client().create_bucket(name, project="nst")
        # Who has made a bucket goes on asking for it.
        storage_gcs.forget_client()
        yield BadBucket(name, proxy)
        storage_gcs.forget_client()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults of the storage that last are given up soon."""
    monkeypatch.setattr(gcs_faults, "RETRY", gcs_faults.RETRY.with_timeout(0.1))


@pytest.fixture
def web(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A server over TLS on this machine, whose authority is trusted; nothing is kept yet.

    Retries as in earnest, only quicker. It is reached only where private hosts are allowed.
    """
    certificate, authority_file = web_server.authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file))
    monkeypatch.setattr("pipeline.storage.web.cache.cache_directory", lambda: tmp_path / "kept")
    monkeypatch.setattr(web_transfer, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(web_transfer, "RETRY_SECONDS", 5.0)
    storage_web.forget()
    with web_server.serving(certificate) as server:
        yield server
        storage_web.forget()
        storage.allow_private_hosts(False)
