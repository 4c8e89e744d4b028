"""`nst` on a processor that TensorFlow takes for two devices; `python two_devices.py ARGUMENTS…`.

With `NST_TEST_LOST` set, the second one fails with whatever it is given.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import tensorflow as tf

from nst_core.engine.style_engine import StyleEngine
from pipeline.__main__ import main

if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    both = [tf.config.LogicalDeviceConfiguration(), tf.config.LogicalDeviceConfiguration()]
    tf.config.set_logical_device_configuration(cpu, both)
    stylize_batch = StyleEngine.stylize_batch

    def failing(self: StyleEngine, *given: Any, **more: Any) -> Any:
        """As the real one, but on the second device."""
        if self.device.endswith(":1"):
            raise tf.errors.InternalError(None, None, "CUDA_ERROR_ECC_UNCORRECTABLE")
        return stylize_batch(self, *given, **more)

    if "NST_TEST_LOST" in os.environ:
        StyleEngine.stylize_batch = failing  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
