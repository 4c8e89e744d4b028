"""What marks a pair as done: records, of what and of which images; which files are whose."""
