"""Functions as graphs of TensorFlow, compiled by XLA once for each shapes, kept for later."""
