"""Dataflow's Flex Template: the options of `nst run` as its parameters, and back.

`python -m pipeline.template` prints deploy/dataflow/metadata.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from nst_core.config import PRESETS
from pipeline import cli
from pipeline.__main__ import main
from pipeline.job import gpus

# Options that mean nothing in a launcher, which ends when it has described the job.
LEFT_OUT = ("help", "lock", "log_format")
SEPARATOR = ";"
IMAGE = "sdk_container_image"
BUCKET_URI = "^gs://[a-z0-9][a-z0-9._-]*/.+$"
_ONE_URI = f"gs://[a-z0-9][a-z0-9._-]*/[^{SEPARATOR}]+"
BUCKET_URIS = f"^{_ONE_URI}({SEPARATOR}{_ONE_URI})*$"
# Options that may be given several times: one parameter has all of them.
SEVERAL = ("set", "contents", "styles")
# By the parameter; the others' follow from their type.
_REGEXES = {
    "manifest": BUCKET_URI,
    "columns": "^[A-Za-z_.]+ *=.+$",
    "contents": BUCKET_URIS,
    "styles": BUCKET_URIS,
    "output": BUCKET_URI,
    "config": "^([a-z_]+|gs://.+)$",
    "set": f"^[a-z_]+=[^{SEPARATOR}]+({SEPARATOR}[a-z_]+=[^{SEPARATOR}]+)*$",
    "weights": "^(imagenet|procedural|gs://.+)$",
    "program_cache": BUCKET_URI,
    "run_id": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$",
    "max_failures": "^[0-9]+(\\.[0-9]+)?%?$",
    "allow_schemes": "^[a-z0-9+.-]+(,[a-z0-9+.-]+)*$",
    "allow_options": "^[a-z_]+(,[a-z_]+)*$",
    "gpu": f"^({'|'.join(sorted({*gpus.NAMES, *(g.accelerator for g in gpus.GPUS.values())}))})$",
}
# Where the command's help speaks of paths, which a job on Dataflow cannot have.
_HELP = {
    "manifest": "gs:// URI of a CSV (also .tsv), JSON Lines or Parquet file, a glob of such URIs, "
    "or a folder with metadata.jsonl",
    "contents": "in place of manifest: gs:// URIs of folders or globs of content images, with "
    f"{SEPARATOR} between them; every one with every style",
    "styles": f"gs:// URIs of folders or globs of style images, with {SEPARATOR} between them; "
    "with manifest: for its rows that have none",
    "output": "gs:// URI of the folder of images, records and reports",
    "config": f"gs:// URI of a YAML file, or a preset: {', '.join(PRESETS)}",
    "set": f"settings, key=value, with {SEPARATOR} between them",
    "program_cache": "gs:// URI of a folder in which workers share what they have compiled",
    "weights": "imagenet, procedural, or the gs:// URI of a Keras VGG19 .h5",
}


def launch(arguments: Sequence[str]) -> int:
    """Start `nst run` with the parameters that Dataflow's launcher gives; the exit status."""
    return main(["run", *options_of(arguments, os.environ.get("NST_IMAGE", ""))])


def options_of(arguments: Sequence[str], image: str) -> Iterator[str]:
    """The options of `nst run` that mean the parameters `--name=value`; Beam's own as they are.

    Args:
        image: what workers are started from, where no parameter names it; "" for none.
    """
    own = {action.dest: action for action in run_actions()}
    names = set()
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        names.add(name)
        if name not in own:
            yield argument
            continue
        flag = own[name].option_strings[0]
        if own[name].nargs == 0:
            yield from [flag] if value == "true" else []
        else:
            values = value.split(SEPARATOR) if name in SEVERAL else [value]
            yield from (f"{flag}={one}" for one in values)
    if image and IMAGE not in names:
        yield f"--{IMAGE}={image}"


def run_actions() -> list[argparse.Action]:
    """The options of `nst run` that are parameters, in the order of its help."""
    return [action for action in cli.options_of("run") if action.dest not in LEFT_OUT]


def metadata() -> dict[str, Any]:
    """The template's metadata, as Dataflow checks parameters by it before it launches anything."""
    image = {
        "name": IMAGE,
        "label": "Container image of the workers",
        "helpText": "Default: the image that the template is launched from",
        "isOptional": True,
        "regexes": ["^[a-z0-9][A-Za-z0-9._/:@-]+$"],
    }
    return {
        "name": "Neural style transfer of a catalog",
        "description": cli.DESCRIPTION,
        "parameters": [*map(_parameter, run_actions()), image],
    }


def _parameter(action: argparse.Action) -> dict[str, Any]:
    return {
        "name": action.dest,
        "label": f"nst run {action.option_strings[0]}",
        "helpText": _HELP.get(action.dest, str(action.help)).replace("%%", "%"),
        "isOptional": not action.required,
        "regexes": [_regex(action)],
    }


def _regex(action: argparse.Action) -> str:
    if action.dest in _REGEXES:
        return _REGEXES[action.dest]
    if action.choices:
        return f"^({'|'.join(map(str, action.choices))})$"
    if action.nargs == 0:
        return "^(true|false)$"
    return "^[1-9][0-9]*$" if action.type is int else "^.+$"


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=2, ensure_ascii=False))
