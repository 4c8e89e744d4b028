"""Dataflow: what `--gpu` sets for a job, and what contradicts it; imports no Beam."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from nst_core.errors import ConfigError
from nst_core.setting_text import URI_SETTINGS
from pipeline import storage
from pipeline.job.gpus import Gpu, shared_accelerator
from pipeline.job.options import RunOptions
from pipeline.pairs.schemes import LOCAL

RUNNERS = ("dataflowrunner", "dataflow")
# CUDA's libraries alone make an image of about 8 GB.
DISK_GB = 100
LEAST_DISK_GB = 50
# One process in a worker: several would each want the GPU's whole memory.
ONE_PROCESS = "no_use_multiple_sdk_containers"
# Machines that have their GPUs built in.
GPU_MACHINES = re.compile(r"(a2|a3|a4|g2|g4)-")


def completed(options: RunOptions) -> RunOptions:
    """The options with what belongs to `--gpu`; those without it, and other runners', as they are.

    Raises:
        ConfigError: options that contradict each other, or that workers elsewhere cannot use.
    """
    is_dataflow = (options.runner or "").lower() in RUNNERS
    if is_dataflow:
        _refuse_local_places(options)
        if options.gpu is None and not options.beam_values(*_BRINGING_PACKAGES):
            raise ConfigError(
                "Dataflow's own image has no nst-catalog; give --sdk_container_image "
                "(deploy/dataflow/build.sh makes one), or --setup_file=./setup.py in a copy of the "
                "project, so that workers have the version that submits."
            )
    if options.lock and options.beam_values("--template_location"):
        raise ConfigError(
            "--lock is held by the process that waits for the job, and with --template_location "
            "none does; leave it out: Dataflow runs one job of a name at a time (--job_name)."
        )
    if options.gpu is None:
        if options.use_nvidia_mps:
            raise ConfigError(
                "--use-nvidia-mps lets a Dataflow worker's processes share its GPU, and no --gpu "
                "is asked for; add --gpu TYPE, or leave it out."
            )
        return options
    for contradiction in _contradictions(options, options.gpu, is_dataflow=is_dataflow):
        raise ConfigError(f"--gpu {options.gpu.name} {contradiction}.")
    return dataclasses.replace(
        options,
        config=options.config.updated({"device": "gpu"}),
        beam_arguments=(*options.beam_arguments, *_arguments(options, options.gpu)),
    )


def _arguments(options: RunOptions, gpu: Gpu) -> Iterator[str]:
    if options.use_nvidia_mps:
        yield f"--dataflow_service_options={shared_accelerator(gpu)}"
        if not options.beam_values("--machine_type", "--worker_machine_type"):
            yield f"--machine_type={gpu.machine_type}"
    else:
        yield f"--experiments={ONE_PROCESS}"
    if not options.beam_values("--number_of_worker_harness_threads"):
        yield f"--number_of_worker_harness_threads={gpu.bundles}"
    if not options.beam_values("--disk_size_gb"):
        yield f"--disk_size_gb={DISK_GB}"


def _contradictions(options: RunOptions, gpu: Gpu, *, is_dataflow: bool) -> Iterator[str]:
    """Phrases that follow the option's name."""
    values = options.beam_values
    if not is_dataflow:
        runner = options.runner or "this process"
        yield (
            f"is a worker's on Dataflow, and the job runs on {runner}; add "
            "--runner=DataflowRunner, or leave it out: a GPU of this machine is used anyway"
        )
    if options.config.device == "cpu":
        yield "contradicts device: cpu; leave one of them out"
    if not values("--sdk_container_image"):
        yield (
            "needs --sdk_container_image: Beam's own image has neither TensorFlow nor CUDA; "
            "deploy/dataflow/build.sh makes one"
        )
    if any("worker_accelerator" in value for value in values(*_SERVICE_OPTIONS)):
        yield (
            "asks for the GPU where it is needed, and the service option worker_accelerator asks "
            "for one in every worker; leave one of them out"
        )
    if any("accelerator" in value for value in values("--resource_hint", "--resource_hints")):
        yield "sets the accelerator's resource hint itself; leave --resource_hints out"
    for machine in values("--machine_type", "--worker_machine_type"):
        if GPU_MACHINES.match(machine) and not options.use_nvidia_mps:
            yield (
                f"brings its own machines ({gpu.machine_type}), and {machine} would be that of "
                "the stages without GPU; leave it out, or give an ordinary one"
            )
    if values("--flexrs_goal"):
        yield "cannot be had with FlexRS, which has no GPUs; leave --flexrs_goal out"
    experiments = ",".join(values(*_EXPERIMENTS)).split(",")
    if options.use_nvidia_mps and ONE_PROCESS in experiments:
        yield (
            f"with --use-nvidia-mps wants several processes in a worker, and {ONE_PROCESS} one; "
            "leave one of them out"
        )
    if "use_multiple_sdk_containers" in experiments and not options.use_nvidia_mps:
        yield (
            "wants one process in a worker, and use_multiple_sdk_containers several, which would "
            "share the GPU's memory; leave that experiment out"
        )
    for size in values("--disk_size_gb"):
        if size.isdigit() and 0 < int(size) < LEAST_DISK_GB:
            yield (
                f"needs disks of {LEAST_DISK_GB} GB for its image, and --disk_size_gb is {size}; "
                "raise it or leave it out"
            )


# Options by which workers come to have this package.
_BRINGING_PACKAGES = (
    *("--sdk_container_image", "--worker_harness_container_image", "--setup_file"),
    *("--extra_package", "--extra_packages", "--requirements_file"),
)
_SERVICE_OPTIONS = ("--dataflow_service_option", "--dataflow_service_options")
_EXPERIMENTS = ("--experiment", "--experiments")


def _refuse_local_places(options: RunOptions) -> None:
    config = options.config
    places = {"--manifest": options.manifest, "--output": options.output}
    if options.reading.name is not None:
        # Rows that are no file of their own go into the output.
        del places["--manifest"]
    if options.program_cache:
        places["--program-cache"] = options.program_cache
    for key, names in URI_SETTINGS.items():
        if getattr(config, key) not in names:
            places[key] = getattr(config, key)
    if LOCAL in options.reading.schemes:
        raise ConfigError(
            "--contents or --styles has pictures on this machine, which Dataflow's workers cannot "
            "reach; copy them to a bucket and give its gs:// URIs."
        )
    for name, place in places.items():
        if not storage.scheme(place):
            raise ConfigError(
                f"{name} is {place} on this machine, which Dataflow's workers cannot reach; copy "
                "it to a bucket and give its gs:// URI."
            )
