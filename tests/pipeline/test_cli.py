"""The command line: what it takes, and how it refuses at once."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from nst_core.config import SETTINGS
from nst_core.errors import ConfigError
from pipeline import cli
from pipeline.__main__ import main
from pipeline.job.budget import MaxFailures
from pipeline.job.gpus import GPUS

COMMANDS = (
    *("run", "plan", "status", "stylize", "manifest", "report", "export", "demo", "weights"),
)
RUN = ["run", "--manifest", "pairs.csv", "--output", "out", "--weights", "procedural"]

# Command lines that are wrong, and what the sentence must name.
USAGE_ERRORS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "unknown command": (["rnu"], ("rnu", "run")),
    "run without manifest": (["run", "--output", "out"], ("--manifest",)),
    "run without output": (["run", "--manifest", "pairs.csv"], ("--output",)),
    "misspelt option": (["run", "--mainfest", "m.csv", "--output", "o"], ("--mainfest", "--manif")),
    "misspelt option, also with =": ([*RUN, "--bach-size=2"], ("--bach-size", "--batch-size")),
    "misspelt option of Beam's": ([*RUN, "--runer=X"], ("--runer", "--runner")),
    "option of nobody's": ([*RUN, "--zzzzqqqq", "3"], ("--zzzzqqqq", "--help")),
    "stray word": ([*RUN, "more.csv"], ("more.csv",)),
    "unknown choice": ([*RUN, "--on-existing", "replace"], ("replace", "skip", "redo", "error")),
    "batch size of 0": ([*RUN, "--batch-size", "0"], ("--batch-size", "0")),
    "batch size in words": ([*RUN, "--batch-size", "many"], ("--batch-size", "many")),
    "no shards": ([*RUN, "--results-shards=-1"], ("--results-shards", "-1")),
    "run id that is no name": ([*RUN, "--run-id", "a/b"], ("--run-id", "a/b")),
    "GPU of nobody's": ([*RUN, "--gpu", "nvidia-l5"], ("nvidia-l5", "nvidia-l4")),
    "GPU that may be two": ([*RUN, "--gpu", "80gb"], ("nvidia-a100-80gb or nvidia-h100",)),
    "GPU of no part of a name": ([*RUN, "--gpu", "xy"], ("xy", "nvidia-l4", "nvidia-h100")),
    "GPU by a part, elsewhere": ([*RUN, "--gpu", "L4"], ("--gpu nvidia-l4", "DataflowRunner")),
    "setting as an option": ([*RUN, "--device", "gpu"], ("give --set device=gpu.",)),
    "setting as an option with =": ([*RUN, "--image-size=300"], ("--set image_size=300.",)),
    "setting as an option at the end": ([*RUN, "--seed"], ("--set seed=VALUE.",)),
    "setting as an option of stylize": (
        ["stylize", "a.png", "s.png", "-o", "x.png", "--style-scale", "2"],
        ("--set style_scale=2.",),
    ),
    "setting as an option of a portable runner": (
        [*RUN, "--runner=FlinkRunner", "--device=gpu"],
        ("--set device=gpu.",),
    ),
    "braces that a shell has taken apart": (
        [*RUN, "--set", "content_layers=block3_conv2:1", "content_layers=block4_conv2:1"],
        ("content_layers=block4_conv2:1", "quotes around braces"),
    ),
    "unknown layer without blank": (
        [*RUN, "--set", "content_layers={block3_conv9:1}"],
        ("block3_conv9", "block5_conv4"),
    ),
    "GPU elsewhere than on Dataflow": ([*RUN, "--gpu", "nvidia-l4"], ("--runner=DataflowRunner",)),
    "Dataflow with a local manifest": ([*RUN, "--runner=DataflowRunner"], ("pairs.csv", "gs://")),
    "Dataflow with local pictures": (
        [
            "run",
            "--contents=a.png",
            "--styles=a.png",
            "--output=gs://b/o",
            "--runner=DataflowRunner",
        ],
        ("--contents or --styles", "gs://"),
    ),
    "unknown form of logs": ([*RUN, "--log-format", "xml"], ("xml", "json")),
    "limit of 0": ([*RUN, "--limit=0"], ("--limit", "0", "at least 1")),
    "failures in words": ([*RUN, "--max-failures", "few"], ("--max-failures", "few", "5%")),
    "unknown results": ([*RUN, "--results-format=xml"], ("xml", "jsonl", "parquet")),
    "JSON of a run": ([*RUN, "--json"], ("--json", "nst run")),
    "plan without output": (["plan", "--manifest", "pairs.csv"], ("--output",)),
    "plan with a misspelt option": (["plan", *RUN[1:], "--limt=3"], ("--limt", "--limit")),
    "plan of a missing manifest": (["plan", "--manifest=no.csv", "--output=o"], ("no.csv",)),
    "setting without value": ([*RUN, "--set", "steps"], ("steps", "key=value")),
    "unknown setting": ([*RUN, "--set", "image_sze=3"], ("image_sze", "image_size")),
    "setting out of range": ([*RUN, "--set", "image_size=3"], ("image_size", "3", "16")),
    "setting that is not YAML": ([*RUN, "--set", "steps=[1"], ("[1",)),
    "contradicting settings": ([*RUN, "--set", "scales=[1]"], ("steps", "scales")),
    "unknown preset": ([*RUN, "--config", "defualt"], ("defualt", "default", "preview")),
    "configuration that is not there": (
        [*RUN, "--config", "none.yaml"],
        ("none.yaml does not exist", "presets default"),
    ),
    "preset with an error": ([*RUN, "--config", "previw"], ("did you mean preview?",)),
    "configuration that is not YAML": ([*RUN, "--config", "broken.yaml"], ("broken.yaml", "YAML")),
    "configuration without settings": ([*RUN, "--config", "list.yaml"], ("list.yaml",)),
    "unknown setting in a file": ([*RUN, "--config", "typo.yaml"], ("stepz", "steps")),
    "configuration that is a picture": ([*RUN, "--config", "a.png"], ("a.png", "YAML")),
    "status without output": (["status"], ("O",)),
    "status of a folder without runs": (["status", "none"], ("none", "no runs", "--output")),
    "export without a format": (["export", "out"], ("--format",)),
    "export in an unknown format": (
        ["export", "out", "--format=xml"],
        ("xml", "csv", "webdataset"),
    ),
    "export to nowhere": (["export", "out", "--format=csv"], ("needs a destination", ".csv")),
    "export of nothing": (
        ["export", "none", "--format=csv", "-o", "x.csv"],
        ("none", "no results", "--output"),
    ),
    "export as CSV by another name": (
        ["export", "out", "--format=csv", "-o", "x.txt"],
        ("x.txt", ".csv"),
    ),
    "export onto a file": (["export", "out", "--format=csv", "-o", "pairs.csv"], ("pairs.csv",)),
    "export into a folder with files": (
        ["export", "out", "--format=imagefolder", "-o", "."],
        ("holds files already", "empty"),
    ),
    "export among the results": (
        ["export", "out", "--format=webdataset", "-o", "out/images/new"],
        ("out/images/new", "output's own images"),
    ),
    "export of the worst none": (
        ["export", "out", "--format=csv", "-o", "x.csv", "--worst=0"],
        ("--worst is 0", "at least 1"),
    ),
    "export of a table in shards": (
        ["export", "out", "--format=csv", "-o", "x.csv", "--shard-pairs=9"],
        ("--shard-pairs is for --format webdataset",),
    ),
    "export by marks without a file": (
        ["export", "out", "--format=csv", "-o", "x.csv", "--marked", "keep"],
        ("--marks FILE",),
    ),
    "stylize without images": (["stylize", "-o", "x.png"], ("CONTENT",)),
    "stylize without output": (["stylize", "a.png", "s.png"], ("--output",)),
    "stylize with Beam's option": (
        ["stylize", "a", "s", "-o", "x.png", "--runner=X"],
        ("--runner",),
    ),
    "stylize with more masks than styles": (
        ["stylize", "a.png", "s.png", "-o", "x.png", "--style-mask", "-", "--style-mask", "m.png"],
        ("--style-mask is given 2 times for 1 styles",),
    ),
    "stylize with fewer weights than styles": (
        ["stylize", "a.png", "s.png", "t.png", "-o", "x.png", "--style-weight=2"],
        ("--style-weight is given 1 times for 2 styles", "once for each"),
    ),
    "stylize with an infinite weight": (
        ["stylize", "a.png", "s.png", "-o", "x.png", "--style-weight=inf"],
        ("--style-weight is inf", "from 1e-09 to 1e+09"),
    ),
    "stylize with a weight of nothing": (
        ["stylize", "a.png", "s.png", "-o", "x.png", "--style-weight=0"],
        ("--style-weight is 0", "from 1e-09 to 1e+09"),
    ),
    "stylize with unknown setting": (
        ["stylize", "a.png", "s.png", "-o", "x.png", "--set", "stepz=3"],
        ("stepz", "steps"),
    ),
    "manifest without styles": (["manifest", "--contents", "*.png", "-o", "m.csv"], ("--styles",)),
    "weights without action": (["weights"], ("action",)),
    "weights with unknown action": (["weights", "download"], ("download", "fetch", "verify")),
    "demo with a stray word": (["demo", "here"], ("here",)),
    "glob that matches nothing": (
        ["run", "--manifest", "none/*.csv", "--output", "out"],
        ("none/*.csv", "matches no file"),
    ),
    "missing manifest": (["run", "--manifest", "none.csv", "--output", "out"], ("none.csv",)),
    "manifest of unknown extension": (
        ["run", "--manifest", "typo.yaml", "--output", "out"],
        ("typo.yaml", ".csv", ".jsonl", ".parquet"),
    ),
    "empty manifest": (["run", "--manifest", "empty.csv", "--output", "out"], ("empty.csv",)),
    "manifest without styles' column": (
        ["run", "--manifest", "half.csv", "--output", "o"],
        ("style",),
    ),
}
FILES = {
    "pairs.csv": "content,style\na.png,s.png\n",
    "half.csv": "content\na.png\n",
    "empty.csv": "",
    "broken.yaml": "image_size: [3\n",
    "list.yaml": "- 3\n",
    "typo.yaml": "stepz: 3\n",
}

# Runs each command line of a JSON list in one process: a start for each would take a minute.
DRIVER = """
import contextlib, io, json, sys
from pipeline.__main__ import main
answers = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
    slow = sorted({"tensorflow", "apache_beam", "keras", "google.cloud.storage"} & set(sys.modules))
    answers.append([status, out.getvalue(), err.getvalue(), slow])
json.dump(answers, sys.stdout)
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """How one command line ended, and which slow modules this process had imported by then."""

    status: int
    stdout: str
    stderr: str
    imported: list[str]


def ask(folder: pathlib.Path, questions: Sequence[list[str]]) -> list[Answer]:
    """The answers to command lines, from one fresh process in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=folder,
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [Answer(*answer) for answer in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """The answers to all usage errors, and that they left the folder as it was."""
    folder = tmp_path_factory.mktemp("usage")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    before = sorted(folder.rglob("*"))
    answers = ask(folder, [arguments for arguments, _ in USAGE_ERRORS.values()])
    assert sorted(folder.rglob("*")) == before
    return dict(zip(USAGE_ERRORS, answers, strict=True))


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """The help of the program and of every command."""
    names = ("", *COMMANDS)
    questions = [[*([name] if name else []), "--help"] for name in names]
    return dict(zip(names, ask(tmp_path_factory.mktemp("help"), questions), strict=True))


@pytest.mark.parametrize("case", USAGE_ERRORS)
def test_a_usage_error_is_one_sentence_and_status_2_without_tensorflow_or_beam(
    case: str, refusals: dict[str, Answer], one_sentence: Callable[[str], str]
) -> None:
    answer = refusals[case]
    sentence = one_sentence(answer.stderr)
    assert answer.status == 2, sentence
    assert answer.stdout == ""
    assert answer.imported == []
    for part in USAGE_ERRORS[case][1]:
        assert part in sentence


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_without_tensorflow_or_beam(command: str, helps: dict[str, Answer]) -> None:
    answer = helps[command]
    assert answer.status == 0
    assert answer.stderr == ""
    assert answer.imported == []
    assert answer.stdout.startswith(f"usage: nst {command}".rstrip())


def test_the_program_s_help_names_every_command(helps: dict[str, Answer]) -> None:
    for command in COMMANDS:
        assert command in helps[""].stdout


@pytest.mark.parametrize("command", ["run", "plan", "stylize"])
def test_help_documents_every_setting(command: str, helps: dict[str, Answer]) -> None:
    for key in SETTINGS:
        assert f"  {key}: " in helps[command].stdout


def test_help_of_run_begins_with_the_five_options_and_the_five_settings_that_matter(
    helps: dict[str, Answer],
) -> None:
    text = helps["run"].stdout.partition("show this help message")[2]
    for mark, five in (
        ("  --", ("--manifest", "--output", "--config", "--set", "--weights")),
        ("\n  ", ("image_size", "content_weight", "style_scale", "preserve_colors", "steps")),
    ):
        part = text.partition("settings (--set")[2] if mark == "\n  " else text
        places = [part.index(f"{mark}{name.removeprefix('--')}") for name in five]
        assert places == sorted(places)
        others = [part.find(f"\n  {name}: ") for name in SETTINGS if name not in five]
        others += [part.find(f"\n  {name} ") for name in ("--limit", "--gpu", "--lock")]
        assert all(place > places[-1] for place in others if place >= 0)


def test_every_setting_is_in_the_help_once(helps: dict[str, Answer]) -> None:
    for key in SETTINGS:
        assert helps["run"].stdout.count(f"\n  {key}: ") == 1


def test_without_a_command_the_help_is_shown_and_nothing_was_asked_for(
    tmp_path: pathlib.Path, helps: dict[str, Answer]
) -> None:
    (answer,) = ask(tmp_path, [[]])
    assert (answer.status, answer.stdout) == (2, "")
    assert answer.stderr == helps[""].stdout


def test_the_version_is_told_with_those_of_what_it_runs_on(tmp_path: pathlib.Path) -> None:
    (answer,) = ask(tmp_path, [["--version"]])
    packages = ("nst-catalog", "apache-beam", "tensorflow")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    versions.append(f"Python {platform.python_version()}")
    assert (answer.status, answer.stdout.splitlines()) == (0, versions)
    assert answer.imported == []


@pytest.mark.parametrize(
    "text",
    [
        *("block3_conv2: 1.0, block4_conv2: .5", "{block3_conv2: 1.0, block4_conv2: .5}"),
        *("block3_conv2:1.0,block4_conv2:.5", "{block3_conv2:1.0,block4_conv2:.5}"),
        *('{"block3_conv2":1.0,"block4_conv2":0.5}', " { block3_conv2:1 , block4_conv2:5e-1 } "),
    ],
)
def test_layers_are_understood_without_blanks_and_without_braces(text: str) -> None:
    for key in ("content_layers", "style_layers"):
        config = options_of("--set", f"{key}={text}").config
        assert getattr(config, key) == {"block3_conv2": 1.0, "block4_conv2": 0.5}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        *(("l4", "nvidia-l4"), ("T4", "nvidia-tesla-t4"), ("a100", "nvidia-a100")),
        *(("A100_80GB", "nvidia-a100-80gb"), ("h100", "nvidia-h100")),
        *(("tesla-a100", "nvidia-a100"), ("h100-80gb", "nvidia-h100")),
    ],
)
def test_a_gpu_is_found_by_a_part_of_its_name(given: str, name: str) -> None:
    assert options_of("--gpu", given).gpu == GPUS[name]


def test_the_command_in_its_own_process_exits_with_2_and_one_line(
    nst: Callable[..., Any], one_sentence: Callable[[str], str]
) -> None:
    done = nst("run", "--mainfest", "pairs.csv", "--output", "out")
    assert done.returncode == 2
    assert "--manifest" in one_sentence(done.stderr)


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks have no such names")
def test_names_that_are_not_utf8_are_refused_before_any_work(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    folder, name = tmp_path / "f\udce9", "caf\udce9"
    folder.mkdir()
    (folder / f"{name}.png").write_bytes(b"")
    (folder / f"{name}.csv").write_text("content,style\na.png,s.png\n")
    (tmp_path / "m.csv").write_text("content\na.png\n")
    monkeypatch.chdir(tmp_path)
    small = ("--weights", "procedural")
    run = ("--manifest", "m.csv", "--output", "out", *small)
    commands: list[list[str]] = [
        ["stylize", f"{name}.png", "s.png", "-o", "x.png", *small],
        ["stylize", "a.png", "s.png", "-o", f"{name}.png", *small],
        ["stylize", "a.png", "s.png", "-o", "x.png", *small, f"--style-mask={name}.png"],
        ["demo", "--output", name],
    ]
    for command in ("run", "plan"):
        commands += [
            [command, "--manifest", f"{name}.csv", "--output", "out", *small],
            [command, "--manifest", "f*/*.csv", "--output", "out", *small],
            [command, "--manifest", "m.csv", "--output", name, *small],
            [command, *run, "--config", f"{name}.yaml"],
            [command, *run, f"--set=init={name}.png"],
            [command, *run, "--styles", "f*/*.png"],
        ]
    for arguments in commands:
        assert main(arguments) == 2, arguments
        assert "is not UTF-8" in one_sentence(capsys.readouterr().err)
    monkeypatch.chdir(folder)
    assert main(["run", *run]) == 2
    assert "is not UTF-8" in one_sentence(capsys.readouterr().err)
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, "m.csv"}


@pytest.mark.parametrize("name", ["", " ", "~", "~/out"])
@pytest.mark.parametrize(
    "command",
    [
        ["run", "--manifest=m.csv", "--output={}"],
        ["plan", "--contents=a.png", "--styles=s.png", "--output={}"],
        ["stylize", "a.png", "s.png", "--output={}"],
        ["manifest", "--contents=a.png", "--styles=s.png", "-o", "{}"],
        ["export", "out", "--format=csv", "-o", "{}"],
        ["report", "{}"],
        ["demo", "--output={}"],
        ["weights", "fetch", "--to={}"],
    ],
)
def test_nothing_is_written_where_nobody_means_it(command: list[str], name: str) -> None:
    with pytest.raises(ConfigError, match=r" is empty; | is ~(/out)?, where ~ would be a"):
        cli.parse([word.format(name) for word in command])


@pytest.mark.parametrize("name", ["C:\\\\out", "d:/out"])
def test_no_folder_is_made_of_a_path_of_windows(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^--output is .:[\\/]+out, a path of Windows"):
        cli.parse(["run", "--manifest=m.csv", f"--output={name}"])


@pytest.mark.parametrize(
    "given", ["--manifest=", "--styles=", "--config=", "--weights=", "--program-cache="]
)
def test_an_empty_name_is_told_by_its_option(given: str) -> None:
    with pytest.raises(ConfigError, match=f"^{given[:-1]} is empty; give a name, or set the var"):
        cli.parse(["run", "--output=o", given])
    with pytest.raises(ConfigError, match=r"^--style-mask is empty; "):
        cli.parse(["stylize", "a.png", "s.png", "-o", "x.png", "--style-mask", ""])


def test_several_manifests_are_one_quoted_glob() -> None:
    with pytest.raises(ConfigError, match=r"^--manifest is given twice, as a\.csv and as b\.csv, "):
        cli.parse(["run", "--manifest", "a.csv", "--manifest=b.csv", "--output=o"])
    with pytest.raises(ConfigError, match=r"^'b\.csv\.gz' is not an option; quote a glob, "):
        cli.parse(["run", "--manifest", "a.csv", "b.csv.gz", "--output=o"])


def options_of(*arguments: str) -> Any:
    """The options of `nst run` with these arguments."""
    return cli.run_options(cli.parse(["run", "--manifest", "m.csv", "--output", "o", *arguments]))


def test_paths_on_the_command_line_are_relative_to_the_working_directory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = options_of("--weights", "nets/vgg.h5", "--set", "init=../start.png")
    assert options.manifest == str(tmp_path / "m.csv")
    assert options.output == str(tmp_path / "o")
    assert options.config.weights == str(tmp_path / "nets/vgg.h5")
    assert options.config.init == str(tmp_path.parent / "start.png")


def test_remote_places_and_names_stay_as_they_are() -> None:
    given = [
        "run",
        "--manifest",
        "gs://b/m.csv",
        "--output",
        "gs://b/o",
        "--weights",
        "gs://b/w.h5",
    ]
    options = cli.run_options(cli.parse(given))
    assert (options.manifest, options.output) == ("gs://b/m.csv", "gs://b/o")
    assert options.config.weights == "gs://b/w.h5"
    assert options_of("--weights", "procedural").config.weights == "procedural"
    assert options_of("--set", "init=noise").config.init == "noise"


def test_set_wins_over_config_and_weights_over_both(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("steps: 7\nseed: 5\nweights: imagenet\n", encoding="utf-8")
    given = ["--config", str(file), "--set", "steps=9", "--set", "weights=x.h5"]
    config = options_of(*given, "--weights", "procedural").config
    assert (config.steps, config.seed, config.weights) == (9, 5, "procedural")


def test_options_of_beam_travel_through_in_order() -> None:
    options = options_of("--runner", "FnApiRunner", "--on-existing", "redo", "--experiments=x")
    assert options.beam_arguments == ("--runner", "FnApiRunner", "--experiments=x")
    assert options.runner == "FnApiRunner"
    assert options.on_existing == "redo"


def test_a_plan_takes_every_option_of_the_run_and_beams_too() -> None:
    given = ["--manifest", "m.csv", "--output", "o", "--limit=3", "--max-failures=5%"]
    given += ["--results-format=parquet", "--runner", "FlinkRunner", "--parallelism=2"]
    run, plan = (cli.run_options(cli.parse([name, *given])) for name in ("run", "plan"))
    assert run == plan
    assert (run.limit, run.max_failures, run.runner) == (3, MaxFailures(percent=5), "FlinkRunner")


def test_an_abbreviated_option_is_refused_with_its_full_name() -> None:
    with pytest.raises(ConfigError, match="--manifest"):
        cli.parse(["run", "--manif", "m.csv", "--output", "o"])


def test_stopping_by_hand_is_one_sentence_and_status_130(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    def stop(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.commands.run.run", stop)
    assert main(RUN) == 130
    assert "same command" in one_sentence(capsys.readouterr().err)


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    # `true` reads nothing, and is gone before there is anything.
    command = f"{shlex.quote(sys.executable)} -m pipeline --version | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 141
