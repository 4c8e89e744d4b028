"""`nst` as on a machine with a GPU; `python as_on_gpu.py ARGUMENTS…`.

Where there is none, TensorFlow places its operations on the processor, and XLA compiles for that.
"""

from __future__ import annotations

import sys

from nst_core.engine import batch, device, style_engine
from pipeline.__main__ import main

if __name__ == "__main__":
    device.devices = lambda _: (device.GPU,)
    for module in (batch, style_engine):
        module.available_memory = lambda _: 2.0**34  # type: ignore[attr-defined]
    sys.exit(main(sys.argv[1:]))
