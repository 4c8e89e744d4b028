"""Beam and storage: the catalog job around `nst_core`."""
