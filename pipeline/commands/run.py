"""`nst run`: check everything first, build the job, run it, say how it ended."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import itertools
import json
import logging
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, JobError
from pipeline import processes, storage
from pipeline.commands.report import report_after_run
from pipeline.console import logs
from pipeline.console.watch import JOB_ERROR, Tracker, log_stopped, log_summary, watching
from pipeline.job.options import RunOptions
from pipeline.manifest.rows import check_manifests
from pipeline.manifest.schemes import default_schemes
from pipeline.records import lock, records, reports
from pipeline.records.reports import Place
from pipeline.records.tasks import NO_FAILURES, OK, Outcome, Task
from pipeline.runners.shutdown import death_sentence, heeding
from pipeline.worker import checkpoints
from pipeline.worker.weights import check_weights, warn_of_small_features

EXIT_ALL_DONE = 0
EXIT_SOME_FAILED = 3

_LOGGER = logging.getLogger(__name__)

# What Beam may say of a worker process that has died.
_LOST_WORKER = "Channel closed prematurely"
_WHILE_RUNNING = re.compile(r" \[while running [^\n]*$")


def run(options: RunOptions, *, verbose: bool = False, log_format: logs.LogFormat = "text") -> int:
    """Run the job to its end; the exit status.

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
    # Without a runner the workers are in this process, and tell more than their records do.
    records_folder = storage.join(options.output, "records") if options.runner else None
    storage.sweep(options.output)
    results: list[Any] = []
    with contextlib.ExitStack() as stack:
        tracker = stack.enter_context(
            watching(verbose=verbose, records=records_folder, log_format=log_format)
        )
        for note in notes:
            _LOGGER.warning("%s", note)
        warn_of_small_features(options.config)
        locked = stack.enter_context(lock.held(options.output, run_name)) if options.lock else None
        stack.enter_context(
            heeding(
                functools.partial(stop, results, tracker, options, run_name, log_format),
                functools.partial(tidy, options, place, locked),
                functools.partial(logs.say_last, as_json=log_format == "json"),
            )
        )
        pipeline = new_pipeline(options)
        config = config_yaml(options.config)
        if options.run_id:
            reports.forget(place)
        storage.write_bytes(place.uri("config.yaml"), config, "application/yaml")
        execute(pipeline, options, place, results)
        if template := options.beam_values("--template_location"):
            # Whoever launches it runs it; nothing has been done yet.
            print(f"Template: {template[-1]}")
            return EXIT_ALL_DONE
        if options.runner:
            # Workers in other processes may have been killed, and others have done their work.
            storage.sweep(options.output)
        checkpoints.remove_done(options.output)
        summary = read_summary(place)
        if log_format == "json":
            log_summary(summary)
        said = report_after_run(options.output, summary) if options.report else None
    if log_format == "text":
        if said:
            Console().print(said, soft_wrap=True, highlight=False, markup=False)
        show(summary, options)
    return EXIT_ALL_DONE if summary["statuses"].keys() <= NO_FAILURES else EXIT_SOME_FAILED


def read_summary(place: Place) -> dict[str, Any]:
    """The summary of the run, its last file.

    Raises:
        JobError: there is none, though the runner says that the job has ended.
    """
    uri = place.uri("summary.json")
    try:
        return dict(json.loads(storage.read_bytes(uri)))
    except storage.NotFound as error:
        raise JobError(
            f"The runner says that the job has ended, but it has not written {uri}; look into the "
            "runner's own log, and run the same command again."
        ) from error


def preflight(options: RunOptions) -> list[str]:
    """Find what would stop the job before any work is done and anything is written.

    What would not, but should be known, as sentences.

    Raises:
        ManifestError, JobError: the first trouble found.
    """
    notes = check_manifests(options.manifest)
    check_weights(options.config.weights)
    storage.check_writable(options.output)
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
        return beam.Pipeline(runner, beam_options)
    except SystemExit as error:
        reason = usage.getvalue().rpartition("error: ")[2].partition("\n")[0]
        raise ConfigError(f"Beam cannot use its options ({reason}); correct them.") from error
    except (ValueError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(f"Beam cannot use its options ({reason}); correct them.") from error


def execute(pipeline: Any, options: RunOptions, place: Place, results: list[Any]) -> None:
    """Build the job into the empty pipeline and run it.

    Where the workers are in this process, in waves, each in a pipeline of its own.

    Args:
        results: where Beam's result goes, once there is one.

    Raises:
        JobError: the job failed; the sentence of the worker where there is one.
    """
    about = {
        "manifest": options.manifest,
        "output": options.output,
        "started_at": records.now(),
    }
    try:
        with _rare_full_collections():
            if has_workers_here(options):
                _execute_in_waves(pipeline, options, place, about, results)
            else:
                from pipeline.job.job import build

                build(pipeline, options, place, about)
                _wait_for(pipeline, results)
    except Exception as error:
        with contextlib.suppress(JobError):
            # Of workers that were killed; what goes wrong with it is not what went wrong.
            storage.sweep(options.output)
        forget_spills(options, place)
        if isinstance(error, JobError):
            raise JobError(_WHILE_RUNNING.sub("", str(error))) from error
        raise JobError(sentence_of(error)) from error


def has_workers_here(options: RunOptions) -> bool:
    """Whether this process does the work itself."""
    is_apart = "multi_processing" in options.beam_values("--direct_running_mode")
    return options.runner is None and not is_apart


def _execute_in_waves(
    pipeline: Any, options: RunOptions, place: Place, about: dict[str, Any], results: list[Any]
) -> None:
    from pipeline.job import waves
    from pipeline.job.job import build_wave
    from pipeline.job.wave_transforms import handing_over

    pipelines = itertools.chain([pipeline], iter(functools.partial(new_pipeline, options), None))

    def do(tasks: Sequence[Task], take: Callable[[Sequence[Outcome]], None]) -> None:
        pipeline = next(pipelines)
        build_wave(pipeline, options, place)
        with handing_over(place.run, tasks, take):
            _wait_for(pipeline, results)

    waves.run(options, place, about, do)


def _wait_for(pipeline: Any, results: list[Any]) -> None:
    results[:] = [pipeline.run()]
    results[0].wait_until_finish()


def forget_spills(options: RunOptions, place: Place) -> None:
    """Without their report they are of no use; a runner elsewhere may still be writing it."""
    if not options.runner:
        with contextlib.suppress(JobError):
            reports.remove_spills(place)


@contextlib.contextmanager
def _rare_full_collections() -> Iterator[None]:
    """Python looks for cycles among all objects whenever a quarter are new, as rows always are.

    A fifth of the time of a run that finds everything done went there.
    """
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 10 * old)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)


def sentence_of(error: Exception) -> str:
    """The worker's own sentence in an error that came through Beam, else the error's last line."""
    text = str(error)
    found = JOB_ERROR.findall(text)
    if found:
        return _WHILE_RUNNING.sub("", found[-1])
    if _LOST_WORKER in text:
        return death_sentence([])
    lines = [line for line in text.splitlines() if line.strip()] or [repr(error)]
    _LOGGER.error("The job failed.", exc_info=error)
    return f"The job failed: {type(error).__name__}: {lines[-1].strip()}"


def new_run_name() -> str:
    """Sortable by time, and unique also for runs that start in the same second."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(2)


def config_yaml(config: StyleConfig) -> bytes:
    """The effective configuration as a file that `--config` takes."""
    text = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
    return text.encode()


def show(summary: dict[str, Any], options: RunOptions) -> None:
    """The closing table: how many of each status, where the images are, how to retry."""
    console = Console()
    _show_counts(console, f"Run {summary['run']}", summary["statuses"], "all", options)
    if summary["statuses"].keys() - NO_FAILURES:
        failures = summary["failures"]
        config = storage.join(storage.directory(failures), "config.yaml")
        again = ["--manifest", failures, "--output", options.output, "--config", config]
        # The failed rows name what the manifest named, from where the output is.
        if {*options.schemes} != {*default_schemes(failures, options.output)}:
            again += ["--allow-schemes", ",".join(options.schemes)]
        console.print(
            f"Reasons: {failures}\nMend the inputs, then retry just these: "
            f"nst run {shlex.join(again)}",
            soft_wrap=True,
            highlight=False,
        )


def tidy(options: RunOptions, place: Place, locked: lock.Lock | None) -> None:
    """What a run that is stopped leaves behind itself: neither temporary files nor its lock."""
    storage.sweep(options.output, ending=True)
    forget_spills(options, place)
    if locked:
        locked.release()


def stop(
    results: list[Any],
    tracker: Tracker,
    options: RunOptions,
    run_name: str,
    log_format: logs.LogFormat = "text",
) -> None:
    """Stop all that works for the run, and say what was done."""
    for result in results:
        # A runner elsewhere goes on where nobody asks it to stop; those of this machine do not.
        with contextlib.suppress(Exception):
            result.cancel()
    processes.kill_descendants()
    tracker.hide()
    statuses = statuses_so_far(tracker, options)
    if log_format == "json":
        log_stopped(run_name, statuses)
    else:
        _show_counts(Console(), f"Run {run_name}, stopped", statuses, "so far", options)


def statuses_so_far(tracker: Tracker, options: RunOptions) -> dict[str, int]:
    """How many pairs of each status a run has that ends before its end."""
    if not storage.scheme(options.output):
        # Elsewhere counting takes long; the last count has to do.
        tracker.count_records()
    if tracker.done_elsewhere and not tracker.has_events:
        return {OK: tracker.done_elsewhere}
    return dict(sorted(tracker.statuses.items()))


def _show_counts(
    console: Console, title: str, statuses: dict[str, int], whole: str, options: RunOptions
) -> None:
    console.print(title, highlight=False)
    table = Table()
    table.add_column("status")
    table.add_column("pairs", justify="right")
    for status, count in statuses.items():
        table.add_row(status, str(count))
    table.add_row(whole, str(sum(statuses.values())), style="bold")
    console.print(table)
    images = storage.join(options.output, "images")
    console.print(f"Images: {images}", soft_wrap=True, highlight=False)
