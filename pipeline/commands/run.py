"""`nst run`: check everything first, build the job, run it, say how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import io
import itertools
import logging
import re
import secrets
import shlex
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, JobError
from pipeline import storage
from pipeline.commands import sources
from pipeline.commands.endings import LiveRun, plain_console, show
from pipeline.console import events, logs
from pipeline.console.pulse import Pulse
from pipeline.console.watch import JOB_ERROR, watching
from pipeline.job.budget import BudgetError
from pipeline.job.options import RunOptions
from pipeline.manifest.rows import check_manifests, find_manifests, has_marks
from pipeline.records import records
from pipeline.records.tasks import NO_FAILURES, Outcome, Task
from pipeline.report.after_run import report_after_run
from pipeline.runners import submission
from pipeline.runners.job_results import LostJobError, bytes_of, job_of, wait_for
from pipeline.runners.shutdown import death_sentence, heeding
from pipeline.runs import catalog_file, lock, reports
from pipeline.runs.reports import Place
from pipeline.runs.retry import going_on
from pipeline.runs.run_file import About, RunFile
from pipeline.storage.credentials import without_keys
from pipeline.worker import checkpoints
from pipeline.worker.weights import check_weights, warn_of_small_features

EXIT_ALL_DONE = 0
EXIT_SOME_FAILED = 3

# Of an output, into which every run writes.
FOLDERS = ("images", "losses", "records", "runs")

_LOGGER = logging.getLogger(__name__)

# What Beam may say of a worker process that has died.
_LOST_WORKER = "Channel closed prematurely"
_WHILE_RUNNING = re.compile(r" \[while running [^\n]*$")


def run(
    options: RunOptions,
    *,
    verbose: bool = False,
    log_format: logs.LogFormat = "text",
    command: Sequence[str] = (),
) -> int:
    """Run the job to its end; the exit status.

    Args:
        command: the words of the command line, for whoever asks for the run's status.

    Raises:
        ConfigError: an option of Beam's is wrong.
        ManifestError: the manifest as a whole cannot be used.
        LockedError: with `lock`, another run works on the output.
        JobError: trouble that is not one pair's.
    """
    run_name = options.run_id or new_run_name()
    place = Place(options.output, run_name, options.results_shards, options.results_format)
    logs.name_run(place.run)
    notes = preflight(options)
    absolute = catalog_file.has_absolute_ids(options.output)
    options = dataclasses.replace(options, absolute_ids=absolute)
    storage.sweep(options.output)
    with contextlib.ExitStack() as stack:
        live = _begun(options, place, command, stack, verbose=verbose, log_format=log_format)
        for note in notes:
            _LOGGER.warning("%s", note)
        warn_of_small_features(options.config)
        if options.lock:
            live.locked = stack.enter_context(lock.held(options.output, run_name))
        say = functools.partial(logs.say_last, as_json=log_format == "json")
        stack.enter_context(heeding(live.stop, live.tidy, say, going_on(options.on_existing)))
        pipeline = new_pipeline(options)
        config = config_yaml(options.config)
        live.options = sources.keep(options, place)
        if options.run_id:
            reports.forget(place, find_manifests(live.options.manifest))
        live.run_file.about.rows = live.options.manifest
        catalog_file.keep(options.output, absolute_ids=absolute)
        storage.write_bytes(place.uri("config.yaml"), config, "application/yaml")
        live.run_file.begin()
        try:
            execute(pipeline, live)
            if template := options.beam_values("--template_location"):
                # Whoever launches it runs it; nothing has been done yet.
                live.run_file.end("launched")
                print(f"Template: {template[-1]}")
                return EXIT_ALL_DONE
            if options.runner:
                # Workers in other processes may have been killed; others have done their work.
                storage.sweep(options.output)
            checkpoints.remove_done(options.output)
            summary = live.finish()
        except BaseException as error:
            live.fail(error)
            raise
        said = report_after_run(options.output, summary) if options.report else None
    if log_format == "text":
        if said:
            plain_console().print(said, soft_wrap=True)
        show(summary, options)
    return EXIT_ALL_DONE if summary["statuses"].keys() <= NO_FAILURES else EXIT_SOME_FAILED


def _begun(
    options: RunOptions,
    place: Place,
    command: Sequence[str],
    stack: contextlib.ExitStack,
    *,
    verbose: bool,
    log_format: logs.LogFormat,
) -> LiveRun:
    """A run that is watched until the stack is left; nothing of it is written yet."""
    from pipeline.job import waves

    # Workers in this process tell more than their records do.
    is_here = has_workers_here(options)
    pulse, gatherer = Pulse(), waves.new_gatherer(place) if is_here else None
    others: list[events.Listener] = [pulse.take]
    if gatherer:
        others.append(functools.partial(_hear, gatherer.hear))
    tracker = stack.enter_context(
        watching(
            verbose=verbose,
            elsewhere=None if is_here else place,
            log_format=log_format,
            others=others,
        )
    )
    about = About(
        command=shlex.join(without_keys(command)),
        manifest=options.manifest_name,
        schemes=options.schemes,
        private_hosts=options.allow_private_hosts,
        row_settings=options.allow_options,
        marks=has_marks(options.manifest, options.reading),
        runner=options.runner,
        started_at=records.now(),
    )
    run_file = RunFile(place, about, functools.partial(pulse.counts, tracker))
    return LiveRun(options, place, tracker, run_file, gatherer, log_format)


def _hear(hear: Callable[[Outcome], None], event: events.Event) -> None:
    """Let whoever gathers outcomes know of those that are on their way."""
    if isinstance(event, events.PairEnded) and (event.was_planned or event.outcome.failed):
        hear(event.outcome)


def preflight(options: RunOptions) -> list[str]:
    """Find what would stop the job before any work is done and anything is written.

    What would not, but should be known, as sentences.

    Raises:
        ConfigError, ManifestError, JobError: the first trouble found.
    """
    submission.check_versions(options)
    notes = check_manifests(options.manifest, options.reading)
    check_weights(options.config.weights)
    storage.check_writable(options.output)
    for name in () if storage.scheme(options.output) else FOLDERS:
        folder = storage.join(options.output, name)
        if storage.exists(folder):
            raise JobError(f"{folder} is a file, where a run has a folder; move or rename it.")
    return notes


def new_pipeline(options: RunOptions) -> Any:
    """The pipeline on the chosen runner, still empty, with Beam's options checked.

    Raises:
        ConfigError: an option has an unusable value, or the runner lacks one.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    runner = FnApiRunner() if options.runner is None else None
    beam_options = PipelineOptions(list(options.beam_arguments))
    usage = io.StringIO()
    try:
        with contextlib.redirect_stderr(usage):
            # Beam parses an option when it is first wanted: here all are.
            beam_options.get_all_options()
        pipeline = beam.Pipeline(runner, beam_options)
    except SystemExit as error:
        reason = usage.getvalue().rpartition("error: ")[2].partition("\n")[0]
        raise ConfigError(f"Beam cannot use its options ({reason}); correct them.") from error
    except (ValueError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(f"Beam cannot use its options ({reason}); correct them.") from error
    # For transforms in other languages, which a job has none of; who is stopped would leave it.
    shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
    return pipeline


def execute(pipeline: Any, live: LiveRun) -> None:
    """Build the job into the empty pipeline and run it.

    Where the workers are in this process, in waves, each in a pipeline of its own.

    Raises:
        LostJobError: see `wait_for`.
        JobError: the job failed; the sentence of the worker where there is one.
    """
    options, place = live.options, live.place
    about = {
        "manifest": options.manifest_name,
        "output": options.output,
        "started_at": live.run_file.about.started_at,
    }
    try:
        with _rare_full_collections():
            if live.gatherer:
                _execute_in_waves(pipeline, live, about)
            else:
                from pipeline.job.job import build

                build(pipeline, options, place, about)
                with _foreseen(options):
                    _wait_for(pipeline, live)
    except LostJobError:
        raise
    except Exception as error:
        with contextlib.suppress(JobError):
            # Of workers that were killed; what goes wrong with it is not what went wrong.
            storage.sweep(options.output)
        is_budget = isinstance(error, BudgetError) or f"{BudgetError.__name__}: " in str(error)
        said = (
            str(error) if isinstance(error, JobError) else sentence_of(error, options.on_existing)
        )
        raise (BudgetError if is_budget else JobError)(_WHILE_RUNNING.sub("", said)) from error


def has_workers_here(options: RunOptions) -> bool:
    """Whether this process does the work itself."""
    is_apart = "multi_processing" in options.beam_values("--direct_running_mode")
    return options.runner is None and not is_apart


def _execute_in_waves(pipeline: Any, live: LiveRun, about: dict[str, Any]) -> None:
    from pipeline.job import waves
    from pipeline.job.job import build_wave
    from pipeline.job.wave_transforms import handing_over

    assert live.gatherer is not None
    options, place = live.options, live.place
    pipelines = itertools.chain([pipeline], iter(functools.partial(new_pipeline, options), None))

    def do(tasks: Sequence[Task], take: Callable[[Sequence[Outcome]], None]) -> None:
        pipeline = next(pipelines)
        build_wave(pipeline, options, place)
        with handing_over(place.run, tasks, take):
            _wait_for(pipeline, live)

    waves.run(options, place, about, live.gatherer, do)


def _wait_for(pipeline: Any, live: LiveRun) -> None:
    live.result = pipeline.run()
    job = job_of(live.result, pipeline.options)
    live.run_file.name_job(job)
    wait_for(live.result, job)
    live.bytes.update(bytes_of(live.result))


@contextlib.contextmanager
def _foreseen(options: RunOptions) -> Iterator[None]:
    """Find out beside the job how many pairs workers elsewhere have to do, for who watches."""
    from pipeline.job import waves

    ended = threading.Event()

    def foresee() -> None:
        # The job meets the same trouble, and says so.
        with contextlib.suppress(JobError):
            waves.foresee(options, ended.is_set)

    threading.Thread(target=foresee, name="nst-foreseeing", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@contextlib.contextmanager
def _rare_full_collections() -> Iterator[None]:
    """Python looks for cycles among all objects whenever a quarter are new, as rows always are.

    A fifth of the time of a run that finds everything done went there.
    """
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 10 * old)
    # What is there already, Beam above all, stays to the end.
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(young, middle, old)


def sentence_of(error: Exception, on_existing: str = "skip") -> str:
    """The worker's own sentence in an error that came through Beam, else the error's last line."""
    text = str(error)
    found = JOB_ERROR.findall(text)
    if found:
        return _WHILE_RUNNING.sub("", found[-1])
    if _LOST_WORKER in text:
        return death_sentence([], going_on(on_existing))
    lines = [line for line in text.splitlines() if line.strip()] or [repr(error)]
    _LOGGER.error("The job failed.", exc_info=error)
    return f"The job failed: {type(error).__name__}: {lines[-1].strip()}"


def new_run_name() -> str:
    """Sortable by time, and unique also for runs that start in the same second."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(2)


def config_yaml(config: StyleConfig) -> bytes:
    """The effective configuration as a file that `--config` takes, without signatures of URLs."""
    told = {
        name: storage.without_credentials(value) if isinstance(value, str) else value
        for name, value in config.to_dict().items()
    }
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    return text.encode()
