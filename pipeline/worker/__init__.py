"""The work on batches: reading, optimising, writing."""
