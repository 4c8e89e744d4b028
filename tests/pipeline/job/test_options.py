"""Options of a run: where a configuration comes from, and what is Beam's."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import pytest
import yaml

from nst_core.config import PRESETS, StyleConfig, preset
from nst_core.errors import ConfigError
from pipeline import storage
from pipeline.commands.run import config_yaml
from pipeline.job.options import (
    RunOptions,
    beam_option_names,
    check_beam_arguments,
    check_option_names,
    load_config,
)

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket


def test_without_anything_the_defaults_hold() -> None:
    assert load_config(None, [], {"weights": None}) == StyleConfig()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_given_by_its_name(name: str) -> None:
    assert load_config(name, [], {}) == preset(name)


def test_defaults_lose_to_the_file_and_the_file_to_set_and_set_to_overrides(
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("steps: 7\nseed: 5\ntv_weight: 0.5\n", encoding="utf-8")
    config = load_config(str(file), ["seed=6", "tv_weight=1e-3"], {"tv_weight": 0.25})
    assert (config.steps, config.seed, config.tv_weight) == (7, 6, 0.25)
    assert config.image_size == StyleConfig().image_size


def test_the_last_of_several_set_counts() -> None:
    assert load_config(None, ["seed=1", "seed=2"], {}).seed == 2


def test_settings_on_the_command_line_are_yaml() -> None:
    given = ["scales=[0.25, 1]", "steps=[3,4]", "style_layers={block1_conv1: 1}", "image_height=90"]
    config = load_config(None, given, {})
    assert config.scales == (0.25, 1.0)
    assert config.steps == (3, 4)
    assert config.style_layers == {"block1_conv1": 1.0}
    assert (config.image_height, config.image_size) == (90, None)


def test_an_empty_file_changes_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty.yaml").touch()
    assert load_config(str(tmp_path / "empty.yaml"), [], {}) == StyleConfig()


@pytest.mark.parametrize("name", PRESETS)
def test_the_configuration_of_a_run_can_be_given_again(name: str, tmp_path: pathlib.Path) -> None:
    config = preset(name).updated({"init": "gs://b/größe: 1.png", "weights": "/w/#1.h5"})
    (tmp_path / "config.yaml").write_bytes(config_yaml(config))
    assert load_config(str(tmp_path / "config.yaml"), [], {}) == config


def test_a_configuration_may_lie_in_a_bucket(gcs: EmulatedBucket, tmp_path: pathlib.Path) -> None:
    storage.write_bytes(gcs.uri("mine.yaml"), yaml.safe_dump({"seed": 8}).encode(), "text/plain")
    assert load_config(gcs.uri("mine.yaml"), [], {}).seed == 8
    with pytest.raises(ConfigError, match=r"cannot be read, for .*none\.yaml does not exist"):
        load_config(gcs.uri("none.yaml"), [], {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(str(tmp_path), [], {})


@pytest.mark.parametrize(
    ("arguments", "runner"),
    [
        ((), None),
        (("--streaming",), None),
        (("--runner=FlinkRunner",), "FlinkRunner"),
        (("--x", "1", "--runner", "DirectRunner"), "DirectRunner"),
    ],
)
def test_the_runner_is_known_however_it_is_given(
    arguments: tuple[str, ...], runner: str | None
) -> None:
    assert RunOptions("m", "o", StyleConfig(), beam_arguments=arguments).runner == runner


def test_no_option_that_beam_knows_is_refused() -> None:
    from apache_beam.options import pipeline_options

    parser = pipeline_options._BeamArgumentParser(allow_abbrev=False)
    for cls in pipeline_options.PipelineOptions.__subclasses__():
        if cls.__module__ == pipeline_options.__name__:
            cls._add_argparse_args(parser)
    known = [o for action in parser._actions for o in action.option_strings if o.startswith("--")]
    check_option_names([o for o in known if o not in ("--help", "--dry_run")], "run", [])
    assert len(known) > 100
    assert beam_option_names() == {*known} - {"--help"}
    assert {"--runner", "--project", "--direct_num_workers"} <= beam_option_names()


@pytest.mark.parametrize("runner", ["--runner=FlinkRunner", "--runner=PortableRunner"])
def test_options_of_a_portable_runner_s_own_pass(runner: str) -> None:
    check_option_names(["--flink_master_of_mine=x", runner], "run", [])


def test_a_portable_runner_s_options_pass_also_when_its_name_stands_apart() -> None:
    check_option_names(["--runner", "SparkRunner", "--spark_speciality", "3"], "run", [])


def test_an_unknown_option_is_named_with_its_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--num_worker .*--num_workers"):
        check_option_names(["--num_worker=3"], "run", [])
    with pytest.raises(ConfigError, match=r"--contnts .*--contents"):
        check_option_names(["--contnts", "x"], "manifest", ["--contents"])


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("runner", [[], ["--runner=DirectRunner"], ["--runner", "FlinkRunner"]])
@pytest.mark.parametrize(
    "name", ["--dry-run", "--dry_run", "--dry_run=true", "--dryrun", "--dryRun", "--dry", "--dry_r"]
)
def test_a_dry_run_in_any_spelling_is_refused_and_the_plan_named(
    command: str, runner: list[str], name: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{name.partition('=')[0]} .*nst plan"):
        check_option_names([*runner, name], command, ["--manifest"])


@pytest.mark.parametrize("name", ["--xyz", "--abc", "--vp_arg1"])
def test_an_example_in_beam_s_documentation_is_no_option(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        check_option_names([name], "run", [])


@pytest.mark.parametrize(
    "given", ["--on_existing=redo", "--on-exist", "--onExisting", "--batchsize", "--limits=3"]
)
def test_a_misspelt_option_of_the_command_never_goes_to_a_portable_runner(given: str) -> None:
    own = ["--on-existing", "--batch-size", "--limit"]
    with pytest.raises(ConfigError, match="did you mean --"):
        check_option_names(["--runner=FlinkRunner", given], "run", own)


def test_a_value_may_follow_its_option_but_stand_nowhere_else() -> None:
    check_beam_arguments(["--project", "p", "--streaming", "--region=r"])
    for stray in (["p"], ["--region=r", "p"], ["--project", "p", "q"]):
        with pytest.raises(ConfigError, match=f"{stray[-1]!r}"):
            check_beam_arguments(stray)
