"""What other programs load: tables, image folders, tar shards and event files of an output."""

SHARD_PAIRS = 1000  # of webdataset, unless told otherwise
WORST_OF_TENSORBOARD = 50  # pairs, unless told otherwise
