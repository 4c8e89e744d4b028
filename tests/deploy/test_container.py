"""The images: they cannot be built here, so their file is parsed and its scripts are run."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement

from tests.deploy.conftest import DEPLOY, ROOT, StandIns

DOCKERFILE = DEPLOY / "Dockerfile"
SCRIPTS = DEPLOY / "scripts"
PIN_IMAGES = str(DEPLOY / "pin-images.sh")
TARGETS = ("cpu", "gpu", "dataflow")
KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
Stages = dict[str, tuple[str, list[tuple[str, str]]]]


def linter(name: str) -> str:
    """The path of a linter that requirements-dev.txt installs beside Python."""
    folder = pathlib.Path(sys.executable).parent
    found = shutil.which(name, path=f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert found, f"{name} is not installed; see requirements-dev.txt"
    return found


def images() -> dict[str, str]:
    """The images of others that the Dockerfile begins with, by the argument that replaces them."""
    found = re.findall(r"^ARG ([A-Z]+_IMAGE)=(\S+)$", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return dict(found)


@pytest.fixture(scope="module")
def stages() -> Stages:
    """The Dockerfile's stages by name: what each begins with, and its instructions."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    found: Stages = {}
    name = ""
    given = {f"${{{name}}}": image for name, image in images().items()}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            source, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            found[name] = given.get(source, source), []
        elif name:
            found[name][1].append((word, rest))
    return found


def inherited(stages: Stages, name: str) -> list[tuple[str, str]]:
    """The instructions of a stage and of those that it begins with, in order."""
    if name not in stages:
        return []
    source, own = stages[name]
    return [*inherited(stages, source), *own]


def pins(*names: str) -> dict[str, str]:
    """Versions by package, of locked requirements, as this Python takes them."""
    lines = [line for name in names for line in (ROOT / name).read_text().splitlines()]
    pinned = [Requirement(line.removesuffix("\\")) for line in lines if line[:1].isalnum()]
    taken = [one for one in pinned if one.marker is None or one.marker.evaluate()]
    return {one.name: str(one.specifier).removeprefix("==") for one in taken}


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    done = subprocess.run([linter("hadolint"), "--no-color", str(DOCKERFILE)], check=False)
    assert done.returncode == 0


def test_the_linter_of_shell_scripts_finds_nothing() -> None:
    scripts = [*map(str, DEPLOY.rglob("*.sh")), str(ROOT / ".ci/run")]
    assert len(scripts) > 4
    done = subprocess.run([linter("shellcheck"), *scripts], check=False)
    assert done.returncode == 0


def test_foreign_images_are_pinned_to_the_versions_that_the_project_uses(stages: Stages) -> None:
    foreign = [source for source, _ in stages.values() if source not in stages]
    assert len(foreign) == 3
    for source in foreign:
        assert re.search(r":[\w.-]*\d[\w.-]*$|@sha256:[0-9a-f]{64}$", source)
        assert not source.endswith(":latest")
    beam = pins("requirements.txt")["apache-beam"]
    assert f"apache/beam_python3.11_sdk:{beam}" in foreign
    assert any(source.startswith("python:3.11.") for source in foreign)


def test_a_lock_of_images_that_is_there_has_a_digest_for_each(stand_ins: StandIns) -> None:
    if not (DEPLOY / "images.lock").exists():
        pytest.skip("deploy/images.lock is written where the network is: deploy/pin-images.sh")
    assert stand_ins.run(PIN_IMAGES, "--build-args").returncode == 0


def pinned(
    stand_ins: StandIns, lock: pathlib.Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """What the script of the digests says, with a lock file of its own."""
    return stand_ins.run(PIN_IMAGES, *arguments, NST_IMAGES_LOCK=str(lock))


@pytest.mark.parametrize("tool", ["crane", "skopeo"])
def test_images_are_pinned_by_the_digests_that_a_registry_tells(
    tool: str, stand_ins: StandIns, tmp_path: pathlib.Path
) -> None:
    lock, digest = tmp_path / "images.lock", f"sha256:{'5a' * 32}"
    for name in ("crane", tool):
        script = f'#!/bin/sh\necho "$@" >> "$CALLS"\necho {digest}\n'
        (stand_ins.folder / name).write_text(script)
        (stand_ins.folder / name).chmod(0o755)
    if tool != "crane":
        (stand_ins.folder / "crane").unlink()
    done = pinned(stand_ins, lock)
    assert done.returncode == 0, done.stderr
    lines = [f"{name}={image}@{digest}" for name, image in images().items()]
    assert lock.read_text().splitlines() == lines
    asked = stand_ins.calls_file.read_text()
    assert all(image in asked for image in images().values())
    arguments = pinned(stand_ins, lock, "--build-args")
    assert arguments.returncode == 0, arguments.stderr
    words = [word for line in lines for word in ("--build-arg", line)]
    assert arguments.stdout.splitlines() == words


@pytest.mark.parametrize("spoiled", ["absent", "of another tag", "without a digest"])
def test_a_release_is_not_built_from_an_image_without_its_digest(
    spoiled: str, stand_ins: StandIns, tmp_path: pathlib.Path
) -> None:
    lock = tmp_path / "images.lock"
    ending = f"@sha256:{'0' * 64}"
    lines = [f"{name}={image}{ending}" for name, image in images().items()]
    if spoiled == "of another tag":
        lines[0] = lines[0].replace("@", ".1@")
    if spoiled == "without a digest":
        lines[0] = lines[0].removesuffix(ending)
    if spoiled != "absent":
        lock.write_text("".join(f"{line}\n" for line in lines))
    done = pinned(stand_ins, lock, "--build-args")
    assert done.returncode == 1
    assert f"{next(iter(images().values()))} has no digest" in done.stderr
    assert done.stdout == ""


def test_digests_that_cannot_be_had_leave_the_lock_as_it_is(
    stand_ins: StandIns, tmp_path: pathlib.Path
) -> None:
    lock = tmp_path / "images.lock"
    lock.write_text("before\n")
    stand_ins.add("crane")  # It says nothing.
    done = pinned(stand_ins, lock)
    assert done.returncode == 1
    assert "which is none" in done.stderr
    assert lock.read_text() == "before\n"
    assert [path.name for path in tmp_path.glob("images*")] == ["images.lock"]
    assert pinned(stand_ins, lock, "--all").returncode == 2


@pytest.mark.parametrize("target", TARGETS)
def test_every_image_runs_without_root_and_verifies_its_weights(
    stages: Stages, target: str
) -> None:
    instructions = inherited(stages, target)
    arguments = dict(r.split("=", 1) for word, r in instructions if word == "ARG" and "=" in r)
    user = [rest for word, rest in instructions if word == "USER"][-1]
    for name, value in arguments.items():
        user = user.replace(f"${{{name}}}", value)
    assert user == "10001:10001"
    (health,) = [rest for word, rest in instructions if word == "HEALTHCHECK"]
    assert "nst weights verify" in health
    entry = [rest for word, rest in instructions if word == "ENTRYPOINT"][-1]
    assert entry == ('["/opt/apache/beam/boot"]' if target == "dataflow" else '["nst"]')


def test_cpu_and_gpu_images_share_everything_but_the_kind_of_packages(stages: Stages) -> None:
    installs = [stages[f"{kind}-installed"] for kind in ("cpu", "gpu")]
    assert {source for source, _ in installs} == {"source"}
    assert {stages[kind][0] for kind in ("cpu", "gpu")} == {"base"}
    weights = "--from=weights --chown=10001:10001 /opt/nst/weights /opt/nst/weights"
    for kind in ("cpu", "gpu"):
        assert ("COPY", weights) in stages[kind][1]
    assert stages["dataflow"][0] == "gpu"


def test_every_run_is_one_script_of_the_project_and_every_script_is_run(stages: Stages) -> None:
    runs = [rest for _, own in stages.values() for word, rest in own if word == "RUN"]
    names = [run.split()[0].removeprefix("/opt/nst/scripts/") for run in runs]
    assert {*names} == {path.name for path in SCRIPTS.iterdir()}
    assert not any(sign in run for run in runs for sign in ("&&", ";", "|"))
    assert all(os.access(path, os.X_OK) for path in SCRIPTS.iterdir())


def copied(stages: Stages) -> list[str]:
    """What the images take from the repository."""
    found = []
    for _, own in stages.values():
        for word, rest in own:
            if word == "COPY" and "--from=" not in rest:
                found += rest.split()[:-1]
    return found


def test_what_is_copied_is_there_and_not_ignored(stages: Stages) -> None:
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    for name in copied(stages):
        assert (ROOT / name).exists()
        assert name.partition("/")[0] in allowed


def test_what_is_copied_makes_the_package(stages: Stages, tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    for name in copied(stages):
        if not name.startswith("deploy"):
            place = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__")
            if place.is_dir():
                shutil.copytree(place, source / name, ignore=ignore)
            else:
                source.mkdir(exist_ok=True)
                shutil.copy(place, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps"]
    how = ["--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, *how, str(source)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "nst_catalog.py",
        "nst_core/engine/style_engine.py",
        "nst_core/presets/default.yaml",
        "nst_core/py.typed",
        "pipeline/template.py",
    } <= {*names}


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "deploy/requirements-gpu.txt"]
)
def test_a_lock_has_hashes_and_names_no_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    for one in re.split(r"\n(?=\w)", text)[1:]:
        assert re.match(r"[\w.-]+==\S+( ;[^\n]+)? \\\n    --hash=sha256:[0-9a-f]{64}", one), one
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted", text)


def test_users_install_nothing_that_only_tests_need_and_all_take_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    users, everything = pins("requirements.txt"), pins("requirements-dev.txt")
    assert everything.items() >= users.items() <= pins("deploy/requirements-gpu.txt").items()
    wanted = {Requirement(one).name.lower() for one in project["optional-dependencies"]["dev"]}
    assert wanted <= everything.keys()
    assert not {"pandas", "scipy", "mypy", "pytest", "ruff", "playwright"} & users.keys()


def test_everything_that_is_installed_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins("requirements.txt")
    needed = [*map(Requirement, project["dependencies"])]
    for one in needed:
        assert pinned[one.name] in one.specifier
    (gpu,) = map(Requirement, project["optional-dependencies"]["gpu"])
    assert pinned[gpu.name] in gpu.specifier


def test_the_gpu_s_packages_are_pinned_as_tensorflow_wants_them() -> None:
    import importlib.metadata

    pinned = pins("deploy/requirements-gpu.txt")
    wanted = [
        one
        for one in map(Requirement, importlib.metadata.requires("tensorflow") or [])
        if one.marker and one.marker.evaluate({"extra": "and-cuda"}) and "nvidia" in one.name
    ]
    assert {one.name for one in wanted} == {one for one in pinned if one.startswith("nvidia-")}
    for one in wanted:
        assert pinned[one.name] in one.specifier


def test_the_script_of_the_user_adds_one_with_a_home_once(
    tmp_path: pathlib.Path, stand_ins: StandIns
) -> None:
    (tmp_path / "etc").mkdir()
    for _ in range(2):
        done = stand_ins.run(str(SCRIPTS / "add-user.sh"), "nst", "10001", ROOT=str(tmp_path))
        assert done.returncode == 0, done.stderr
    line = "nst:x:10001:10001::/home/nst:/usr/sbin/nologin\n"
    assert (tmp_path / "etc/passwd").read_text() == line
    assert (tmp_path / "etc/group").read_text() == "nst:x:10001:\n"
    assert (tmp_path / "home/nst").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("kind", "lock"), [("cpu", "requirements.txt"), ("gpu", "requirements-gpu.txt")]
)
def test_the_script_that_installs_takes_pinned_packages_alone(
    kind: str,
    lock: str,
    tmp_path: pathlib.Path,
    stand_ins: StandIns,
) -> None:
    stand_ins.add("python")
    target = str(tmp_path / "python")
    done = stand_ins.run(str(SCRIPTS / "install.sh"), kind, "/source", target)
    assert done.returncode == 0, done.stderr
    made, locked, installed, checked = stand_ins.calls()
    assert made == ["python", "-m", "venv", target]
    for install in (locked, installed):
        assert install[:2] == ["pip", "install"]
        assert "--no-deps" in install
    assert locked[-3:] == ["--require-hashes", "--requirement", f"/source/{lock}"]
    assert installed[-2:] == ["--no-build-isolation", "/source"]
    assert checked == ["pip", "check"]


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("install.sh", ("tpu", "s", "t")), ("bake-weights.sh", ("vgg.h5", "given"))],
)
def test_scripts_refuse_what_they_do_not_know(
    script: str, arguments: tuple[str, ...], stand_ins: StandIns, tmp_path: pathlib.Path
) -> None:
    folders = {"KERAS_HOME": str(tmp_path / "k"), "NST_CACHE": str(tmp_path / "c")}
    done = stand_ins.run(str(SCRIPTS / script), *arguments, **folders)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert stand_ins.calls() == []


@pytest.mark.parametrize("is_given", [True, False])
def test_weights_that_are_given_are_baked_in_and_verified(
    is_given: bool, tmp_path: pathlib.Path, stand_ins: StandIns
) -> None:
    stand_ins.add("nst")
    given, keras = tmp_path / "given", tmp_path / "keras"
    given.mkdir()
    if is_given:
        (given / KERAS_FILE).write_bytes(b"weights")
    folders = {"KERAS_HOME": str(keras), "NST_CACHE": str(tmp_path / "cache")}
    done = stand_ins.run(str(SCRIPTS / "bake-weights.sh"), "imagenet", str(given), **folders)
    assert done.returncode == 0, done.stderr
    assert stand_ins.calls() == [
        ["nst", "weights", "fetch", "--weights", "imagenet"],
        ["nst", "weights", "verify", "--weights", "imagenet"],
    ]
    # Where the command looks for it.
    assert (keras / "models" / KERAS_FILE).exists() == is_given


def test_made_weights_are_made_once_in_the_image(
    tmp_path: pathlib.Path, stand_ins: StandIns
) -> None:
    stand_ins.add("nst")
    folders = {"KERAS_HOME": str(tmp_path / "keras"), "NST_CACHE": str(tmp_path / "cache")}
    done = stand_ins.run(str(SCRIPTS / "bake-weights.sh"), "procedural", "given", **folders)
    assert done.returncode == 0, done.stderr
    assert stand_ins.calls() == [["nst", "weights", "verify", "--weights", "procedural"]]
