"""`nst weights`: fetch or verify the ImageNet weights."""

from __future__ import annotations

from nst_core.errors import ConfigError
from nst_core.setting_text import URI_SETTINGS
from pipeline import storage
from pipeline.console.notices import without_notices
from pipeline.job.options import HERE
from pipeline.worker.weights import fetch_weights, local_weights


def weights(action: str, source: str, target: str | None) -> int:
    """Fetch or verify weights; the exit status.

    Raises:
        WeightsError: they cannot be had, or are not VGG19's.
    """
    if source not in URI_SETTINGS["weights"]:
        source = storage.resolve(source, HERE)
    if action == "fetch":
        place = fetch_weights(source, target and storage.resolve(target, HERE))
        print(f"{place}: fetched and verified; use it with --weights {place}")
        return 0
    if target is not None:
        raise ConfigError(f"--to {target} goes with fetch, not with verify.")
    from nst_core.network.loading import load_weights

    with without_notices():
        loaded = load_weights(local_weights(source))
    print(f"{source}: good, {len(loaded.layers)} layers, sha256 {loaded.sha256}")
    return 0
