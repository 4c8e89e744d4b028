"""docs/running.md: its commands are ones that the command line takes, its numbers the code's."""

from __future__ import annotations

import re
import shlex

import pytest

from nst_core.canvas import Size
from nst_core.config import preset
from nst_core.devices.operations import PEAKS
from pipeline import cli
from pipeline.job import gpus
from pipeline.runners import dataflow
from tests.deploy.conftest import ROOT

TEXT = (ROOT / "docs/running.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in re.sub(r"\\\n", " ", block).splitlines()]
COMMANDS = [part for line in LINES for part in line.split(" && ") if part.startswith("nst ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_the_program_takes(command: str) -> None:
    # Placeholders in capitals would be no names of buckets.
    arguments = shlex.split(command.replace("BUCKET", "bucket").replace("REGION", "us"))[1:]
    known = cli.parse(arguments)
    if known.command == "run":
        dataflow.completed(cli.run_options(known))


def test_there_is_a_command_for_every_place() -> None:
    runners = {
        cli.run_options(cli.parse(shlex.split(c)[1:])).runner for c in COMMANDS if " run " in c
    }
    assert {None, "FlinkRunner", "DataflowRunner"} <= runners
    assert any("--gpu" in command for command in COMMANDS)


def test_scripts_and_files_that_are_named_are_there() -> None:
    for name in re.findall(r"^(deploy/\S+\.sh)", "\n".join(LINES), re.MULTILINE):
        assert (ROOT / name).exists()
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link


def test_every_way_of_running_says_how_to_watch_stop_and_keep_it() -> None:
    for title in ("Laptop", "One GPU machine", "Flink", "Dataflow"):
        section = TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        for word in ("*Watch*", "*Stop*", "*Go", "*Keep*"):
            assert word in section, title


def test_the_table_of_seconds_is_the_code_s_estimate() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in TEXT.splitlines()
        if line.startswith("| `nvidia-")
    ]
    assert [row[0].strip("`") for row in rows] == [*gpus.NAMES]
    for name, memory, peak, *seconds, source in rows:
        gpu = gpus.find(name.strip("`"))
        precision = gpu.precision(preset("default"))
        assert memory == f"{gpu.memory_gib} GB"
        assert peak == f"{PEAKS[gpu.chip][precision]:g} {precision}"
        expected = []
        for preset_name in ("preview", "default", "quality"):
            config = preset(preset_name)
            side = int(config.image_size or 0)
            expected.append(f"{gpu.seconds(config, Size(side, side)):.2g} s")
        assert seconds == expected
        measured = gpu.name == "nvidia-h100"
        assert source == ("share measured" if measured else "estimated")


def test_the_example_of_a_job_s_cost_is_the_code_s() -> None:
    default, square = preset("default"), Size(512, 512)
    seconds = 10_000 * gpus.find("nvidia-l4").seconds(default, square)
    shapes = gpus.shapes([(default, square, 10_000)], compiled=True)
    compiling = shapes["compile_seconds"]
    eight, one = gpus.cost(seconds, 8, compiling), gpus.cost(seconds, 1, compiling)
    text = " ".join(TEXT.split())
    assert f"{gpus.START_MINUTES:.0f} minutes for a worker to start" in text
    assert f"{gpus.PROGRAM_SECONDS:.0f} s for each program" in text
    assert f"about {eight.hours * 60:.0f} minutes and {eight.gpu_hours:.1f} GPU hours" in text
    assert f"on one: {one.hours:.1f} hours" in text
