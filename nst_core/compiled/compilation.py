"""XLA's compilation: once for each set of arguments' shapes, and kept for later processes.

TensorFlow keeps what XLA compiles, and XLA what it has measured of kernels, in folders in this
process's memory; from there it goes to the `ProgramStore`, and from the store back when a function
is first called with its shapes. So a file that is spoiled, or that another process writes or
removes, meets no compiler.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.metadata
import logging
import os
import pathlib
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.eager.polymorphic_function.attributes import XLA_COMPILE

from nst_core.compiled import memory_files
from nst_core.compiled.function_names import portable
from nst_core.compiled.program_store import (
    LIMIT_VARIABLE,
    SUFFIX,
    ProgramStore,
    digest,
    limit_bytes,
    slug,
)
from nst_core.errors import ConfigError
from nst_core.host import cache_directory

Tensor = Any

# Raised when an archive is to be used no more by a newer version of this package.
STORE_VERSION = 1
PROGRAMS = "ram://nst/programs"
TUNING = "ram://nst/tuning"
TUNING_PREFIX = "tuning-"
PROGRAM_FLAG = "--tf_xla_persistent_cache_directory"
TUNING_FLAGS = (
    "--xla_gpu_per_fusion_autotune_cache_dir",
    "--xla_gpu_experimental_autotuner_cache_dir",
)
# No candidate is compiled to be tried: for every matrix product Triton's tilings (35 on an H100, or
# twice that), for every sum Triton's kernel. cuBLAS and cuDNN have theirs, which only run.
BOUNDS = {
    "--xla_gpu_enable_triton_gemm": "false",
    "--xla_gpu_experimental_enable_fusion_autotuner": "false",
}
# XLA ends the process where it does not know a flag; these were looked up in this version's.
FLAGS_OF = "2.21."

_LOGGER = logging.getLogger("nst")
_lock = threading.Lock()
_tuned: set[str] = set()
# Of programs that are being compiled or loaded, by their names.
_busy: dict[str, threading.Lock] = {}


def set_flags() -> None:
    """Bound XLA's tuning, and let it and TensorFlow keep what they compile in memory.

    They read the environment once, at the first question for devices or the first compilation;
    what the user has set stays. Nothing is kept where an earlier process could compile only without
    that.
    """
    knows = tf.__version__.startswith(FLAGS_OF)
    if knows:
        _add_flags("XLA_FLAGS", BOUNDS)
    try:
        keeps = limit_bytes() > 0 and not _refusal().exists()
    except ConfigError:
        keeps = False  # An engine says so.
    if keeps:
        _add_flags("TF_XLA_FLAGS", {PROGRAM_FLAG: PROGRAMS})
        if knows:
            _add_flags("XLA_FLAGS", dict.fromkeys(TUNING_FLAGS, TUNING))


def _refusal() -> pathlib.Path:
    """The file that says that this TensorFlow could not compile while it kept programs here."""
    return cache_directory() / "programs" / f"refused-{tf.__version__}"


def _refuse_to_keep(reason: str) -> None:
    """Let later processes keep no programs, see `set_flags`."""
    with contextlib.suppress(OSError):
        _refusal().parent.mkdir(parents=True, exist_ok=True)
        _refusal().write_text(f"{reason}\n", encoding="utf-8")
        _LOGGER.warning(
            "In case that is about keeping programs, later processes keep none, as with %s=0, "
            "while %s is there.",
            LIMIT_VARIABLE,
            _refusal(),
        )


def _add_flags(variable: str, flags: dict[str, str]) -> None:
    given = os.environ.get(variable, "").split()
    if given and not given[0].startswith("-"):
        return  # The name of a file that has them.
    names = {flag.partition("=")[0] for flag in given}
    added = [f"{name}={value}" for name, value in flags.items() if name not in names]
    os.environ[variable] = " ".join([*given, *added])


set_flags()


@functools.cache
def store_for(device: str) -> ProgramStore | None:
    """Where programs for TensorFlow's device `/GPU:1` are kept; None: nowhere.

    One for all devices of a kind and model.

    Raises:
        ConfigError: the limit of its size is no number.
    """
    if not limit_bytes():
        return None
    if f"{PROGRAM_FLAG}={PROGRAMS}" not in os.environ.get("TF_XLA_FLAGS", "").split():
        _tell_of_refusal()
        return None
    build = tf.sysconfig.get_build_info()
    flags = [
        flag
        for variable in ("XLA_FLAGS", "TF_XLA_FLAGS")
        for flag in os.environ.get(variable, "").split()
    ]
    about = digest(STORE_VERSION, sorted(build.items()), sorted(flags), _machine(device))
    kind = device.partition(":")[0]
    return _store(slug(["tf", tf.__version__, f"{kind}:0", about[:16]]))


@functools.cache
def _tell_of_refusal() -> None:
    """Say once why nothing is kept, see `set_flags`."""
    if _refusal().exists():
        _LOGGER.warning(
            "No compiled programs are kept, as an earlier process could compile none while it kept "
            "them; remove %s to have them kept again.",
            _refusal(),
        )


@functools.cache
def _store(kind: str) -> ProgramStore:
    return ProgramStore(kind)


def _machine(device: str) -> list[Any]:
    """What decides whether a program for the device runs here."""
    if "GPU" not in device:
        text = _text("/proc/cpuinfo")
        return [os.uname().machine, *re.findall("(?m)^(?:flags|Features).*$", text)[:1]]
    libraries = [
        (one.name, one.version)
        for one in importlib.metadata.distributions()
        if one.name and one.name.startswith("nvidia-")
    ]
    driver = _text("/proc/driver/nvidia/version")
    return [sorted(gpu_details(device).items()), sorted(libraries), driver.partition("\n")[0]]


def gpu_details(gpu: str) -> dict[str, Any]:
    """What TensorFlow tells of a GPU, by its name `/GPU:1`; empty where it sees none."""
    gpus = tf.config.list_physical_devices("GPU")
    number = min(int(gpu.rpartition(":")[2]), len(gpus) - 1)
    return dict(tf.config.experimental.get_device_details(gpus[number])) if gpus else {}


def _text(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


class CompiledFunction:
    """A traced function that XLA compiles, once for each set of shapes of its arguments.

    Several threads may call it: with the same new shapes one compiles and the others wait, with
    different ones they compile side by side.
    """

    def __init__(self, traced: Any) -> None:
        self._traced = traced
        self._lock = threading.Lock()
        # By shapes, the name under which TensorFlow has it; None where a thread failed.
        self._names: dict[tuple[Any, ...], Future[str | None]] = {}

    def __call__(self, arguments: Sequence[Tensor]) -> list[Tensor]:
        """What the function returns of tensors in the order of its signature."""
        shapes = _shapes(arguments)
        with self._lock:
            is_first = shapes not in self._names
            future = self._names.setdefault(shapes, Future())
        if not is_first:
            name = future.result()
            return self(arguments) if name is None else self._call(name, arguments)
        name = None
        try:
            name, found = self._first_call(shapes, arguments)
        finally:
            if name is None:
                with self._lock:
                    del self._names[shapes]
            future.set_result(name)
        return found

    def must_compile(self, arguments: Sequence[Tensor]) -> bool:
        """Whether a call will have to wait for a compilation."""
        shapes = _shapes(arguments)
        with self._lock:
            if shapes in self._names:
                return False
        store = _store_here()
        return store is None or not store.has(self._name(shapes))

    @functools.cached_property
    def _definitions(self) -> list[Any]:
        return portable(self._traced)

    def _name(self, shapes: tuple[Any, ...], attempt: int = 0) -> str:
        return f"nst_{digest(self._definitions[-1].signature.name, shapes, attempt)}"

    def _call(self, name: str, arguments: Sequence[Tensor]) -> list[Tensor]:
        traced = self._traced
        inputs = [*arguments, *traced.captured_inputs]
        found = context.context().call_function(name.encode(), inputs, len(traced.outputs))
        return list(found)

    def _first_call(
        self, shapes: tuple[Any, ...], arguments: Sequence[Tensor]
    ) -> tuple[str, list[Tensor]]:
        store = _store_here()
        name = self._defined(self._name(shapes))
        # What another device compiles meanwhile, this one then loads.
        with _busy.setdefault(name, threading.Lock()) if store else contextlib.nullcontext():
            return self._compiled(name, shapes, arguments, store)

    def _compiled(
        self,
        name: str,
        shapes: tuple[Any, ...],
        arguments: Sequence[Tensor],
        store: ProgramStore | None,
    ) -> tuple[str, list[Tensor]]:
        kept = store.read(name) if store else None
        if store and kept is None:
            _restore_tuning(store)
        if kept:
            memory_files.put(PROGRAMS, kept)
        try:
            return name, self._call(name, arguments)
        except tf.errors.OpError as error:
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise
            if kept is None:
                return self._uncompiled(shapes, arguments, store, error)
            # TensorFlow cannot use what was kept, and compiles nothing under this name any more:
            # the next process does. Or the device computes nothing at all; then others can use it.
            assert store
            again = self._defined(self._name(shapes, attempt=1))
            found = self._call(again, arguments)
            store.remove(name)
            memory_files.take(PROGRAMS, again)
            return again, found
        finally:
            if store:
                _keep(store, name, memory_files.take(PROGRAMS, name), kept or {})

    def _uncompiled(
        self,
        shapes: tuple[Any, ...],
        arguments: Sequence[Tensor],
        store: ProgramStore | None,
        error: tf.errors.OpError,
    ) -> tuple[str, list[Tensor]]:
        """A first call without XLA; slow is better than not at all."""
        name = self._defined(self._name(shapes, attempt=2), is_compiled=False)
        found = self._call(name, arguments)
        reason = str(error.message).partition("\n")[0]
        _LOGGER.warning(
            "XLA cannot compile the steps (%s), which run without it, slower, in this process.",
            reason,
        )
        # Where programs have been kept, keeping them is not what is wrong.
        if store and not store.files():
            _refuse_to_keep(reason)
        return name, found

    def _defined(self, name: str, *, is_compiled: bool = True) -> str:
        """The name, under which TensorFlow knows the function from now on."""
        *called, whole = self._definitions
        whole = copy.deepcopy(whole)
        whole.signature.name = name
        whole.attr[XLA_COMPILE].b = is_compiled
        here = context.context()
        with _lock:
            for definition in [*called, whole]:
                if not here.has_function(definition.signature.name):
                    here.add_function_def(definition)
        return name


def side_by_side(compilations: Sequence[Callable[[], Any]]) -> None:
    """Begin with all these calls of compiled functions, each in a thread, and return.

    What goes wrong with one goes wrong again, and is told, where its program is needed.
    """
    device = context.context().device_name

    def run(compilation: Callable[[], Any]) -> None:
        with contextlib.suppress(Exception), tf.device(device):
            compilation()

    for one in compilations:
        threading.Thread(target=run, args=(one,), name="nst-compiling").start()


def _shapes(arguments: Sequence[Tensor]) -> tuple[Any, ...]:
    return tuple((one.dtype.name, *one.shape) for one in arguments)


def _store_here() -> ProgramStore | None:
    """Of the device of this thread's `tf.device`."""
    here = context.context().device_name or ""
    gpu = re.search(r"GPU:\d+", here)
    return store_for(f"/{gpu[0]}" if gpu else "/CPU:0")


def _keep(
    store: ProgramStore, name: str, found: dict[str, bytes], before: dict[str, bytes]
) -> None:
    """Keep what was found after a call beyond what was there before it."""
    if found.keys() - before.keys():
        if before:
            store.remove(name)
        store.write(name, found)
        _keep_tuning(store)


def _restore_tuning(store: ProgramStore) -> None:
    """What earlier processes have measured, for a compilation of this one."""
    with _lock:
        # XLA writes there first.
        tf.io.gfile.makedirs(f"{TUNING}/tmp")
        for file in store.files():
            if file.startswith(TUNING_PREFIX) and file not in _tuned:
                _tuned.add(file)
                files = store.read(file.removesuffix(SUFFIX)) or {}
                memory_files.put(TUNING, files)
                _tuned.update(files)


def _keep_tuning(store: ProgramStore) -> None:
    """What was measured of kernels since the last call, for other processes."""
    with _lock:
        new = [name for name in memory_files.written(TUNING) if name not in _tuned]
        _tuned.update(new)
        if new:
            files = {name: memory_files.read(f"{TUNING}/{name}") for name in new}
            store.write(TUNING_PREFIX + digest(*sorted(files.items())), files)
