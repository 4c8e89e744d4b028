"""Adam and L-BFGS over a batch of images, on the device."""

from __future__ import annotations

# How many pairs of a move and a change of the gradient L-BFGS remembers. Whole pictures have the
# room of all of them from the start; in tiles only those that there are take memory.
HISTORY = 12
