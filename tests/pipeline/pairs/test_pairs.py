"""A row as a pair: content, styles, id, options."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nst_core.config import StyleConfig
from nst_core.errors import ManifestInvalid, OptionsInvalid
from pipeline.manifest.columns import Row
from pipeline.manifest.ids import styled_id
from pipeline.pairs.parsing import StyleReference, parse_pair
from tests.pipeline.manifest.manifests import pair_of, read_pairs, refusal, write


@pytest.mark.parametrize("role", ["content", "style"])
@pytest.mark.parametrize("value", [None, "", "  ", 3, True, 1.5, {"uri": "a.png"}, b"a.png"])
def test_content_and_style_are_text(role: str, value: Any) -> None:
    assert role in refusal({role: value})


def test_content_is_not_a_list() -> None:
    assert "content" in refusal({"content": ["a.png"]})
    with pytest.raises(ManifestInvalid, match=r"^Row 1 has no style; "):
        parse_pair(Row(1, {"content": "a.png"}, None), "/m.jsonl")


@pytest.mark.parametrize(
    ("style", "reason"),
    [
        ([], "empty list"),
        ("[]", "empty list"),
        ("[a.png]", "not JSON"),
        ('["a.png"', "not JSON"),
        ('["a.png"] x', "not JSON"),
        ('["a\\u0000.png"]', "NUL"),
        ([""], "no style"),
        ([None], "no style"),
        ([7], "7 as style"),
        ([["a.png"]], "as style"),
        ([{"weight": 1}], "no style"),
        ([{"uri": 3}], "3 as style"),
        ([{"uri": "a.png", "wieght": 2}], '"wieght"'),
        ([{"uri": "a.png", "mask": 3}], "3 as mask"),
        ([{"uri": "a.png", "mask": ""}], "no mask"),
        ([{"uri": "a.png", "weight": 0}], "weight 0"),
        ([{"uri": "a.png", "weight": -1}], "weight -1"),
        ([{"uri": "a.png", "weight": "2"}], 'weight "2"'),
        ([{"uri": "a.png", "weight": True}], "weight true"),
        ([{"uri": "a.png", "weight": float("nan")}], "weight"),
        ([{"uri": "a.png", "weight": float("inf")}], "weight"),
        ([{"uri": "a.png", "weight": 1e308}], "a number from 1e-09 to 1e+09"),
        ([{"uri": "a.png", "weight": 1e-320}], "a number from 1e-09 to 1e+09"),
        ([{"uri": "a.png", "weight": 10**400}], "weight"),
        ('[{"uri": "a.png", "weight": NaN}]', "NaN"),
        ('[{"uri": "a.png", "weight": 1e999}]', "1e999"),
    ],
)
def test_a_style_list_that_is_wrong_is_refused(style: Any, reason: str) -> None:
    assert reason in refusal({"style": style})


def test_uris_and_weights_may_be_mixed_and_are_relative_to_the_manifest() -> None:
    style = '["../s/x.png", {"uri": "gs://b/y.png", "weight": 3}, {"uri": "/z.png"}]'
    for value in (style, json.loads(style)):
        assert pair_of({"style": value}, "/catalog/lists/pairs.jsonl").styles == (
            StyleReference("/catalog/s/x.png", 1.0),
            StyleReference("gs://b/y.png", 3.0),
            StyleReference("/z.png", 1.0),
        )
    masked = [{"uri": "x.png", "mask": "../m.png"}, {"uri": "y.png", "mask": None, "weight": 2}]
    assert pair_of({"style": masked}, "/catalog/lists/pairs.jsonl").styles == (
        StyleReference("/catalog/lists/x.png", 1.0, "/catalog/m.png"),
        StyleReference("/catalog/lists/y.png", 2.0),
    )
    assert pair_of({"content": "c/ü #1%.png"}, "gs://b/d/m.csv").content == "gs://b/d/c/ü #1%.png"


@pytest.mark.parametrize(
    "name",
    ["a", "A-1_b.c", "a/b/c", "0", "-", "_", "a..b", "x" * 150, "/".join(["x" * 127] * 4)],
)
def test_ids_that_can_name_files_are_kept(name: str) -> None:
    assert pair_of({"id": name}).id == name


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../b",
        "/abs",
        "a//b",
        "a/",
        ".hidden",
        "a/.b",
        ".",
        "..",
        " a",
        "a ",
        "a /b",
        "a\n",
        "a\u00a0b",
        "a\\b",
        "a:b",
        "x" * 151,
        "/".join(["x" * 128] * 4),
        1.5,
        True,
        ["a"],
        {"a": 1},
    ],
)
def test_ids_that_cannot_name_files_are_refused(name: Any) -> None:
    assert "the id " in refusal({"id": name})


def test_whole_numbers_are_ids_and_blank_ones_are_none() -> None:
    assert pair_of({"id": 42}).id == "42"
    default = pair_of({}).id
    for blank in (None, "", "  "):
        assert pair_of({"id": blank}).id == default


@pytest.mark.parametrize("value", [42.0, Decimal(42), Decimal("42.00"), Decimal("4.2E1")])
def test_whole_numbers_of_databases_and_pandas_are_whole(value: Any) -> None:
    pair = pair_of({"id": value, "options.image_size": value, "options.seed": None})
    assert pair.id == "42"
    assert StyleConfig().updated(pair.options).image_size == 42
    assert styled_id(value, "/s.png") == "42--s"


def test_decimals_are_numbers_in_options_and_text_elsewhere() -> None:
    pair = pair_of({"options.content_weight": Decimal("0.50"), "price": Decimal("9.90")})
    assert pair.options == {"content_weight": 0.5}
    assert pair.columns == {"price": "9.90"}
    assert "the id 1.5" in refusal({"id": Decimal("1.5")})


def test_default_ids_are_stable_and_differ_with_every_source() -> None:
    assert pair_of({}).id == "c--s-54499785"
    variants: list[dict[str, Any]] = [
        {},
        {"content": "other/c.png"},
        {"content": "c.jpg"},
        {"style": "other/s.png"},
        {"style": ["s.png", "s.png"]},
        {"style": ["s.png", "t.png"]},
        {"style": ["t.png", "s.png"]},
        {"style": [{"uri": "s.png", "weight": 2}]},
        {"style": [{"uri": "s.png", "mask": "m.png"}]},
        {"style": [{"uri": "s.png", "weight": 2}, "t.png"]},
        {"style": ["s.png", {"uri": "t.png", "weight": 2}]},
    ]
    ids = [pair_of(variant).id for variant in variants]
    assert len(set(ids)) == len(ids)
    assert pair_of({"style": ["s.png", "t.png"]}).id.startswith("c--s-and-t-")
    same = pair_of({"style": [{"uri": "s.png", "weight": 1}]})
    assert same.id == pair_of({}).id


@pytest.mark.parametrize(
    "content", ["日本 語.png", ".hidden.png", "...", "x" * 300, "a/..b", "gs://b/", "ü/é?.png"]
)
def test_default_ids_are_ids(content: str) -> None:
    made = pair_of({"content": content, "style": [content] * 9}).id
    assert pair_of({"id": made}).id == made


def test_options_of_a_csv_are_yaml_and_an_empty_cell_is_no_option(tmp_path: Path) -> None:
    header = "content,style,options.steps,options.scales,options.init,options.image_size"
    row = 'a.png,b.png,1e2,"[0.5, 1]",adam,null'
    uri = write(tmp_path / "m.csv", f"{header}\n{row}\na.png,b.png,, ,,\n")
    first, second = read_pairs(uri)
    assert first.options == {"steps": 100.0, "scales": [0.5, 1], "init": "adam", "image_size": None}
    assert first.columns == {}
    assert second.options == {}


def test_options_of_json_are_taken_as_they_are_and_null_is_no_option() -> None:
    options = {"options.init": "true", "options.steps": [1, 2], "options.seed": None}
    pair = pair_of({**options, "options.bogus": 1, "options": {"seed": 1}, "note": None})
    assert pair.options == {"init": "true", "steps": [1, 2], "bogus": 1}
    assert pair.columns == {"options": {"seed": 1}, "note": None}


@pytest.mark.parametrize("text", ["[1,", "{a: b", "2020-13-45", "!!bool x", "[" * 5000, "\x7f"])
def test_an_option_that_is_no_yaml_is_this_rows_trouble(text: str) -> None:
    with pytest.raises(OptionsInvalid, match=r"(?s)^In options\.steps of row 7, .*\.$"):
        pair_of({"options.steps": text}, "/m.csv")
