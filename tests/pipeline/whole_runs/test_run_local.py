"""Whole runs on a local folder: what is written, what is skipped, what fails and is retried."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pytest

from nst_core.config import StyleConfig
from pipeline.__main__ import main
from pipeline.worker.engine_cache import EngineCache
from tests.pipeline.whole_runs.test_run_failures import write_bad_catalog

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


def test_a_second_run_skips_everything_and_loads_no_network(
    catalog: Catalog, request: pytest.FixtureRequest
) -> None:
    catalog.pairs()
    assert catalog.run() == 0
    kept = {n: data for n, data in catalog.files().items() if not n.startswith("out/runs/")}
    request.getfixturevalue("no_network")
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped", "skipped"]
    assert catalog.summary()["statuses"] == {"skipped": 2}
    result = catalog.results()[0]
    assert catalog.uri("out/images/a.png") == result["image"]
    after = {n: data for n, data in catalog.files().items() if not n.startswith("out/runs/")}
    assert after == kept


def test_a_pair_whose_image_was_removed_is_done_again(catalog: Catalog) -> None:
    catalog.pairs()
    catalog.run()
    before = catalog.read("out/images/b.png")
    os.remove(catalog.uri("out/images/b.png"))
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped", "ok"]
    assert catalog.read("out/images/b.png") == before


def test_a_pair_whose_record_was_removed_is_done_again(catalog: Catalog) -> None:
    catalog.pairs()
    catalog.run()
    (record,) = (name for name in catalog.names("out/records") if name.startswith("a."))
    os.remove(catalog.uri(f"out/records/{record}"))
    assert catalog.run() == 0
    assert catalog.statuses() == ["ok", "skipped"]


def test_no_record_vouches_for_pixels_of_other_settings(catalog: Catalog) -> None:
    catalog.pairs()
    catalog.run()
    first = catalog.read("out/images/a.png")
    marks = {key: record["fingerprint"] for key, record in catalog.records().items()}

    assert catalog.run("--set", "style_weight=50") == 0
    assert catalog.statuses() == ["ok", "ok"]
    assert catalog.read("out/images/a.png") != first
    # `records` itself makes sure that there is one for each id.
    assert catalog.records()["a"]["fingerprint"] != marks["a"]

    assert catalog.run() == 0
    assert catalog.statuses() == ["ok", "ok"]
    assert catalog.read("out/images/a.png") == first
    assert catalog.records()["a"]["fingerprint"] == marks["a"]


def test_settings_that_change_no_pixel_skip_what_is_done(
    catalog: Catalog, request: pytest.FixtureRequest
) -> None:
    catalog.pairs()
    catalog.run()
    request.getfixturevalue("no_network")
    same = ("device=cpu", "deadline_seconds=900", "max_bytes=1000000", "style_weight=1.0")
    assert catalog.run(*(text for one in same for text in ("--set", one))) == 0
    assert catalog.statuses() == ["skipped", "skipped"]


def test_redo_does_finished_pairs_again_and_error_refuses_them(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], one_sentence: Callable[[str], str]
) -> None:
    catalog.pairs()
    catalog.run()
    before = catalog.records()
    assert catalog.run("--on-existing", "redo") == 0
    assert catalog.statuses() == ["ok", "ok"]
    assert catalog.records()["a"]["run"] != before["a"]["run"]
    assert catalog.records()["a"]["fingerprint"] == before["a"]["fingerprint"]
    capsys.readouterr()
    assert main(catalog.arguments("--on-existing", "error")) == 1
    sentence = one_sentence(capsys.readouterr().err)
    assert "already has a result" in sentence
    assert "while running" not in sentence


def test_other_pairs_of_the_output_are_left_alone(catalog: Catalog) -> None:
    catalog.pairs(("a.png", "b.png"))
    catalog.run()
    catalog.pairs(("c.png",))
    assert catalog.run("--on-existing", "error") == 0
    assert catalog.statuses() == ["ok"]
    assert catalog.records().keys() == {"a", "b", "c"}


def test_a_second_style_changes_the_picture(catalog: Catalog) -> None:
    for name in ("a.png", "s.png", "t.png"):
        catalog.picture(name)
    both = [{"uri": "s.png"}, {"uri": "t.png"}]
    catalog.manifest(
        [
            {"id": "one", "content": "a.png", "style": "s.png"},
            {"id": "two", "content": "a.png", "style": both},
            {"id": "other", "content": "a.png", "style": "t.png"},
        ]
    )
    assert catalog.run("--set", "steps=4") == 0
    images = [catalog.pixels(f"{key}.png") for key in ("one", "two", "other")]
    assert (images[0] != images[1]).any()
    assert (images[1] != images[2]).any()


def test_a_row_s_options_hold_for_that_row_alone(catalog: Catalog) -> None:
    catalog.pairs()
    rows = [
        {"id": "a", "content": "a.png", "style": "s.png", "options.steps": "3"},
        {"id": "b", "content": "b.png", "style": "s.png", "options.output_format": "webp"},
        {"id": "c", "content": "b.png", "style": "s.png", "options.weights": "none.h5"},
    ]
    catalog.manifest(rows)
    assert catalog.run() == 3
    assert catalog.statuses() == ["ok", "ok", "options_invalid"]
    assert catalog.names("out/images") == {"a.png", "b.webp"}
    records = catalog.records()
    assert (records["a"]["steps"], records["b"]["steps"]) == (3, 2)
    assert "none.h5" in catalog.failures()[0]["error"]


def test_a_pair_that_takes_too_long_ends_at_its_deadline_and_the_others_are_done(
    catalog: Catalog,
) -> None:
    catalog.pairs()
    rows = [
        {"id": "a", "content": "a.png", "style": "s.png", "options.deadline_seconds": "1e-6"},
        {"id": "b", "content": "b.png", "style": "s.png"},
    ]
    catalog.manifest(rows)
    assert catalog.run() == 3
    assert catalog.statuses() == ["deadline_exceeded", "ok"]
    assert catalog.records().keys() == {"b"}


def test_ids_that_are_not_given_are_made_from_the_names(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.manifest([{"content": "a.png", "style": "s.png"}])
    catalog.run()
    (name,) = catalog.names("out/images")
    stem, _, rest = name.rpartition("-")
    assert stem == "a--s"
    assert len(bytes.fromhex(rest.removesuffix(".png"))) == 4


def counters(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """The counters of the next run, by name."""
    runs: list[Any] = []
    real = beam.Pipeline.run

    def note(self: Any, *rest: Any) -> Any:
        runs.append(real(self, *rest))
        return runs[-1]

    monkeypatch.setattr(beam.Pipeline, "run", note)

    def value(name: str) -> int:
        found = runs[-1].metrics().query(beam.metrics.MetricsFilter().with_name(name))
        return sum(counter.committed for counter in found["counters"])

    return value


def test_pairs_of_one_canvas_and_options_share_batches_whatever_their_styles(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"a": (64, 48), "b": (640, 400), "c": (90, 90), "d": (640, 200)}
    for key, size in sizes.items():
        catalog.picture(f"{key}.png", size)
    styles = ("counted1.png", "counted2.png")
    for style in styles:
        catalog.picture(style)
    rows = [
        {"id": f"{key}-{style[:-4]}", "content": f"{key}.png", "style": style}
        for key in sizes
        for style in styles
    ]
    catalog.manifest(rows)
    value = counters(monkeypatch)
    assert catalog.run("--set", "scales=[0.5, 1]") == 0
    records = catalog.records()
    batches = {
        name: sorted(one["batch"] for key, one in records.items() if key[0] in name)
        for name in ("abc", "d")
    }
    assert batches == {"abc": [2, 2, 4, 4, 4, 4], "d": [2, 2]}
    assert records["b-counted1"]["canvas"] == records["a-counted1"]["canvas"]
    assert records["d-counted1"]["canvas"] == {"width": 64, "height": 32}
    assert value("batches") == 3
    # Two styles at two scales; the wide canvas shares them.
    assert value("style_passes") == 4
    assert value("pairs_ok") == 8
    assert value("bytes_read") > 0


def test_batch_size_limits_a_batch_and_changes_no_picture(catalog: Catalog) -> None:
    names = ("a.png", "b.png", "c.png")
    catalog.pairs(names)
    catalog.run("--batch-size", "2", "--set", "steps=4")
    assert sorted(record["batch"] for record in catalog.records().values()) == [1, 2, 2]
    before = [catalog.pixels(name) for name in names]
    catalog.run("--batch-size", "1", "--on-existing", "redo", "--set", "steps=4")
    assert {record["batch"] for record in catalog.records().values()} == {1}
    for name, old in zip(names, before, strict=True):
        assert np.abs(catalog.pixels(name) - old).max() <= 1


def test_one_network_is_loaded_for_all_rows_that_share_it(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, engines: EngineCache
) -> None:
    loaded: list[str] = []

    def load(config: Any, _: str) -> Any:
        loaded.append(config.pooling)
        return engines.engine_for(config)

    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", EngineCache)
    catalog.pairs(("a.png", "b.png", "c.png"))
    catalog.manifest(
        [
            {"id": "a", "content": "a.png", "style": "s.png"},
            {"id": "b", "content": "b.png", "style": "s.png", "options.steps": "3"},
            {"id": "c", "content": "c.png", "style": "s.png", "options.seed": "3"},
        ]
    )
    engines.engine_for(StyleConfig(weights="procedural", precision="float32"))
    monkeypatch.setattr("pipeline.worker.engine_cache.load_engine", load)
    assert catalog.run() == 0
    assert loaded == ["average"]


def test_beam_warns_of_nothing(catalog: Catalog, caplog: pytest.LogCaptureFixture) -> None:
    write_bad_catalog(catalog)
    # Without `--verbose` Beam's warnings are not even made.
    catalog.run("--verbose")
    warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.getMessage() for one in warnings if not one.name.startswith("pipeline.")] == []
