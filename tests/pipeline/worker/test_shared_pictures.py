"""What several pairs have in common is read once."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from nst_core.errors import JobError
from nst_core.imaging import colors, recoloring
from nst_core.imaging.remembered import once_per_picture
from pipeline.worker.picture_cache import PictureCache
from tests.pipeline.worker.bench import Bench, read_image


class TestShared:
    """What several pairs have in common."""

    def test_a_content_of_many_styles_and_a_style_of_many_contents_are_read_once(
        self, bench: Bench, read: list[str]
    ) -> None:
        assert bench.run(bench.batches(6)) == dict.fromkeys("abcdef", "ok")
        assert sorted(read) == [*(f"{name}.png" for name in "abcdef"), "s.png"]
        read.clear()
        bench.catalog.picture("one.png")
        batches = bench.batches(6, id="{name}2", content="one.png", style="{name}.png")
        assert set(bench.run(batches).values()) == {"ok"}
        assert read.count("one.png") == 1

    def test_a_style_that_cannot_be_read_is_tried_once_and_before_any_content(
        self, bench: Bench, read: list[str]
    ) -> None:
        batches = bench.batches(6, style="none.png")
        assert bench.run(batches) == dict.fromkeys("abcdef", "input_not_found")
        assert read == ["none.png"]
        assert bench.engine.asked == []

    def test_their_colours_are_measured_once_and_beside_the_device(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measured: list[str] = []

        def find(rgb: np.ndarray, alpha: np.ndarray | None) -> colors.Palette:
            measured.append(threading.current_thread().name)
            return colors.color_statistics(rgb, alpha)

        monkeypatch.setattr(recoloring, "statistics_of", once_per_picture(find))
        assert bench.run(bench.batches(6)) == dict.fromkeys("abcdef", "ok")
        # Six contents and a style, which several threads may look at at once.
        assert 7 <= len(measured) <= 12
        assert all(name.startswith("nst-reading") for name in measured)


class TestPictureCache:
    def test_it_keeps_what_was_wanted_last_up_to_its_bytes(self) -> None:
        picture = read_image()
        cache = PictureCache(3 * picture.picture.rgb.nbytes)
        read: list[str] = []

        def get(key: str) -> None:
            cache.get(key, lambda: read.append(key) or picture)  # type: ignore[func-returns-value]

        for key in "abcabcdbcda":
            get(key)
        assert "".join(read) == "abcda"

    def test_the_job_s_trouble_is_not_remembered(self) -> None:
        cache = PictureCache()

        def fail() -> Any:
            raise JobError("The network is away; wait.")

        picture = read_image()
        with pytest.raises(JobError):
            cache.get("a", fail)
        assert cache.get("a", lambda: picture) is picture
