"""The report's numbers and words: deviations, histograms, settings told once more, links."""

from __future__ import annotations

import json
import math
import shlex

import numpy as np
import pytest

from nst_core.config import PRESETS, StyleConfig, preset
from nst_core.setting_text import parse_setting
from pipeline import cli
from pipeline.records.curves import MOST_POINTS, curve_of, curve_of_csv
from pipeline.report import links, settings
from pipeline.report.numbers import deviations, histogram
from pipeline.report.page import visible

COLUMNS = ("step", "scale", "total", "content", "style", "tv")


def test_a_deviation_is_the_worst_measures_distance_from_the_groups_median() -> None:
    groups = np.array([0] * 7 + [1] * 3)
    # Median 4, median of the absolute deviations 2.
    loss = np.array([1.0, 2, 3, 4, 5, 6, 100, 1, 1, 9])
    found = deviations(groups, [loss, np.zeros(10)])
    assert found[6] == pytest.approx(96 / (1.4826 * 2))
    assert found[0] == pytest.approx(0)  # Better than most in one measure, as all in the other.
    assert np.isnan(found[7:]).all()  # Three cannot tell what is usual.
    alone = deviations(groups, [loss])
    assert alone[0] == pytest.approx(-3 / (1.4826 * 2))


def test_a_measure_that_some_lack_says_nothing_of_them() -> None:
    loss = np.array([1.0, 2, 3, 4, 5, math.nan])
    found = deviations(np.zeros(6, int), [loss])
    assert np.isnan(found[5])
    assert found[2] == 0


def test_a_histogram_counts_every_finite_value_once() -> None:
    values = np.array([1.0, 10, 100, 1000, math.nan])
    bars = histogram(values, logarithmic=True)
    assert sum(bar.count for bar in bars) == 4
    assert bars[0].start == pytest.approx(1)
    assert bars[-1].end == pytest.approx(1000)
    assert bars[1].end / bars[1].start == pytest.approx(bars[0].end / bars[0].start)
    assert sum(bar.count for bar in histogram(np.array([0.5, 0.5]))) == 2
    assert histogram(np.array([math.nan])) == []


def test_a_curve_keeps_the_first_and_the_last_step_in_few_points() -> None:
    rows = [(step, 1.0, 1 / step, 0.0, 1 / step, 0.0) for step in range(1, 501)]
    curve = curve_of(COLUMNS, rows)
    assert len(curve["step"]) == MOST_POINTS
    assert (curve["step"][0], curve["step"][-1]) == (1, 500)
    assert curve["total"][-1] == 0.002
    text = "\n".join([",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)])
    assert curve_of_csv(text.encode()) == curve
    assert curve_of_csv(b"") is None
    assert curve_of_csv(b"no,log\n1,x\n") is None


@pytest.mark.parametrize("name", PRESETS)
def test_settings_told_as_cells_and_as_a_command_are_the_same_settings(name: str) -> None:
    config = preset(name).updated({"weights": "/w/a #1: b.h5", "image_height": 90, "seed": 3})
    changes = settings.changes_of(json.loads(config.key()))
    assert settings.preset_of(changes) == name
    cells = settings.option_cells(changes)
    read = {key: parse_setting(key[8:], text) for key, text in cells.items()}
    assert StyleConfig().updated({key[8:]: value for key, value in read.items()}) == config
    command = settings.stylize_command("shelf/a b", "/c/'x'.jpg", [{"uri": "/s.jpg"}], changes)
    parsed = cli.parse(shlex.split(command)[1:])
    assert (parsed.content, parsed.styles, parsed.output) == ("/c/'x'.jpg", ["/s.jpg"], "a b.png")
    assert cli.config_of(parsed) == config


def test_a_command_repeats_the_weights_and_masks_of_styles() -> None:
    styles = [{"uri": "/a.jpg", "weight": 1.0}, {"uri": "/b.jpg", "weight": 0.1}]
    parsed = cli.parse(shlex.split(settings.stylize_command("a", "/c.jpg", styles, {}))[1:])
    assert (parsed.styles, cli.style_weights(parsed)) == (["/a.jpg", "/b.jpg"], [1.0, 0.1])
    masked = [{"uri": "/a.jpg", "weight": 2.0, "mask": "/m.png"}, {"uri": "/b.jpg", "weight": 2.0}]
    command = settings.stylize_command("a", "/c.jpg", masked, {})
    assert "--style-mask /m.png --style-mask -" in command
    assert "--style-weight" not in command


@pytest.mark.parametrize(
    ("uri", "output", "link"),
    [
        ("/data/a b.jpg", "/data/out", "../../a%20b.jpg"),
        ("/x/javascript:alert(1)", "/x/out", "../../javascript%3Aalert%281%29"),
        ("gs://b/c/a.jpg", "gs://b/o/p", "../../../c/a.jpg"),
        ("gs://other/a.jpg", "gs://b/o", None),
        ("gs://b/a.jpg", "/x/out", None),
    ],
)
def test_links_are_relative_and_stay_where_the_output_is(
    uri: str, output: str, link: str | None
) -> None:
    assert links.source_link(uri, output) == link


def test_a_record_names_no_other_thumbnail_than_ours() -> None:
    assert links.source_thumbnail("source_thumbnails/0123456789abcdef.webp") is not None
    for path in ("javascript:alert(1)", "source_thumbnails/../x.webp", None, 7):
        assert links.source_thumbnail(path) is None


def test_marks_that_turn_text_around_are_written_out() -> None:
    assert visible("a\u202egpj.exe\u200b") == "a⟨U+202E⟩gpj.exe⟨U+200B⟩"


@pytest.mark.parametrize("name", ["x.svg", "x.HTML", "x.jpg.xhtml", "x.svg.", "a.png/x.htm"])
def test_what_a_browser_would_run_has_no_link(name: str) -> None:
    for folder in ("/catalog", "gs://bucket"):
        assert links.source_link(f"{folder}/{name}", f"{folder}/out") is None
        assert links.source_link(f"{folder}/x.JPG", f"{folder}/out") == "../../x.JPG"
        assert links.source_link(f"{folder}/x", f"{folder}/out") == "../../x"


def test_no_command_to_be_copied_has_what_a_terminal_obeys() -> None:
    for hostile in ("/c.jpg\x03\ncurl x|sh\n", "/c\x1b[201~.jpg", "/c\u202egpj.jpg"):
        assert settings.stylize_command("a", hostile, [{"uri": "/s.jpg"}], {}) == ""
        assert settings.stylize_command("a", "/c.jpg", [{"uri": hostile}], {}) == ""
