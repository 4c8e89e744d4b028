"""What XLA makes of a step of `default` in bfloat16 for an H100, without one: its kernels, the
memory that they read and write, and the milliseconds below which no H100 does it.

A kernel takes at least what its operations (of convolutions and matrix products) take at the
maker's peak, and what its memory takes at the maker's bandwidth; an operand is read once, of one
that is cut out of only what is cut out. Very small kernels take some microseconds each, whatever is
in them, and some are held up by their instructions: those of all other kernels' code, for each warp
that is launched, whether it runs through all of it (branches), once (most) or again and again
(sums); an H100 begins 0.9 million in a microsecond. "Loss and gradient" is a step of an optimiser
that does next to nothing. "GiB" is what the program has in memory at once, without the workspaces
of cuDNN's convolutions; "predicted" is what the engine asks for before
(`nst_core/devices/memory.py`). "Triton's products" are those of XLA without the engine's flags,
each compiled by itself: on the chip once for each tiling that is tried, of which this version has
35 or 70 for an H100. XLA is JAX's, which compiles for a described chip; nothing is tuned, for which
trials on the chip are needed, so the seconds of compilation (of one program, on the processor here)
are those without tuning. `python -m venv .venv-xla` and `.venv-xla/bin/pip install
"jax[cuda13]==0.9.0"` make the environment; its XLA is about as old as TensorFlow 2.21's.
"""

from __future__ import annotations

import json
import math
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2

from benchmarks import compile_for_gpu
from benchmarks.gpu import Unmoved
from benchmarks.options import Options
from nst_core.canvas import Size
from nst_core.compiled.compilation import BOUNDS
from nst_core.config import StyleConfig, preset
from nst_core.devices import memory
from nst_core.devices.operations import PEAKS
from nst_core.engine.program import Program
from nst_core.engine.programs import Programs
from nst_core.network.loading import load_weights

CASES = ((256, 1), (512, 1), (256, 8), (512, 8))
TRITON = {"--xla_gpu_enable_triton_gemm": "true"}
# Words, settings beside those of `default`, whether L-BFGS goes on from there, flags of XLA.
WAYS: tuple[tuple[str, dict[str, str], bool, dict[str, str]], ...] = (
    ("loss and gradient", {}, False, {}),
    ("that with padding: zero", {"padding": "zero"}, False, {}),
    ("the whole step", {}, True, {}),
    ("that with Triton's products", {}, True, TRITON),
)
# Bytes a second, as the maker states it.
BANDWIDTH = 3.35e12
# Whose results are there already, or are names of parts of others.
NO_KERNELS = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
CUTS = {"slice", "dynamic-slice", "gather"}
CUBLAS = "__cublas$gemm"
WRITES = {"dynamic-update-slice": 1, "scatter": 2}


class Kernel(NamedTuple):
    """One kernel: `convolution`, `product` (of matrices) or `other`; its operations and bytes."""

    kind: str
    operations: float
    size: float

    @property
    def least(self) -> float:
        """Seconds that it takes on an H100 at the least."""
        return max(self.operations / (PEAKS["H100"]["bfloat16"] * 1e12), self.size / BANDWIDTH)


class Compiled(NamedTuple):
    """A module compiled, an HloModuleProto; seconds; memory, bytes; instructions of warps."""

    module: bytes
    seconds: float
    memory: int
    instructions: int


def lowered(config: StyleConfig, batch: int, size: Size, *, moving: bool = True) -> bytes:
    """A loop of steps as XLA gets it for a GPU, an HloModuleProto; `moving`: by the optimiser."""
    weights = load_weights("procedural")
    programs = Programs(weights, config.pooling, config.padding, "/GPU:0")
    program = programs.compiled(config, config.precision)
    if not moving:
        program = Program(program.objective, Unmoved(), xla=program.xla)
    objective, optimizer = program.objective, program.optimizer
    small = tf.zeros([1, 64, 64, 3])
    targets = {
        "content": {
            name: _of_size(one, batch, Size(one.shape[2] * size.width, one.shape[1] * size.height))
            for name, one in program.content_targets(small).items()
        },
        "style": tf.nest.map_structure(
            lambda one: _of_size(one, batch), objective.finished(program.style_targets(small))
        ),
    }
    images = tf.TensorSpec([batch, size.height, size.width, 3])
    state = (
        tf.function(lambda x: optimizer.start(x, len(objective.columns)), autograph=False)
        .get_concrete_function(images)
        .structured_outputs
    )
    arguments = (state, targets, objective.weights(config), tf.constant(1.0), tf.constant(1))
    specs = tf.nest.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype), arguments)

    def steps(*flat: Any) -> Any:
        return tf.nest.flatten(program._graph(*tf.nest.pack_sequence_as(specs, flat)))

    compiling = tf.function(steps, jit_compile=True, autograph=False)
    found = compiling.experimental_get_compiler_ir(*tf.nest.flatten(specs))
    return bytes(found(stage="hlo_serialized", platform_name="GPU"))


def _of_size(tensor: Any, batch: int, size: Size | None = None) -> tf.TensorSpec:
    shape = [batch, *tensor.shape[1:]]
    if size:
        shape[1:3] = size.height // 64, size.width // 64
    return tf.TensorSpec(shape, tensor.dtype)


def kernels(module: bytes) -> list[Kernel]:
    """Those of one pass of the loop of steps in a module, an HloModuleProto."""
    proto = hlo_pb2.HloModuleProto.FromString(module)
    computations = {one.id: one for one in proto.computations}
    entry = computations[proto.entry_computation_id]
    called = [one.called_computation_ids for one in entry.instructions if one.opcode == "while"]
    parts = [computations[one] for ids in called for one in ids]
    body = max(parts, key=lambda part: len(part.instructions))
    known = {one.id: one for one in body.instructions}
    return [
        _kernel(one, [known[operand] for operand in one.operand_ids], computations)
        for one in body.instructions
        if one.opcode not in NO_KERNELS
    ]


def _kernel(one: Any, operands: Sequence[Any], computations: Mapping[int, Any]) -> Kernel:
    if one.opcode == "fusion":
        fused = computations[one.called_computation_ids[0]]
        products = _products(fused, computations)
        return Kernel("product" if products else "other", products, _moved(fused))
    # A library's result has its workspace beside it.
    result = one.shape.tuple_shapes[0] if one.shape.tuple_shapes else one.shape
    size = _size(result) + sum(_size(operand.shape) for operand in operands)
    if one.convolution_dimension_numbers.kernel_spatial_dimensions:
        return Kernel("convolution", _convolution(one, result, operands[1]), size)
    if one.opcode == "dot" or one.custom_call_target == CUBLAS:
        return Kernel("product", _product(one, result, operands[0]), size)
    return Kernel("other", 0.0, size)


def _products(fused: Any, computations: Mapping[int, Any]) -> float:
    """Operations of the matrix products inside of a fusion, and of the fusions in it."""
    known = {one.id: one for one in fused.instructions}
    own = [
        _product(one, one.shape, known[one.operand_ids[0]])
        for one in fused.instructions
        if one.opcode == "dot"
    ]
    inner = [
        _products(computations[one.called_computation_ids[0]], computations)
        for one in fused.instructions
        if one.opcode == "fusion"
    ]
    return sum(own) + sum(inner)


def _convolution(one: Any, result: Any, kernel: Any) -> float:
    channels = result.dimensions[one.convolution_dimension_numbers.output_feature_dimension]
    each = math.prod(kernel.shape.dimensions) / channels
    return float(2 * math.prod(result.dimensions) * each)


def _product(one: Any, result: Any, left: Any) -> float:
    summed = one.dot_dimension_numbers.lhs_contracting_dimensions
    if one.custom_call_target == CUBLAS:
        about = json.loads(one.backend_config)["gemm_backend_config"]["dot_dimension_numbers"]
        summed = map(int, about["lhs_contracting_dimensions"])
    each = math.prod(left.shape.dimensions[axis] for axis in summed)
    return float(2 * math.prod(result.dimensions) * each)


def _moved(fused: Any) -> float:
    """Bytes that a fusion reads and writes."""
    known = {one.id: one for one in fused.instructions}
    root = known[fused.root_id]
    results = [known[one] for one in root.operand_ids] if root.opcode == "tuple" else [root]
    parameters = [one for one in fused.instructions if one.opcode == "parameter"]
    read = sum(_read(one, fused) for one in parameters)
    return read + sum(_written(one, known) for one in results)


def _read(source: Any, fused: Any) -> float:
    """Bytes of a parameter, or of what is cut out of it; none of what is written into."""
    found = 0.0
    for one in fused.instructions:
        if source.id not in one.operand_ids:
            continue
        if one.opcode == "bitcast":
            found += _read(one, fused)
        elif one.opcode in CUTS:
            found += _size(one.shape)
        elif one.opcode not in WRITES or one.operand_ids[0] != source.id:
            return _size(source.shape)
    return min(found, _size(source.shape))


def _written(result: Any, known: Mapping[int, Any]) -> float:
    while result.opcode == "bitcast":
        result = known[result.operand_ids[0]]
    if result.opcode in WRITES:
        result = known[result.operand_ids[WRITES[result.opcode]]]
    return _size(result.shape)


def _size(shape: Any) -> float:
    """Bytes of a result."""
    if shape.tuple_shapes:
        return sum(map(_size, shape.tuple_shapes))
    name = xla_data_pb2.PrimitiveType.Name(shape.element_type)
    bits = 8 if name == "PRED" else int(re.sub(r"\D*", "", name))
    return float(math.prod(shape.dimensions) * bits / 8)


def compiled(python: str, module: bytes, flags: Mapping[str, str] | None = None) -> Compiled:
    """A module as XLA compiles it for the chip of `benchmarks.compile_for_gpu`.

    Args:
        flags: for XLA, beside the engine's.

    Raises:
        SystemExit: that Python has no XLA for GPUs.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = (pathlib.Path(folder, name) for name in ("hlo", "compiled"))
        source.write_bytes(module)
        chosen = [f"{name}={value}" for name, value in {**BOUNDS, **(flags or {})}.items()]
        command = [python, compile_for_gpu.__file__, str(source), str(target), *chosen]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(
                f"{python} does not compile for a GPU ({error}); --xla-python takes that of an "
                f'environment with `pip install "{compile_for_gpu.PACKAGE}"`.'
            ) from error
        seconds, *counts = done.stdout.split()
        return Compiled(target.read_bytes(), float(seconds), *map(int, counts))


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows."""
    header = ["px", "batch", "", "kernels", "of these convolutions", "matrix products"]
    header += ["ms at the least", "of these convolutions", "matrix products", "GB of others"]
    header += ["10⁶ instructions", "GiB", "predicted GiB", "compilation, s"]
    rows = []
    for side, batch in CASES:
        size = Size(side, side)
        for words, settings, moving, flags in WAYS:
            config = preset("default").updated({"precision": "bfloat16", **settings})
            module = lowered(config, batch, size, moving=moving)
            done = compiled(options.xla_python, module, flags)
            found = kernels(done.module)
            convolutions, products, others = (
                [one for one in found if one.kind == kind]
                for kind in ("convolution", "product", "other")
            )
            needed = memory.predicted(config, size, batch, "bfloat16", None) if moving else 0
            rows.append([f"{side}", f"{batch}", words])
            rows[-1] += [f"{len(one)}" for one in (found, convolutions, products)]
            rows[-1] += [f"{_least(one):.2f}" for one in (found, convolutions, products)]
            rows[-1] += [f"{sum(one.size for one in others) / 1e9:.2f}"]
            rows[-1] += [f"{done.instructions / 1e6:.0f}"]
            rows[-1] += [f"{done.memory / 2**30:.2f}", f"{needed / 2**30:.2f}" if moving else ""]
            rows[-1] += [f"{done.seconds:.1f}"]
    return header, rows


def _least(some: Sequence[Kernel]) -> float:
    return 1000 * sum(one.least for one in some)
