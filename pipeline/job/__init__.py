"""The Beam pipeline and its stages, and the options that shape it."""
