"""Adam and L-BFGS over a batch of images, on the device."""

from __future__ import annotations

# Pairs of a move and a change of the gradient that L-BFGS remembers. In tiles it holds those that
# there are, beside TILED_IMAGES; whole pictures have the room of all from the start.
HISTORY = 12
