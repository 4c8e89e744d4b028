"""What a run says of itself and leaves behind; all runs of an output together."""
