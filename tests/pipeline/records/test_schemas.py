"""The published JSON Schemas: what runs and earlier versions have written is as they say."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from nst_core.config import PRESETS, StyleConfig
from pipeline.__main__ import main
from tools import schemas

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

ROOT = pathlib.Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
PUBLISHED = {
    path.name: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(schemas.FOLDER.glob("*.json"))
}


def closed(schema: Any) -> Any:
    """A schema that takes no field without a name in it."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "propertyNames" not in schema:
        found.setdefault("additionalProperties", False)
    return found


def check(kind: str, value: Any, version: int | None = None) -> None:
    """That a value is as the schema of its own version says, with no field that it does not."""
    version = version or value.get("schema_version", 1)
    name = f"{kind}-{version}.json"
    problems = [
        f"{error.json_path}: {error.message}"
        for error in Draft202012Validator(closed(PUBLISHED[name])).iter_errors(value)
    ]
    assert not problems, f"{name}: {problems}"


def check_output(folder: pathlib.Path) -> set[str]:
    """That every file of an output is as its schema says; the kinds of files that there are."""
    kinds = set()
    found = {
        "record": folder.glob("records/**/*.json"),
        "summary": folder.glob("runs/*/summary.json"),
        "run": folder.glob("runs/*/run.json"),
    }
    for kind, paths in found.items():
        for path in paths:
            check(kind, json.loads(path.read_text(encoding="utf-8")))
            kinds.add(kind)
    for path in folder.glob("runs/*/config.yaml"):
        check("settings", yaml.safe_load(path.read_text(encoding="utf-8")), 1)
    for path in folder.glob("runs/*/results-*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            check("results", json.loads(line), 1)
            kinds.add("results")
    return kinds


def test_the_published_schemas_are_those_of_the_code() -> None:
    for name, schema in schemas.schemas().items():
        path = schemas.FOLDER / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text == schemas.text_of(schema), "python -m tools.schemas writes them"


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_schema_is_one_and_says_of_which_version(name: str) -> None:
    schema = PUBLISHED[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    kind, _, version = name.removesuffix(".json").partition("-")
    assert schema["$id"] == f"urn:nst-catalog:schema:{kind}:{version}"
    # None refers to a file elsewhere.
    text = json.dumps(schema)
    assert text.count('"$ref"') == text.count('"$ref": "#/$defs/')


def test_all_versions_up_to_the_current_one_are_published() -> None:
    for name in schemas.schemas():
        kind, _, version = name.removesuffix(".json").partition("-")
        earlier = {f"{kind}-{number}.json" for number in range(1, int(version) + 1)}
        assert earlier == {one for one in PUBLISHED if one.startswith(f"{kind}-")}


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("output-*")), ids=lambda path: path.name)
def test_what_an_earlier_version_has_written_is_as_its_schema_says(folder: pathlib.Path) -> None:
    assert check_output(folder / "out") >= {"record", "summary", "results"}


def test_what_a_run_writes_is_as_the_schemas_say(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runs.run_file.LOCAL_SECONDS", 0.01)
    catalog.pairs(("a.png", "b.png"))
    catalog.grey("mask.png", [[0, 255]])
    several = [{"uri": "s.png"}, {"uri": "a.png", "weight": 2, "mask": "mask.png"}]
    rows: list[dict[str, Any]] = [
        {"id": "moving", "content": "a.png", "style": "s.png"},
        {"id": "masks", "content": "b.png", "style": several, "price": {"€": [1, None]}},
        {"id": "missing", "content": "none.png", "style": "s.png", "mark": "keep"},
        {"id": 7, "content": "b.png", "style": "s.png", "options.keep": "mask.png"},
        {"id": "x", "content": "b.png", "style": "s.png", "options.sharpness": 1},
    ]
    rows[0] |= {"options.snapshot_every": 1, "options.animation": "webp"}
    for row in rows[:-1]:
        check("row", row, 1)
    with pytest.raises(AssertionError, match=r"options\.sharpness"):
        check("row", rows[-1], 1)
    catalog.manifest(rows, "rows.jsonl")
    assert catalog.run(manifest="rows.jsonl") == 3
    folder = pathlib.Path(catalog.uri("out"))
    assert check_output(folder) == {"record", "summary", "results", "run"}
    assert catalog.run(manifest="rows.jsonl") == 3
    catalog.run("--max-failures=1", "--on-existing=redo", manifest="rows.jsonl")
    # Rows that the command line makes lie elsewhere than the manifest's name says.
    made = catalog.arguments("--contents", catalog.uri("a.png"), "--styles", catalog.uri("s.png"))
    assert main(["run", *made[3:]]) == 0
    check_output(folder)
    states = {json.loads(path.read_text())["state"] for path in folder.glob("runs/*/run.json")}
    assert states == {"finished", "stopped"}
    versions = {
        kind: {json.loads(path.read_text())["schema_version"] for path in folder.glob(pattern)}
        for kind, pattern in (
            ("record", "records/*.json"),
            ("summary", "runs/*/summary.json"),
            ("run", "runs/*/run.json"),
        )
    }
    assert versions == {"record": {2}, "summary": {2}, "run": {1}}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_as_the_schema_of_settings_says(name: str) -> None:
    check("settings", yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()) or {}, 1)


# What any setting may be given, sensibly or not; no whole number as a float, which JSON Schema
# takes for the same.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 15, 16, 64, 72, 100, 101, 513, 8192, 8193, 10**6, 10**12),
    *(
        0.5,
        0.05,
        -0.5,
        1.5,
        4.5,
        1e-9,
        2**31,
        "",
        " ",
        "auto",
        "off",
        "grid",
        "none",
        "a.png",
        "512",
    ),
    *(
        "lbfgs",
        "png",
        "Auto",
        "full",
        [],
        [0.5, 1],
        [1],
        [0.5],
        [1, 2],
        [0.5, 0.5, 1],
        ["a"],
        [0, 1],
    ),
    *({}, {"block1_conv1": 1}, {"block1_conv1": 0}, {"block9": 1}, {"block1_conv1": -1}),
    *({"block1_conv1": 0, "block2_conv1": 0.5}, {"block1_conv1": "1"}),
]


@pytest.mark.parametrize("field", dataclasses.fields(StyleConfig), ids=lambda field: field.name)
def test_a_setting_s_schema_takes_what_its_check_takes(field: dataclasses.Field[Any]) -> None:
    validator = Draft202012Validator(PUBLISHED["settings-1.json"]["properties"][field.name])
    for value in VALUES:
        given = tuple(value) if isinstance(value, list) else value
        is_usable = field.metadata["check"](given) is None
        assert validator.is_valid(value) == is_usable, value


def test_an_order_is_more_than_a_schema_can_say_and_usable_settings_pass_all_the_same() -> None:
    validator = Draft202012Validator(PUBLISHED["settings-1.json"])
    assert validator.is_valid({"scales": [1, 0.5]})
    assert validator.is_valid(StyleConfig().to_dict())
    assert not validator.is_valid({"imagesize": 512})
