"""Whether images are the same bits alone and in a batch, in a process of its own."""

from __future__ import annotations

import numpy as np

from nst_core.network.procedural import procedural_weights
from nst_core.results import Style
from tests.nst_core.engine.quick import new_engine, pictures, quick

generator = np.random.default_rng(0)
contents = list(generator.integers(0, 256, (3, 64, 64, 3)).astype(np.uint8))
style = Style(generator.integers(0, 256, (80, 64, 3)).astype(np.uint8))
engine, config = new_engine(procedural_weights()), quick(steps=6)
together = pictures(engine.stylize_batch(contents, [style], config))
alone = [engine.stylize(content, [style], config).image for content in contents]
print("the same" if np.array_equal(together, alone) else "others")
