"""A manifest's rows, read and written."""
