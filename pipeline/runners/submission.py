"""Before a job is submitted: the versions that workers elsewhere have, where these can be known.

A pool of workers (`worker_pool`) answers with its own, an image has them as a label or, Beam's own,
in its name. Of others a worker's first step tells (`pipeline.worker.versions`).
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

from nst_core.errors import ConfigError
from pipeline.job.options import RunOptions
from pipeline.worker import versions
from pipeline.worker.versions import Versions

SERVICE = "nst.WorkerPool"
METHOD = "Versions"
LABEL = "nst.versions"
SECONDS = 5.0  # within which a pool, or docker, answers
_BEAM_IMAGE = re.compile(r"(?:^|/)beam_python(\d+\.\d+)_sdk(?::(\d+\.\d+\.\d+))?$")


def check_versions(options: RunOptions) -> None:
    """Refuse workers of which it is known that their versions are others than this process's.

    Raises:
        ConfigError: with both sides' versions.
    """
    for place, found in _known(options):
        if difference := versions.difference(versions.here(), found):
            raise ConfigError(
                f"The workers of {place} {difference}; start them from this environment (or an "
                "image of it), or submit from theirs."
            )


def _known(options: RunOptions) -> Iterator[tuple[str, Versions]]:
    for image in _images(options):
        if found := _of_image(image):
            yield image, found
    if address := _pool(options):
        yield address, _of_pool(address)


def _images(options: RunOptions) -> list[str]:
    images = options.beam_values("--sdk_container_image", "--worker_harness_container_image")
    if _environment(options) == "DOCKER":
        images += options.beam_values("--environment_config")
        images += _environment_options(options, "docker_container_image")
    return images


def _pool(options: RunOptions) -> str | None:
    if _environment(options) != "EXTERNAL":
        return None
    given = _environment_options(options, "external_service_address")
    for value in options.beam_values("--environment_config"):
        try:
            found = json.loads(value)
        except ValueError:
            found = value
        given.append(str(found.get("url", "")) if isinstance(found, dict) else value)
    return next((address for address in given if ":" in address), None)


def _environment(options: RunOptions) -> str:
    return next(iter(options.beam_values("--environment_type")), "").upper()


def _environment_options(options: RunOptions, name: str) -> list[str]:
    given = options.beam_values("--environment_option", "--environment_options")
    pairs = [one.partition("=") for value in given for one in value.split(",")]
    return [value for key, _, value in pairs if key == name]


def _of_pool(address: str) -> Versions:
    """What a pool answers; nothing where it cannot be reached from here, or is another's."""
    import grpc

    # Beside the task managers, which may be in another network: a proxy would not help.
    direct = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options=direct) as channel:
        try:
            answer = channel.unary_unary(f"/{SERVICE}/{METHOD}")(b"", timeout=SECONDS)
        except grpc.RpcError:
            return {}
    return versions.of_text(answer.decode(errors="replace"))


def _of_image(image: str) -> Versions:
    """What an image's name tells, or its label where docker has the image here."""
    if found := _BEAM_IMAGE.search(image):
        named = {"Python": found[1], "apache-beam": found[2]}
        return {name: version for name, version in named.items() if version}
    label = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    command = ["docker", "image", "inspect", "--format", label, image]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return versions.of_text(done.stdout) if done.returncode == 0 else {}
