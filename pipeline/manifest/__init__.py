"""Rows and pairs, read and written."""
