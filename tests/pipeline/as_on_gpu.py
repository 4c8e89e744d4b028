"""`nst` as on a machine with a GPU; `python as_on_gpu.py ARGUMENTS…`.

Where there is none, TensorFlow places its operations on the processor, and XLA compiles for that.
"""

from __future__ import annotations

import sys

# As `nst run` has it: the devices are asked for before an engine is there.
from nst_core.devices import device

if __name__ == "__main__":
    devices_of = device._devices_of

    def with_one_gpu(kind: str) -> tuple[str, ...]:
        """TensorFlow's names of a kind, once TensorFlow has told of the machine's devices."""
        found = devices_of(kind)
        return (device.GPU,) if kind == "GPU" else found

    device._devices_of = with_one_gpu
    device.available_memory = lambda _: 2.0**34
    from pipeline.__main__ import main

    sys.exit(main(sys.argv[1:]))
