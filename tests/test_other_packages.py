"""The command as it starts: among other packages that have the names of its own, and stopped."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def nst(*arguments: str, path: list[pathlib.Path]) -> subprocess.CompletedProcess[str]:
    """The installed command's entry, with these folders before all others."""
    folders = os.pathsep.join(map(str, path))
    entry = (
        f"import sys; sys.path.append({str(ROOT)!r}); import nst_catalog as n; sys.exit(n.main())"
    )
    return subprocess.run(
        [sys.executable, "-c", entry, *arguments],
        env={**os.environ, "PYTHONPATH": folders},
        cwd=path[0],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["pipeline", "nst_core"])
@pytest.mark.parametrize("form", ["package", "folder", "file"])
def test_another_package_of_the_name_is_told_in_one_sentence(
    name: str, form: str, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / (f"{name}.py" if form == "file" else name)
    if form == "file":
        other.touch()
    else:
        other.mkdir()
        (other / ("__init__.py" if form == "package" else "other.py")).touch()
    done = nst("plan", path=[tmp_path])
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    if form == "folder":
        # Python prefers a real package to a folder, wherever on the path.
        assert "the following arguments are required" in sentence
    else:
        assert f"another {name!r} at {other} before nst-catalog's own in {ROOT}" in sentence
        assert f"take {tmp_path} out of PYTHONPATH" in sentence


def test_presets_are_found_beside_another_configs(tmp_path: pathlib.Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/__init__.py").touch()
    (tmp_path / "configs/quality.yaml").write_text("nonsense: 1\n")
    done = nst("plan", "--manifest=no.csv", "--output=o", "--config=quality", path=[tmp_path])
    assert done.returncode == 2
    assert "no.csv" in done.stderr


def test_ctrl_c_while_it_still_starts_is_one_sentence(tmp_path: pathlib.Path) -> None:
    # The first package that is not the standard library's, which the command imports.
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml/__init__.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    done = nst("plan", path=[tmp_path])
    assert (done.returncode, done.stderr) == (130, "nst: Stopped; give the same command again.\n")
