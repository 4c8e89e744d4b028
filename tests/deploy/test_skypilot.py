"""The SkyPilot task: its command is one that the program takes."""

from __future__ import annotations

import shlex

import yaml

from pipeline import cli
from pipeline.runners import dataflow
from tests.deploy.conftest import DEPLOY

TASK = yaml.safe_load((DEPLOY / "schedule/skypilot/nst.yaml").read_text(encoding="utf-8"))


def test_its_command_is_one_that_the_program_takes() -> None:
    # The same on each machine that a task gets.
    task = "sky-managed-2026-10-06-05-17-09-750781_nst_8-0"
    command = TASK["run"].replace("BUCKET", "bucket").replace("$SKYPILOT_TASK_ID", task)
    words = shlex.split(command)
    options = dataflow.completed(cli.run_options(cli.parse(words[1:])))
    assert words[0] == "nst"
    assert (options.lock, options.run_id) == (True, task)
    assert options.config.device == "gpu"
    assert options.output == "gs://bucket/stylized"


def test_a_machine_that_may_be_taken_away_is_replaced() -> None:
    resources = TASK["resources"]
    assert resources["use_spot"]
    assert resources["accelerators"] == "L4:1"
    assert resources["job_recovery"]["strategy"] == "FAILOVER"
