"""The commands of `nst`, a file for each."""
