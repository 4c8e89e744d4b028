"""What one process has compiled, others find; whatever has become of the files meanwhile."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.compiled import compilation, program_store
from nst_core.compiled.function_names import portable
from nst_core.compiled.graphs import Graph
from nst_core.compiled.program_store import ProgramStore
from nst_core.engine import program, programs, scale
from nst_core.engine.style_engine import StyleEngine
from nst_core.errors import DeadlineExceeded
from nst_core.network.weights import VggWeights
from nst_core.results import Compiling, Style
from tests.nst_core.engine.quick import Draw, new_engine, quick

ROOT = pathlib.Path(__file__).parents[3]
RIGHT = [4 * 2.0**4, 6 * 2.0**4]


def start(cache: pathlib.Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A process that compiles with this cache folder."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "TF_XLA_FLAGS")}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.nst_core.engine.compile_once", *arguments],
        cwd=ROOT,
        env={**inherited, "NST_CACHE": str(cache), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str], right: Sequence[float] = RIGHT) -> dict[str, Any]:
    """What it found, which is right in any case."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    assert found["found"] == right
    assert not found["left"]
    return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, list[dict[str, Any]]]:
    """A cache that two processes have filled at the same time, and what they say of it."""
    cache = tmp_path_factory.mktemp("filled")
    return cache, [answer(one) for one in [start(cache, "kernel.textproto") for _ in range(2)]]


@pytest.fixture
def cache(
    filled: tuple[pathlib.Path, list[dict[str, Any]]], tmp_path: pathlib.Path
) -> pathlib.Path:
    """A copy of it, of the test's own."""
    shutil.copytree(filled[0], tmp_path / "cache")
    return tmp_path / "cache"


def archives(cache: pathlib.Path) -> dict[str, pathlib.Path]:
    """All files in a cache, by their names."""
    return {path.name: path for path in cache.rglob("*") if path.is_file()}


def test_processes_at_once_compile_for_all_that_come_later(
    filled: tuple[pathlib.Path, list[dict[str, Any]]], cache: pathlib.Path
) -> None:
    written = [name for one in filled[1] for name in one["written"]]
    # Two programs and what was measured, each written once, whoever was first.
    assert len(written) == len(set(written)) == 3
    assert set(archives(cache)) == set(written)
    assert all(program_store.is_sound(path.read_bytes()) for path in archives(cache).values())
    later = answer(start(cache))
    assert later["must_compile"] == [False, False]
    assert not later["written"]


def test_spoiled_programs_are_compiled_anew_with_what_was_measured(cache: pathlib.Path) -> None:
    before = archives(cache)
    cut, wrong = (path for name, path in before.items() if name.startswith("nst_"))
    cut.write_bytes(cut.read_bytes()[:1000])
    # An archive that is sound, of a program that no TensorFlow can load.
    (member,) = program_store.unpacked(wrong.read_bytes())
    wrong.write_bytes(program_store.packed({member: b"no program at all"}))
    first, second, third = (answer(start(cache)) for _ in range(3))
    assert first["tuning"] == ["kernel.textproto"]
    # What TensorFlow has refused once, it compiles in the next process.
    assert [one["written"] for one in (first, second, third)] == [[cut.name], [wrong.name], []]
    assert archives(cache).keys() == before.keys()


def test_what_one_device_compiles_another_loads_at_the_same_time_too(
    tmp_path: pathlib.Path,
) -> None:
    first, second = (answer(start(tmp_path, "devices"), [RIGHT[0]] * 2) for _ in range(2))
    assert (len(first["written"]), second["written"]) == (1, [])
    assert [*archives(tmp_path)] == first["written"]


def test_a_device_that_fails_spoils_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def cubes(x: Any) -> Any:
        return x**3.0

    def compiled() -> Graph:
        return Graph(cubes, tf.TensorSpec([None], tf.float32), xla=True)

    assert compiled()(np.ones(5)).numpy().sum() == 5
    assert not compiled().must_compile(np.ones(5))

    def lost(*_: Any) -> Any:
        raise tf.errors.InternalError(None, None, "CUDA_ERROR_ILLEGAL_ADDRESS")

    monkeypatch.setattr(compilation.CompiledFunction, "_call", lost)
    with pytest.raises(tf.errors.InternalError):
        compiled()(np.ones(5))
    assert not compiled().must_compile(np.ones(5))


def test_with_no_room_nothing_is_kept(tmp_path: pathlib.Path) -> None:
    found = answer(start(tmp_path, NST_PROGRAM_CACHE_MIB="0"))
    assert found["must_compile"] == [True, True]
    assert not list(tmp_path.iterdir())


def test_the_users_flags_stay_and_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    flag = compilation.PROGRAM_FLAG
    monkeypatch.setenv("TF_XLA_FLAGS", f"--tf_xla_clustering_debug {flag}=/elsewhere")
    mine = ["--xla_gpu_autotune_level=2", "--xla_gpu_enable_triton_gemm=true"]
    monkeypatch.setenv("XLA_FLAGS", " ".join(mine))
    compilation.set_flags()
    assert os.environ["TF_XLA_FLAGS"] == f"--tf_xla_clustering_debug {flag}=/elsewhere"
    *given, fusions, programs, results = found = os.environ["XLA_FLAGS"].split()
    assert given == mine
    assert fusions == "--xla_gpu_experimental_enable_fusion_autotuner=false"
    assert {one.partition("=")[0] for one in (programs, results)} == {*compilation.TUNING_FLAGS}
    compilation.set_flags()
    assert os.environ["XLA_FLAGS"].split() == found
    monkeypatch.setenv("XLA_FLAGS", "flags.txt")
    compilation.set_flags()
    assert os.environ["XLA_FLAGS"] == "flags.txt"


def test_functions_are_named_by_what_they_do() -> None:
    def names(power: float) -> list[str]:
        def loop(x: Any) -> Any:
            return tf.map_fn(lambda one: one**power, x)

        traced = tf.function(loop, autograph=False).get_concrete_function(tf.ones(3))
        return [one.signature.name for one in portable(traced)]

    cubes, again, squares = names(3.0), names(3.0), names(2.0)
    assert len(set(cubes)) == len(cubes) > 1
    assert cubes == again
    # The loop's condition is the same, neither its body nor the whole is.
    assert len(set(cubes) & set(squares)) == len(cubes) - 2


@pytest.fixture
def own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[ProgramStore]:
    """What is compiled is kept in a folder of the test's own."""

    def forget() -> None:
        for cached in (compilation.store_for, compilation._store, compilation._tell_of_refusal):
            cached.cache_clear()

    monkeypatch.setenv("NST_CACHE", str(tmp_path))
    forget()
    found = compilation.store_for("/CPU:0")
    assert found
    yield found
    forget()


def digits(x: Any) -> Any:
    """What XLA cannot compile."""
    return tf.strings.length(tf.strings.as_string(x))


def test_what_xla_cannot_compile_runs_without_it_and_later_processes_keep_nothing(
    own_store: ProgramStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph(digits, tf.TensorSpec([None], tf.int32), xla=True)
    for _ in range(2):
        np.testing.assert_array_equal(graph(np.array([1, 20, 300])), [1, 2, 3])
    first, second = (record.getMessage() for record in caplog.records)
    assert "run without it" in first
    assert "later processes keep none" in second
    (refusal,) = own_store.folder.parent.glob("refused-*")
    for is_refused in (True, False):
        monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
        compilation.set_flags()
        assert ("TF_XLA_FLAGS" in os.environ) is not is_refused
        caplog.clear()
        compilation.store_for.cache_clear()
        for device in ("/GPU:0", "/GPU:1"):
            compilation.store_for(device)
        assert [str(refusal) in one.getMessage() for one in caplog.records] == [True] * is_refused
        refusal.unlink(missing_ok=True)


def test_where_programs_have_been_kept_one_that_fails_keeps_no_process_from_it(
    own_store: ProgramStore, caplog: pytest.LogCaptureFixture
) -> None:
    squares = Graph(lambda x: x * x, tf.TensorSpec([None], tf.float32), xla=True)
    assert squares(np.array([2.0])).numpy() == [4.0]
    assert own_store.files()
    graph = Graph(digits, tf.TensorSpec([None], tf.int32), xla=True)
    np.testing.assert_array_equal(graph(np.array([1, 20])), [1, 2])
    (record,) = caplog.records
    assert "run without it" in record.getMessage()
    assert not [*own_store.folder.parent.glob("refused-*")]


@pytest.fixture
def xla_engine(procedural: VggWeights, monkeypatch: pytest.MonkeyPatch) -> StyleEngine:
    """Compiles as on a GPU, for the processor."""

    def compiled(objective: Any, optimizer: Any, **_: bool) -> program.Program:
        return program.Program(objective, optimizer, xla=True)

    monkeypatch.setattr(programs, "Program", compiled)
    return new_engine(procedural)


def test_a_canvas_takes_one_program_for_each_scale(
    xla_engine: StyleEngine, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Compiling] = []
    calls: list[Any] = []
    first_call = compilation.CompiledFunction._first_call

    def counted(function: Any, shapes: Any, arguments: Any) -> Any:
        calls.append(shapes)
        return first_call(function, shapes, arguments)

    monkeypatch.setattr(compilation.CompiledFunction, "_first_call", counted)
    xla_engine.programs.on_compiling = told.append
    store = compilation.store_for(xla_engine.device)
    assert store is not None
    store.take_new()  # Of other tests.
    # Adam, whose programs no other test compiles.
    config = quick(scales=[0.5, 1], steps=6, optimizer="adam", learning_rate=2, average_decay=0.5)
    style = Style(draw(64, 64, 3))
    results = [xla_engine.stylize(draw(48, 64, seed), [style], config) for seed in (1, 2)]
    assert len(store.take_new()) == len(calls) == len(set(calls)) == 2
    assert [str(one) for one in told] == [f"compiling {results[0].canvas} (2 programs)"]
    assert len({result.image.tobytes() for result in results}) == 2
    # A canvas that is a scale of another has its program already.
    for size, count in ((32, 2), (48, 3)):
        changed = config.updated({"scales": [1], "image_size": size, "canvas_multiple": 16})
        xla_engine.stylize(draw(48, 64, 1), [style], changed)
        assert len(calls) == count
    assert [one.programs for one in told] == [2, 1]


def test_scales_that_compile_side_by_side_change_no_pixel(
    xla_engine: StyleEngine, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick(scales=[0.5, 1], steps=6, optimizer="adam", learning_rate=2, average_decay=0.3)
    content, style = draw(48, 64, 1), Style(draw(64, 64, 3))
    together = xla_engine.stylize(content, [style], config)
    monkeypatch.setattr("nst_core.engine.batch.side_by_side", lambda _: None)
    np.testing.assert_array_equal(
        xla_engine.stylize(content, [style], config).image, together.image
    )


def test_what_xla_takes_to_compile_is_no_part_of_the_deadline(
    xla_engine: StyleEngine, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    advance = program.Program.advance

    def slow_at_first(self: program.Program, *given: Any) -> Any:
        nonlocal passed
        passed += 1.0 if passed else 3600.0
        return advance(self, *given)

    class Clock:
        """Runs on by what steps are said to take."""

        def monotonic(self) -> float:
            return time.monotonic() + passed

    monkeypatch.setattr(program.Program, "advance", slow_at_first)
    monkeypatch.setattr(scale, "time", Clock())
    config = quick(steps=3, deadline_seconds=600, optimizer="adam", average_decay=0.5)
    content, style = draw(48, 64, 1), Style(draw(64, 64, 3))
    xla_engine.stylize(content, [style], config)
    # The next one compiles nothing.
    passed = 0.0
    with pytest.raises(DeadlineExceeded):
        xla_engine.stylize(content, [style], config)
