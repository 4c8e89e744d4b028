"""Decoding in processes of their own: no file can hang, crash, fill or take over the worker."""

from nst_core.decoding.pool import Decoder, decoder

__all__ = ["Decoder", "decoder"]
