"""What is published: a source distribution, the wheel that is built of it, and what users get."""

from __future__ import annotations

import email
import email.message
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator

import pytest

from tests.deploy.conftest import ROOT

SOURCES = ("nst_core", "pipeline", "configs", "nst_catalog.py", "setup.py", "pyproject.toml")
DOCUMENTS = ("README.md", "LICENSE")
ADDRESS = "https://code.example/nst-catalog"
BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"


def copied(folder: pathlib.Path) -> pathlib.Path:
    """The project's sources in a folder of their own."""
    for name in (*SOURCES, *DOCUMENTS):
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def build(what: str, source: pathlib.Path, into: pathlib.Path, **environment: str) -> None:
    """Build as `build` and pip do, with the packages that are here."""
    subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{what}", str(into)],
        cwd=source,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        timeout=120,
    )


SMALL_DEMO = """
from pipeline.commands.demo import CONFIG, demo
config = CONFIG.updated({"image_size": 48, "scales": [1.0], "steps": 2})
raise SystemExit(demo("made", "procedural", config=config))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A wheel of a source distribution, which alone knows of the repository."""
    folder = tmp_path_factory.mktemp("built")
    source = copied(tmp_path_factory.mktemp("source"))
    build("sdist", source, folder, NST_REPOSITORY=ADDRESS)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    build("wheel", folder / archive.name.removesuffix(".tar.gz"), folder)
    (found,) = folder.glob("*.whl")
    return found


def metadata(wheel: pathlib.Path) -> email.message.Message:
    """What the wheel says of itself."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(file.read(name))


def links(description: str) -> Iterator[str]:
    """Where a page's links and pictures lead."""
    return (found[1] for found in re.finditer(r"\]\(([^)\s]+)\)", description))


def test_the_wheel_holds_both_packages_their_files_and_nothing_else(wheel: pathlib.Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"nst_core", "pipeline", "nst_catalog.py"}
    presets = {path.name for path in (ROOT / "configs").glob("*.yaml")}
    assert {f"nst_core/presets/{name}" for name in presets} <= {*names}
    assert any(name.startswith("pipeline/report/templates/") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_says_what_an_index_shows(wheel: pathlib.Path) -> None:
    found = metadata(wheel)
    assert found["License-Expression"] == "Apache-2.0"
    assert found["License-File"] == "LICENSE"
    assert f"Repository, {ADDRESS}" in found.get_all("Project-URL", [])
    assert len(found.get_all("Project-URL", [])) == 3
    versions = {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)}
    assert versions <= {*found.get_all("Classifier", [])}
    assert found["Requires-Python"] == "<3.14,>=3.11"


def test_the_description_has_absolute_links_and_pictures(wheel: pathlib.Path) -> None:
    found = metadata(wheel)
    description = str(found.get_payload())
    assert f"]({ADDRESS}/raw/HEAD/docs/demo.jpg)" in description
    assert found["Description-Content-Type"] == "text/markdown"
    for link in links(description):
        assert link.startswith(("https://", "#")), link


def test_where_the_address_is_not_known_the_description_has_no_dead_links(
    tmp_path: pathlib.Path,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    build("wheel", copied(source), tmp_path, NST_REPOSITORY="", GIT_DIR="none")
    (found,) = map(metadata, tmp_path.glob("*.whl"))
    assert found.get_all("Project-URL") is None
    text = str(found.get_payload())
    assert "![" not in text
    assert all(link.startswith(("https://", "#")) for link in links(text))


@pytest.mark.timeout(900)
def test_the_installed_wheel_makes_the_demo_in_another_folder(
    wheel: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    python = environment / "bin/python"
    pip = [str(python), "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", str(wheel)]
    subprocess.run(pip, check=True, timeout=120)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.check_output([python, "-c", where], text=True).strip()
    # What it depends on, from here; a line of a .pth brings no project that is editable there.
    (pathlib.Path(site) / "zz.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def nst(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(environment / "bin/nst"), *arguments]
        return subprocess.run(
            command, cwd=elsewhere, env=own, capture_output=True, text=True, check=False
        )

    # As `nst demo` does it, but for the work, which is a minute and a half of a processor.
    subprocess.run([python, "-c", SMALL_DEMO], cwd=elsewhere, env=own, check=True)
    assert len([*(elsewhere / "made").rglob("images/*")]) == 4
    sources = ["made/samples/contents/still_life.jpg", "made/samples/styles/mosaic.jpg"]
    small = ["--config=preview", "--weights=procedural", "--set=image_size=48", "--set=steps=2"]
    done = nst("stylize", *sources, "-o", "one.png", *small)
    assert done.returncode == 0, done.stderr
    found = subprocess.check_output(
        [python, "-c", "import pipeline; print(pipeline.__file__)"], cwd=elsewhere, env=own
    )
    assert found.decode().startswith(site)
    assert nst("--version").stdout.startswith("nst-catalog ")
