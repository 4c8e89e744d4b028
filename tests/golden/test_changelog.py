"""The changelog tells for every version what is done again and what stays done."""

from __future__ import annotations

import pathlib
import re
import tomllib

from nst_core.identity import ALIKE_VERSIONS, ENGINE_VERSION
from nst_core.network import procedural

ROOT = pathlib.Path(__file__).parents[2]
# By the version of the package, from its heading on.
SECTIONS = {
    section.split()[0]: section
    for section in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1:]
}


def test_the_newest_section_is_of_the_package_s_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert next(iter(SECTIONS)) == project["version"]


def test_every_version_says_what_it_redoes() -> None:
    for version, section in SECTIONS.items():
        _, _, told = section.partition("\n### What it redoes\n")
        assert "done again" in told, version
        assert re.search(r"stays? done", told), version


def test_the_newest_version_s_word_is_of_the_engine_and_the_weights_that_there_are() -> None:
    told = next(iter(SECTIONS.values())).partition("### What it redoes")[2]
    assert f"the engine (version {ENGINE_VERSION} now)" in told
    assert f"(version {procedural.VERSION}, as ever)" in told
    alike = " or ".join((ENGINE_VERSION, *ALIKE_VERSIONS))
    assert f"done by engine {alike} | stays done" in told
