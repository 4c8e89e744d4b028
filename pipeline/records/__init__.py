"""What marks a pair as done, and what a run leaves behind."""
