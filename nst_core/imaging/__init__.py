"""Bytes to upright sRGB arrays and back, safely; sizes and colours."""
