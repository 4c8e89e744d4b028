"""Which settings a manifest's rows may change, where those who write them are not to be trusted.

A row that may set all can name weights, which are parsed outside of the decoding processes, lift
the limits on what its pictures take, and ask for days of work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nst_core.config import SETTINGS, StyleConfig, unknown_setting
from nst_core.errors import ConfigError, OptionsInvalid, shown

NO_SETTINGS = "none"


def parse_allowed(text: str) -> tuple[str, ...]:
    """The names in `steps,style_weight`, sorted; those of `none` are no names.

    Raises:
        ConfigError: one of them is no setting.
    """
    names = {name.strip() for name in text.split(",")} - {NO_SETTINGS}
    for name in names:
        if name not in SETTINGS:
            raise ConfigError(f"--allow-options is {shown(text)}: {unknown_setting(name)}.")
    return tuple(sorted(names))


def allow_options_arguments(allowed: Sequence[str] | None) -> list[str]:
    """The words of a command line that allow just these; of None, which allows all, no words."""
    return [] if allowed is None else ["--allow-options", ",".join(allowed) or NO_SETTINGS]


def check_allowed(
    asked: Collection[str], own: StyleConfig, config: StyleConfig, allowed: Sequence[str] | None
) -> None:
    """Refuse a row's configuration that differs from the job's in what it may not set.

    Args:
        asked: the settings that the row names.
        own: the row's, of the job's `config`.
        allowed: None for all.

    Raises:
        OptionsInvalid: with the first of them.
    """
    for key in asked if allowed is not None else ():
        if key not in (allowed or ()) and getattr(own, key) != getattr(config, key):
            raise OptionsInvalid(
                f"options.{key} is {shown(getattr(own, key))}, and rows may set only "
                f"{', '.join(allowed or ()) or 'what the run has anyway'}; leave it out, or run "
                f"with --allow-options {','.join(sorted({*(allowed or ()), key}))}."
            )
