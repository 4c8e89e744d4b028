"""What the manual's commands run in: a folder of pictures, and settings that take no time."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nst_core.config import StyleConfig, preset
from pipeline import cli
from pipeline.__main__ import main
from pipeline.job.options import load_config
from pipeline.worker.engine_cache import EngineCache, load_engine
from tests.manual.pages import DOCS, ROOT, Fence, fences, lines
from tests.pipeline.quick_beam import quick_beam

# What a command's comment says of its end: "# status 3".
STATUS = re.compile(r"#.*\bstatus (\d+)")
# Enough to go every way, and little to compute.
LEAST = {
    "image_size": 48,
    "scales": [1.0],
    "steps": 2,
    "content_layers": {"block2_conv1": 1.0},
    "style_layers": {"block1_conv1": 1.0},
}


def small(config: StyleConfig) -> StyleConfig:
    """A configuration of a command as little work, with weights that are there."""
    weights = "procedural" if config.weights == "imagenet" else config.weights
    return config.updated({**LEAST, "weights": weights})


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Commands compute little, and load a network once."""
    loaded: dict[tuple[str, ...], Any] = {}
    engines = EngineCache()

    def load_once(config: StyleConfig, *more: Any, **given: Any) -> Any:
        key = (
            config.weights,
            config.pooling,
            config.padding,
            config.precision,
            repr((more, given)),
        )
        if key not in loaded:
            loaded[key] = load_engine(config, *more, **given)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch, quick_beam():
        patch.setattr("nst_core.config.preset", lambda name: small(preset(name)))
        patch.setattr(cli, "load_config", lambda *given: small(load_config(*given)))
        patch.setattr("pipeline.worker.engine_cache.load_engine", load_once)
        for command in ("plan", "stylize"):
            patch.setattr(f"pipeline.commands.{command}.load_engine", load_once)
        patch.setattr("pipeline.job.stylize_transforms.EngineCache", lambda: engines)
        patch.setattr("pipeline.console.watch.SECONDS_PER_LINE", 3600.0)
        yield


@pytest.fixture(scope="module")
def tutorial(quick: None, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder that the tutorial makes, after its last command."""
    del quick
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("docs", "pipeline"):
        (folder / name).symlink_to(ROOT / name)
    return run(fences(DOCS / "tutorial.md"), folder)


@pytest.fixture
def folder(tutorial: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the tutorial's folder, in which the commands of another page go on."""
    return pathlib.Path(shutil.copytree(tutorial, tmp_path / tutorial.name))


@pytest.fixture(scope="module")
def run_page() -> Callable[[list[Fence], pathlib.Path], pathlib.Path]:
    """See `run`."""
    return run


def run(blocks: list[Fence], folder: pathlib.Path) -> pathlib.Path:
    """Run blocks one after the other, as a reader would; the folder that they end in."""
    known = {"__name__": "page"}
    with contextlib.chdir(folder):
        for block in blocks:
            if block.reason or block.language not in ("bash", "python"):
                continue
            if block.language == "python":
                exec(compile(block.text, "page", "exec"), known)
            else:
                for line in lines(block.text):
                    run_line(line)
        return pathlib.Path.cwd()


def run_line(line: str) -> None:
    """Run one command of the shell; `nst` in this process, for TensorFlow takes seconds."""
    words = shlex.split(line, comments=True)
    expected = int(found[1]) if (found := STATUS.search(line)) else 0
    if words[0] == "cd":
        os.chdir(words[1])
    elif words[0] == "nst":
        status = main(words[1:])
        assert status == expected, f"{line}: status {status}"
    else:
        ended = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, check=False)
        assert ended.returncode == expected, f"{line}: {ended.stderr}"
