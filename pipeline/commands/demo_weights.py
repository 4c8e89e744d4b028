"""Which weights a demo takes where nobody says: ImageNet's where they are soon there, else made."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from nst_core.errors import WeightsError
from nst_core.network.quick_fetch import Received, fetch_imagenet
from nst_core.network.weights import imagenet_cache_path, is_imagenet_cached
from pipeline.console.notices import without_notices


def choose_weights() -> tuple[str, str]:
    """The name of the weights, and the sentence that says which they are and why.

    The only place where weights that cannot be had are replaced by others.
    """
    cached = imagenet_cache_path()
    if is_imagenet_cached():
        return "imagenet", f"Weights: imagenet, trained ones, which are in {cached}."
    try:
        with _bar() as received, without_notices():
            fetch_imagenet(received)
    except WeightsError as error:
        return "procedural", (
            f"Weights: procedural, made and not trained, because ImageNet's are not in {cached} "
            f"and cannot be fetched at once ({error}); nst demo --weights imagenet waits for them."
        )
    return "imagenet", f"Weights: imagenet, trained ones, just fetched into {cached}."


@contextlib.contextmanager
def _bar() -> Iterator[Received]:
    """A bar of the bytes that have come, where a person watches; it goes when it is full."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("ImageNet weights", total=None)
        yield lambda count, total: bar.update(task, completed=count, total=total or None)
