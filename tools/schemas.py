"""`python -m tools.schemas [--output DIR]`: JSON Schemas of what a run reads and writes.

Draft 2020-12, one file for each kind and version, from the code that reads and writes it. Only
those of the current versions are written: what a version was stays as it is in docs/schemas/.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from nst_core.config import StyleConfig
from pipeline.manifest.values import LEAST_WEIGHT, MARK, MARKS, MOST_WEIGHT, OPTION
from pipeline.records import shapes
from pipeline.runs import result_lines

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "schemas"
DRAFT = GenerateJsonSchema.schema_dialect
# Raised where what was allowed no longer is.
SETTINGS_VERSION = 1
ROW_VERSION = 1

Schema = dict[str, Any]
_TYPES = {"STRING": "string", "INTEGER": "integer", "FLOAT": "number"}


def schemas() -> dict[str, Schema]:
    """The schemas of the current versions by file name."""
    several = {
        ("settings", SETTINGS_VERSION): settings(),
        ("row", ROW_VERSION): row(),
        ("record", shapes.RECORD_VERSION): written(shapes.Record),
        ("summary", shapes.SUMMARY_VERSION): written(shapes.Summary),
        ("run", shapes.RUN_VERSION): written(shapes.RunAccount),
        ("results", shapes.RESULTS_VERSION): results(),
    }
    return {
        f"{kind}-{version}.json": {
            "$schema": DRAFT,
            "$id": f"urn:nst-catalog:schema:{kind}:{version}",
            "title": f"nst {kind}, version {version}",
            **schema,
        }
        for (kind, version), schema in several.items()
    }


def settings() -> Schema:
    """Of a configuration file: settings and nothing else, each absent or usable.

    Whether settings contradict each other depends on those below them, and is not in it.
    """
    return {
        "description": "Settings of nst, as --config takes them; all are optional.",
        "type": "object",
        "properties": dict(_settings(with_defaults=True)),
        "additionalProperties": False,
    }


def _settings(*, with_defaults: bool) -> Iterator[tuple[str, Schema]]:
    defaults = StyleConfig().to_dict()
    for field in dataclasses.fields(StyleConfig):
        schema = {"description": field.metadata["doc"], **field.metadata["check"].schema}
        if with_defaults:
            schema["default"] = defaults[field.name]
        yield field.name, schema


def row() -> Schema:
    """Of a manifest's row as JSON Lines and Parquet have it; in CSV options are YAML."""
    uri = {"type": "string", "pattern": r"\S"}
    style = {
        "type": "object",
        "properties": {
            "uri": uri,
            "weight": {
                "type": ["number", "null"],
                "minimum": LEAST_WEIGHT,
                "maximum": MOST_WEIGHT,
            },
            "mask": {"anyOf": [uri, {"type": "null"}]},
        },
        "required": ["uri"],
        "additionalProperties": False,
    }
    several = {"type": "array", "items": {"anyOf": [uri, style]}, "minItems": 1}
    options = {
        OPTION + name: {"anyOf": [schema, {"type": "null"}]}
        for name, schema in _settings(with_defaults=False)
    }
    others = {"not": {"pattern": f"^{OPTION.replace('.', chr(92) + '.')}"}}
    return {
        "description": "One row of a manifest in JSON Lines; other columns travel through.",
        "type": "object",
        "properties": {
            "content": {"description": "URI of the content", **uri},
            "style": {"description": "URI of the style, or several", "anyOf": [uri, several]},
            "id": {
                "description": "name of the pair's files",
                "type": ["string", "integer", "null"],
            },
            MARK: {"description": f"of a report: {', '.join(MARKS)}; anything else is a column"},
            **options,
        },
        "required": ["content", "style"],
        "propertyNames": {"anyOf": [others, {"enum": [*options]}]},
    }


def written(shape: Any) -> Schema:
    """Of a file whose content is this typed dictionary; other fields may come with it."""
    for one in vars(shapes).values():
        if isinstance(one, type) and hasattr(one, "__required_keys__"):
            one.__pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[attr-defined]
    schema = TypeAdapter(shape).json_schema()
    return {name: value for name, value in _untitled(schema).items() if name != "title"}


def _untitled(schema: Any, *, is_named: bool = False) -> Any:
    """Without the titles that repeat names, which nobody needs; `is_named`: the keys are names."""
    if isinstance(schema, list):
        return [_untitled(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _untitled(value, is_named=not is_named and name in ("properties", "$defs"))
        for name, value in schema.items()
        if is_named or name != "title"
    }


def results() -> Schema:
    """Of one line of the results: the fields that docs/results_schema.json has for BigQuery."""
    # The one that joined later: the earliest lines are without it.
    always = [field["name"] for field in result_lines.SCHEMA if field["name"] != "changed"]
    schema = _record(result_lines.SCHEMA)
    return {"description": "One line of results-*.jsonl", **schema, "required": always}


def _record(fields: result_lines.Schema) -> Schema:
    return {"type": "object", "properties": {one["name"]: _field(one) for one in fields}}


def _field(field: dict[str, Any]) -> Schema:
    one: Schema
    one = _record(field["fields"]) if "fields" in field else {"type": _TYPES[field["type"]]}
    if field["mode"] == "REPEATED":
        return {"type": "array", "items": one}
    return {**one, "type": [one["type"], "null"]}


def text_of(schema: Schema) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: pathlib.Path) -> None:
    """Write the schemas of the current versions into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(text_of(schema), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.schemas", allow_abbrev=False)
    parser.add_argument("--output", type=pathlib.Path, default=FOLDER, metavar="DIR")
    write(parser.parse_args().output)
