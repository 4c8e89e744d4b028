"""Functions as graphs of TensorFlow, which XLA compiles once for each set of shapes; kept."""
