"""The options of a run, apart from how they are given and from what they start."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import importlib.util
import itertools
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from nst_core.config import PRESETS, SETTINGS, StyleConfig, preset
from nst_core.errors import ConfigError, shown
from nst_core.setting_text import parse_setting, parse_settings
from nst_core.yaml_values import TEXT_LIMIT
from pipeline import storage
from pipeline.job.budget import Failures, MaxFailures
from pipeline.job.checking import InputsMode
from pipeline.job.gpus import Gpu
from pipeline.job.resolving import OnExisting
from pipeline.manifest.reading import AS_IT_IS, Reading
from pipeline.pairs.schemes import default_schemes
from pipeline.runs.reports import Place, ResultsFormat
from pipeline.runs.retry import going_on
from pipeline.storage.filesystems import only_images_reason

# They take the same options, and Beam's besides.
JOB_COMMANDS = ("run", "plan")
# What URIs on the command line are relative to: a file in the working directory.
HERE = ""
CONFIG_BYTES = 4 * TEXT_LIMIT
RUN_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}")
# Runners whose job server defines options of its own, which Beam's source does not name.
PORTABLE_RUNNERS = ("portable", "flink", "spark", "prism", "samza", "kafka")

# What the names of manifests end with.
_MANIFESTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
# How alike two names are of which one is the other misspelt, perhaps or surely, by difflib.
_PERHAPS, _SURELY = 0.6, 0.85
_NO_DRY_RUN = {
    "run": "{} is no option of nst run; nst plan, with the same options and without this one, "
    "tells what would be done and writes nothing.",
    "plan": "{} is no option of nst plan, which writes nothing as it is; leave it out.",
}


def require_utf8(name: str) -> str:
    """A name as it is, of the command line or of a file that it leads to.

    Raises:
        ConfigError: it is not UTF-8, which everything is that is written of a pair.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{shown(name)} is not UTF-8, as names have to be that are written into records: "
            "rename it."
        ) from error
    return name


def from_here(name: str) -> str:
    """The absolute URI of a name on the command line. Raises ConfigError: it is not UTF-8."""
    return require_utf8(storage.resolve(name, HERE))


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What `nst run` does, and `nst plan` foretells; `beam_arguments` go to Beam as they are.

    `absolute_ids`: of the output, not given by anybody; see `catalog_file`. `reading`: how the
    manifest is read. `allow_options`: the settings that rows may change; None for all.
    """

    manifest: str
    output: str
    config: StyleConfig
    on_existing: OnExisting = "skip"
    inputs: InputsMode = "check"
    absolute_ids: bool = False
    reading: Reading = AS_IT_IS
    batch_size: int | None = None
    results_shards: int = 1
    results_format: ResultsFormat = "jsonl"
    limit: int | None = None
    max_failures: MaxFailures | None = None
    allow_schemes: tuple[str, ...] = ()
    allow_options: tuple[str, ...] | None = None
    allow_private_hosts: bool = False
    run_id: str | None = None
    lock: bool = False
    report: bool = True
    gpu: Gpu | None = None
    use_nvidia_mps: bool = False
    program_cache: str | None = None
    beam_arguments: tuple[str, ...] = ()

    @functools.cached_property
    def schemes(self) -> tuple[str, ...]:
        """The schemes that the manifest's rows may name."""
        if self.allow_schemes:
            return self.allow_schemes
        usual = default_schemes(self.reading.base or self.manifest, self.output)
        return tuple(sorted({*usual, *self.reading.schemes}))

    @property
    def manifest_name(self) -> str:
        """What the manifest is called for people: its URI, where nothing else decides its pairs."""
        return (self.reading.name or self.manifest) + self.reading.more

    @property
    def runner(self) -> str | None:
        """The name given with `--runner`; None for this process."""
        return next(iter(self.beam_values("--runner")), None)

    def failures_of(self, run: str, place: Place | None = None) -> Failures:
        """What counts the failures of a run with these options; `place` as of `Failures`."""
        return Failures(run, self.max_failures, place, going_on(self.on_existing))

    def beam_values(self, *names: str) -> list[str]:
        """The values that one of Beam's options, under any of its names, is given; in order."""
        found: list[str] = []
        for index, argument in enumerate(self.beam_arguments):
            name, has_value, value = argument.partition("=")
            if name in names:
                following = self.beam_arguments[index + 1 : index + 2]
                found += [value] if has_value else following
        return found


def check_run_id(run_id: str) -> None:
    """Refuse what cannot name a folder.

    Raises:
        ConfigError: with what can.
    """
    if not RUN_ID.fullmatch(run_id):
        raise ConfigError(
            f"--run-id {run_id!r} cannot name the run's folder; give up to 100 characters out of "
            "A-Z a-z 0-9 . _ -, not beginning with a dot."
        )


def load_config(
    source: str | None, settings: Sequence[str], overrides: Mapping[str, Any]
) -> StyleConfig:
    """Defaults < the config file or preset < `key=value` settings < overrides that are not None.

    Raises:
        ConfigError: file missing or not YAML, unknown key, unusable value.
    """
    config = StyleConfig() if source is None else _from_source(source)
    changes: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise ConfigError(f"--set {setting!r} has no value; write --set key=value.")
        changes[key.strip()] = parse_setting(key.strip(), text)
    changes.update({key: value for key, value in overrides.items() if value is not None})
    return config.updated(changes)


def _from_source(source: str) -> StyleConfig:
    if source in PRESETS:
        return preset(source)
    if reason := only_images_reason(source):
        raise ConfigError(f"--config {reason}")
    try:
        text = storage.read_bytes(source, max_bytes=CONFIG_BYTES).decode()
    except storage.NoFilesystem as error:
        raise ConfigError(f"--config: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"--config {source} is not UTF-8, as a YAML file of settings is; save it so."
        ) from error
    except (storage.NotFound, storage.AccessDenied, storage.TooLarge) as error:
        near = difflib.get_close_matches(source, PRESETS, 1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(
            f"--config cannot be read, for {str(error).removesuffix('.')}; or give one of the "
            f"presets {', '.join(PRESETS)}{meant}."
        ) from error
    return StyleConfig().updated(parse_settings(text, source))


def check_option_names(arguments: Sequence[str], command: str, own: Sequence[str]) -> None:
    """Refuse options that are neither the command's own nor, for a job, Beam's; imports no Beam.

    A portable runner has more of its own, of which only those are refused that look like a
    misspelt one of the command's: the runner would pass them over.

    Raises:
        ConfigError: with the nearest known option, or what there is instead of a dry run.
    """
    known, beam, may_be_unknown = {*own}, "", False
    if command in JOB_COMMANDS:
        known, beam = known | beam_option_names(), ", nor of Beam"
        may_be_unknown = _is_portable(arguments)
    for argument in arguments:
        name = argument.partition("=")[0]
        if not name.startswith("--"):
            continue
        if command in JOB_COMMANDS and _is_dry_run(name):
            raise ConfigError(_NO_DRY_RUN[command].format(name))
        if name in known:
            continue
        if "--set" in own and (key := name.strip("-").replace("-", "_")) in SETTINGS:
            value = _value_of(name, arguments)
            raise ConfigError(f"{name} is a setting, not an option; give --set {key}={value}.")
        misspelt, cutoff = (own, _SURELY) if may_be_unknown else ([*own, *sorted(known)], _PERHAPS)
        near = _nearest(name, own, misspelt, cutoff)
        if near or not may_be_unknown:
            hint = f"did you mean {near}?" if near else "see --help."
            raise ConfigError(f"{name} is no option of nst {command}{beam}; {hint}")


def _value_of(name: str, arguments: Sequence[str]) -> str:
    """What an option is given, for an example of how to give it otherwise."""
    for argument, following in itertools.pairwise([*arguments, ""]):
        given, has_value, value = argument.partition("=")
        if given == name:
            value = value if has_value else following
            return "VALUE" if not value or value.startswith("--") else shlex.quote(value)
    return "VALUE"


def _is_dry_run(name: str) -> bool:
    """Whether an option, in any spelling or cut short, is a dry run: Beam's is one of Dataflow's.

    Every other runner would take it and do all the work.
    """
    return len(plain := _plain(name)) > 1 and "dryrun".startswith(plain)


def _nearest(name: str, own: Sequence[str], misspelt: Sequence[str], cutoff: float) -> str | None:
    """The option that was meant: an own one spelt alike, or that begins so, or one misspelt."""
    plain = _plain(name)
    alike = [one for one in own if _plain(one) == plain]
    begun = [one for one in own if len(plain) > 2 and _plain(one).startswith(plain)]
    near = difflib.get_close_matches(name, misspelt, 1, cutoff)
    return next(iter([*alike, *begun, *near]), None)


def _plain(name: str) -> str:
    return re.sub("[-_]", "", name).lower()


def check_beam_arguments(arguments: Sequence[str]) -> None:
    """Refuse what is neither an option nor the value of one.

    Raises:
        ConfigError: with what it is.
    """
    value_may_follow = False
    for argument in arguments:
        is_option = argument.startswith("--")
        if not is_option and not value_may_follow:
            # A shell makes two words of a={b,c}.
            is_setting = argument.partition("=")[0] in SETTINGS
            hint = "give --set before it, and quotes around braces" if is_setting else "see --help"
            if argument.lower().removesuffix(".gz").endswith(_MANIFESTS):
                hint = "quote a glob, which the shell replaces by names, or give one manifest"
            raise ConfigError(f"{argument!r} is not an option; {hint}.")
        value_may_follow = is_option and "=" not in argument


def _is_portable(arguments: Sequence[str]) -> bool:
    joined = " ".join(arguments).lower()
    match = re.search(r"--runner[= ](\S+)", joined)
    return bool(match and any(name in match[1] for name in PORTABLE_RUNNERS))


@functools.cache
def beam_option_names() -> frozenset[str]:
    """The options that the installed Beam defines, read from its source: importing it is slow."""
    found = importlib.util.find_spec("apache_beam")
    if found is None or found.origin is None:
        return frozenset()
    source = pathlib.Path(found.origin).parent / "options" / "pipeline_options.py"
    text = source.read_text(encoding="utf-8")
    # Not by words alone: its docstrings have examples of options that there are not.
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    defining = [call for call in calls if ast.unparse(call.func).endswith("_argument")]
    words = [
        word.value for call in defining for word in call.args if isinstance(word, ast.Constant)
    ]
    return frozenset(word for word in words if isinstance(word, str) and word.startswith("--"))
