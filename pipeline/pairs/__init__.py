"""Rows as pairs: what each asks for, which files it may name, how its images are called."""
