"""Columns that look like settings: refused where they are misspelt, told where they set nothing."""

from __future__ import annotations

import json
import logging
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.config import SETTINGS
from nst_core.errors import OptionsInvalid
from pipeline.__main__ import main
from pipeline.manifest.columns import ManifestError
from pipeline.manifest.rows import check_manifests, read_rows
from pipeline.pairs.parsing import parse_pair

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

Sentence = Callable[[str], str]
KINDS = ("m.csv", "m.jsonl", "m.parquet")
NEARLY = {
    "option.steps": "options.steps",
    "option.stepz": "options.steps",
    "options_init": "options.init",
    "options-init": "options.init",
    "options:init": "options.init",
    "options image size": "options.image_size",
    "optoins.seed": "options.seed",
    "Option.zzzzz": "options.KEY",
}
OTHERS = (
    *("option", "options", "option_1", "optional_note", "options_sold"),
    *("sku", "price.steps", "weight", "scale", "size"),
)


def row(**more: Any) -> dict[str, Any]:
    return {"content": "a.png", "style": "s.png", **more}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "nearest"), NEARLY.items())
def test_a_column_that_is_nearly_an_option_is_refused_with_the_nearest(
    catalog: Catalog, kind: str, name: str, nearest: str
) -> None:
    uri = catalog.manifest([row(**{name: "3", "sku": "A"})], kind)
    with pytest.raises(ManifestError) as caught:
        check_manifests(uri)
    assert f"{json.dumps(name)} (nearest: {nearest})" in str(caught.value)
    assert uri in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("kind", KINDS)
def test_other_columns_travel_through_in_silence(catalog: Catalog, kind: str) -> None:
    uri = catalog.manifest([row(**dict.fromkeys(OTHERS, "x"))], kind)
    assert check_manifests(uri) == []
    (read,) = read_rows(uri)
    assert parse_pair(read, uri).columns == dict.fromkeys(OTHERS, "x")


@pytest.mark.parametrize("kind", KINDS)
def test_blanks_around_the_name_of_a_column_mean_nothing(catalog: Catalog, kind: str) -> None:
    cells = {" content": "a.png", "style ": "s.png", " options.seed": "3", "\u00a0sku\t": "A"}
    uri = catalog.manifest([cells], kind)
    (read,) = read_rows(uri)
    pair = parse_pair(read, uri)
    assert (pair.content, pair.columns) == (catalog.uri("a.png"), {"sku": "A"})
    assert str(pair.options["seed"]) == "3"


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("kind", KINDS)
def test_misspelt_options_end_the_command_as_a_misspelt_setting_does(
    catalog: Catalog,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Sentence,
    kind: str,
    command: str,
) -> None:
    catalog.manifest([row(**{"option.steps": 9, "option.seed": 3, "options_init": "noise"})], kind)
    before = catalog.files()
    assert main([command, *catalog.arguments(manifest=kind)[1:]]) == 2
    sentence = one_sentence(capsys.readouterr().err)
    for nearest in ("options.steps", "options.seed", "options.init"):
        assert f"(nearest: {nearest})" in sentence
    assert catalog.files() == before


def test_a_later_row_of_json_lines_with_a_misspelt_option_fails_alone(catalog: Catalog) -> None:
    uri = catalog.manifest([row(), row(**{"option.seed": 3}), row()], "m.jsonl")
    first, second, third = read_rows(uri)
    for good in (first, third):
        parse_pair(good, uri)
    with pytest.raises(OptionsInvalid, match=r'^Row 2 has "option\.seed" \(nearest: opt.*\.$'):
        parse_pair(second, uri)


@pytest.mark.parametrize("kind", KINDS)
def test_columns_named_as_settings_are_told_of_once_per_run(
    catalog: Catalog, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    catalog.picture("s.png")
    rows = [row(image_size=32, **{"Learning Rate": 3, "content_wieght": 1})] * 3
    for number in range(2):
        catalog.manifest(rows, f"{number}{kind}")
    with caplog.at_level(logging.WARNING):
        assert catalog.run(manifest=f"*{kind}") == 3
    told = [
        record.getMessage() for record in caplog.records if "is no setting" in record.getMessage()
    ]
    assert len(told) == 3
    for name in ("image_size", "learning_rate", "content_weight"):
        assert sum(f"name the column options.{name}." in sentence for sentence in told) == 1
    assert catalog.results()[0]["columns"].keys() == rows[0].keys() - {"content", "style"}


def test_settings_in_later_rows_and_in_an_object_of_json_lines_are_told_of(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    uri = catalog.manifest([row(), row(seed=1), row(seed=2), row(options={"steps": 1})], "m.jsonl")
    assert check_manifests(uri) == []
    with caplog.at_level(logging.WARNING):
        assert len(list(read_rows(uri))) == 4
    told = [record.getMessage() for record in caplog.records]
    assert [sentence.rpartition(" ")[2] for sentence in told] == ["options.seed.", "options.steps."]


def test_the_names_of_settings_and_their_columns_are_known(tmp_path: pathlib.Path) -> None:
    names = ["content", "style", *(f"options.{key}" for key in SETTINGS)]
    uri = str(tmp_path / "m.csv")
    pathlib.Path(uri).write_text(",".join(names) + "\na.png,s.png\n", encoding="utf-8")
    assert check_manifests(uri) == []
