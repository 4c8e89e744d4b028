"""`python -m pipeline …`, installed as `nst …`: one command, its sentence on error, its status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from nst_core.errors import ConfigError, JobError, PairError
from pipeline import cli, storage
from pipeline.console import logs
from pipeline.job.options import HERE, RunOptions
from pipeline.manifest.columns import ManifestError
from pipeline.runners import dataflow
from pipeline.runs.lock import LockedError
from pipeline.storage import filesystems

EXIT_OK = 0
EXIT_JOB = 1
EXIT_USAGE = 2
EXIT_LOCKED = 4
# As shells have it of a command that Ctrl-C has ended.
EXIT_INTERRUPTED = 130
EXIT_NO_READER = 141
_STOPPED = {"export": "Stopped; this is no whole export: remove it, and give the command again."}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status (see README)."""
    # TensorFlow's start-up notices help nobody; its errors stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    given = sys.argv[1:] if arguments is None else arguments
    logs.escape_warnings()
    try:
        try:
            return _dispatch(given)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read what is printed has gone, as `head` goes; nothing more is told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NO_READER
    except (ConfigError, ManifestError) as error:
        sentence, status = str(error), EXIT_USAGE
    except LockedError as error:
        sentence, status = str(error), EXIT_LOCKED
    except (JobError, PairError) as error:
        sentence, status = str(error), EXIT_JOB
    except KeyboardInterrupt:
        command = next(iter(given), "")
        sentence = _STOPPED.get(command, "Stopped; give the same command again.")
        status = EXIT_INTERRUPTED
    logs.say_last(sentence, as_json=logs.wants_json(given))
    return status


def _dispatch(given: Sequence[str]) -> int:
    if not given:
        # As uv and ruff have it: shown, but nothing was asked for.
        cli.parser().print_help(sys.stderr)
        return EXIT_USAGE
    arguments = cli.parse(given)
    # Each command's module is imported only when it is wanted: they bring TensorFlow and Beam.
    if arguments.command == "run":
        options = cli.run_options(arguments)
        _prepare_storage(options)
        from pipeline.commands.sources import with_rows

        with with_rows(options, arguments) as options:
            options = dataflow.completed(options)
            from pipeline.commands.run import run

            return run(
                options,
                verbose=arguments.verbose,
                log_format=arguments.log_format,
                command=("nst", *given),
            )
    if arguments.command == "plan":
        options = cli.run_options(arguments)
        workers, price = cli.gpu_workers(arguments)
        _prepare_storage(options)
        from pipeline.commands.plan import plan
        from pipeline.commands.sources import with_rows

        with with_rows(options, arguments) as options:
            return plan(options, as_json=arguments.json, workers=workers, gpu_price=price)
    if arguments.command == "status":
        from pipeline.commands.status import status

        return status(
            storage.resolve(arguments.output, HERE),
            run=arguments.run,
            watch=arguments.watch,
            as_json=arguments.json,
            count=arguments.count,
        )
    if arguments.command == "stylize":
        storage.allow_private_hosts(arguments.allow_private_hosts)
        config, masks = cli.config_of(arguments), cli.style_masks(arguments)
        shares = cli.style_weights(arguments)
        from pipeline.commands.stylize import stylize

        names = arguments.content, arguments.styles, arguments.output
        return stylize(*names, config, masks, shares)
    if arguments.command == "report":
        from pipeline.commands.report import report

        return report(storage.resolve(arguments.output, HERE))
    if arguments.command == "export":
        from pipeline.commands.export import export

        return export(arguments)
    if arguments.command == "demo":
        from pipeline.commands.demo import demo

        return demo(arguments.output, arguments.weights)
    if arguments.command == "manifest":
        from pipeline.commands.manifest import make_manifest

        found = arguments.contents, arguments.styles
        return make_manifest(*found, arguments.output, arguments.id)
    from pipeline.commands.weights import weights

    return weights(arguments.action, arguments.weights, arguments.to)


def _prepare_storage(options: RunOptions) -> None:
    """What the storage has to know before the job, which tells it to its workers."""
    storage.allow_private_hosts(options.allow_private_hosts)
    filesystems.name_beam_arguments(options.beam_arguments)


if __name__ == "__main__":
    sys.exit(main())
