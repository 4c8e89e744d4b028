"""For a person who watches: progress, logs, and silence where others chat."""
