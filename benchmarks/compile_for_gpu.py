"""XLA's compilation for a GPU that is not there: `python compile_for_gpu.py HLO COMPILED FLAG…`, by
the Python of an environment that has `PACKAGE`. Prints its seconds, the bytes of its memory, and
the instructions of a pass of its loop.

TensorFlow's own XLA compiles for a GPU only where it finds one; that of JAX takes a description of
the chip instead. Nothing is tuned: what that would choose takes trials on the chip.
"""

from __future__ import annotations

import math
import os
import pathlib
import re
import sys
import tempfile
import time

PACKAGE = "jax[cuda13]==0.9.0"
# An H100 (SXM), as XLA finds it.
CHIP = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
FLAGS = "--xla_gpu_autotune_level=0 --xla_dump_to="
ENVIRONMENT = {
    "JAX_PLATFORMS": "cuda,cpu",
    # It would look for a driver.
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}

# A line of the list of launches, inside of a loop: the kernel, blocks, threads of a block.
LAUNCH = re.compile(
    r"(?m)^ +\d+: kKernel.*?kernel = (\w+), .*?blocks: {(\d+), (\d+), (\d+)}, "
    r"threads/block: {(\d+), (\d+), (\d+)}"
)
WARP = 32


def compiled(hlo: bytes) -> tuple[bytes, float, int]:
    """A module compiled for `CHIP`, both as HloModuleProto; the seconds it took; its memory, bytes.

    That memory is what the program has at once: arguments, results, what is in between.
    """
    # JAX compiles what is no function of its own only by what it calls private.
    from jax._src import compiler
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jax._src.lib.mlir import ir
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(platform="cuda", target_config=CHIP, topology="1x1x1")
    (device,) = topology.devices
    text = xla_client._xla.mlir.xla_computation_to_mlir_module(xla_client.XlaComputation(hlo))
    module = ir.Module.parse(text, context=mlir.make_ir_context())
    choices = compiler.get_compile_options(num_replicas=1, num_partitions=1)
    devices = xla_client.DeviceList((device,))
    begin = time.perf_counter()
    found = device.client.compile(module, devices, choices)
    seconds = time.perf_counter() - begin
    (one,) = found.hlo_modules()
    memory = found.get_compiled_memory_stats()
    taken = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return one.as_serialized_hlo_module_proto(), seconds, taken - memory.alias_size_in_bytes


def instructions(code: str, launches: str) -> int:
    """Those of all warps in a pass of the loop, but of matrix products: PTX's, jumped over or not.

    Args:
        code: the program's PTX.
        launches: XLA's list of what it launches, in which the loop's are indented.
    """
    lengths = {
        name: len(re.findall(r"(?m)^\s+(?:@!?%p\d+ )?[a-z][^:\n]*;$", body))
        for name, body in re.findall(r"(?s)\.entry (\w+)\(.*?\n{\n(.*?)\n}\n", code)
    }
    found = 0
    for name, *sizes in LAUNCH.findall(launches):
        x, y, z, *threads = map(int, sizes)
        if not name.startswith("gemm"):
            found += lengths[name] * x * y * z * -(-math.prod(threads) // WARP)
    return found


if __name__ == "__main__":
    source, target = map(pathlib.Path, sys.argv[1:3])
    with tempfile.TemporaryDirectory() as dump:
        os.environ.update(ENVIRONMENT, XLA_FLAGS=" ".join([FLAGS + dump, *sys.argv[3:]]))
        proto, seconds, taken = compiled(source.read_bytes())
        texts = (
            next(pathlib.Path(dump).glob(f"*{ending}")).read_text(encoding="utf-8")
            for ending in (".ptx", ".thunk_sequence.txt")
        )
        print(seconds, taken, instructions(*texts))
    target.write_bytes(proto)
