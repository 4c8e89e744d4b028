"""Measurements of speed and memory; `make bench` runs the quick ones."""
