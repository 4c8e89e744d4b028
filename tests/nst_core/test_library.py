"""`nst_core` as a library: what its users import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nst_core


@pytest.mark.parametrize("name", nst_core.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(nst_core, name) is not None
    assert name in dir(nst_core)


def test_the_imports_that_were_shown_before_go_on_working() -> None:
    from nst_core.config import preset
    from nst_core.engine import StyleEngine
    from nst_core.results import Style

    assert (preset, StyleEngine, Style) == (nst_core.preset, nst_core.StyleEngine, nst_core.Style)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(ImportError, match="StyleMotor"):
        from nst_core import StyleMotor  # type: ignore[attr-defined]  # noqa: F401


def test_importing_the_package_imports_no_tensorflow() -> None:
    code = "import sys, nst_core; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
