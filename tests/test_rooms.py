"""The rooms of both packages: which imports there are, which way they point, how long files are."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent
# A room imports from those named after it, never from those before it; as in CONTRIBUTING.md.
ORDER = {
    "nst_core": (
        "engine",
        "devices",
        "compiled",
        "optimizers",
        "objective",
        "network",
        "decoding",
        "imaging",
        "image_files",
        "results",
        "identity",
        "canvas",
        "host",
        "config",
        "setting_text",
        "yaml_values",
        "config_checks",
        "layers",
        "errors",
    ),
    "pipeline": (
        "template",
        "__main__",
        "cli",
        "command_options",
        "settings_help",
        "commands",
        "runners",
        "job",
        "worker",
        "console",
        "export",
        "report",
        "runs",
        "records",
        "pairs",
        "manifest",
        "storage",
        "processes",
    ),
}
MOST_LINES = 375


def modules() -> dict[str, pathlib.Path]:
    """All modules of both packages by name."""
    found = {}
    for package in ORDER:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: pathlib.Path) -> Iterator[str]:
    """What a file imports, also inside functions: modules, also such that are not ours."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in MODULES else module


def room(module: str) -> str:
    """The part of a package in which a module lies; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_its_place_in_the_order() -> None:
    for package, order in ORDER.items():
        rooms = {room(module) for module in MODULES if module.startswith(f"{package}.")}
        assert rooms - {"samples"} == set(order)


def test_a_room_imports_only_from_those_behind_it() -> None:
    wrong = []
    for module, path in MODULES.items():
        package = module.split(".")[0]
        order = ("", *ORDER[package])
        for imported in imports(path):
            if imported not in MODULES or imported.split(".")[0] != package:
                continue
            if order.index(room(module)) > order.index(room(imported)):
                wrong.append(f"{module} imports {imported}")
    assert not wrong


def test_no_two_files_import_each_other() -> None:
    targets = {
        module: {name for name in imports(path) if name in MODULES and name != module}
        for module, path in MODULES.items()
    }
    while leaves := [module for module, found in targets.items() if not found & targets.keys()]:
        for module in leaves:
            del targets[module]
    circles = {module: sorted(found & targets.keys()) for module, found in targets.items()}
    assert not circles


def test_the_core_knows_nothing_of_beam_storage_or_the_pipeline() -> None:
    foreign = {"pipeline", "apache_beam", "google", "fsspec", "boto3"}
    found = [
        f"{module} imports {imported}"
        for module, path in MODULES.items()
        if module.startswith("nst_core")
        for imported in imports(path)
        if imported.split(".")[0] in foreign
    ]
    assert not found


def test_every_file_says_what_it_is_for_and_is_short() -> None:
    for module, path in MODULES.items():
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), module
        assert len(text.splitlines()) <= MOST_LINES, module
