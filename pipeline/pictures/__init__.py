"""The sample pictures, one module each, drawn with NumPy and Pillow alone."""
