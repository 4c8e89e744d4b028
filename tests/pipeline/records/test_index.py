"""The index on disk: everything of a family of ids is found again, and only that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nst_core.errors import JobError
from pipeline.records.index import Index
from pipeline.records.output_files import Earlier, Existing, Reading
from pipeline.records.tasks import RowNumber

RECORD = Existing("records", "0123456789abcdef")
IMAGE = Existing("images", "png")
FIRST = RowNumber("/m.csv", 1)


@pytest.fixture
def index() -> Iterator[Index]:
    """An empty one."""
    with Index() as found:
        yield found


def test_files_are_found_by_the_families_of_ids(index: Index) -> None:
    index.add_files([("a", RECORD), ("b", RECORD)])
    index.add_files([("a", IMAGE), ("a.png/b", IMAGE), ("A", IMAGE)])
    index.complete()
    of_a = {("a", RECORD), ("a", IMAGE), ("a.png/b", IMAGE), ("A", IMAGE)}
    for name in ("a", "A", "a.png/c"):
        assert {*index.of([name])} == of_a
    assert list(index.of(["b", "b", "c"])) == [("b", RECORD)]
    assert list(index.of([])) == []


def test_of_what_is_read_the_first_reader_counts(index: Index) -> None:
    first = Reading("images/a.png", "/out/images/a.png", FIRST)
    index.add_readings([("a", first), ("b", Reading("images/b.png", "b", FIRST))])
    index.add_readings([("a", Reading("images/a.png", "/link.png", RowNumber("/m.csv", 2)))])
    index.complete()
    assert list(index.of(["a"])) == [("a", first)]


def test_it_tells_which_rows_were_added(index: Index) -> None:
    index.add_rows(["a", None, "b"])
    index.add_rows(["a"])
    index.complete()
    assert index.rows == 4
    assert index.holds(0, ["a", None])
    assert index.holds(2, ["b", "a"])
    assert not index.holds(2, ["b", "b"])
    assert not index.holds(2, ["b", None])
    assert not index.holds(3, ["a", "b"])


def test_families_of_several_rows_are_told_and_keep_their_earlier_rows(index: Index) -> None:
    index.add_rows(["a", "b", "a.png/b", "c", None, None])
    index.complete()
    assert index.several(["a", "b", "c"]) == {"a"}
    assert index.several(["b", "c"]) == set()
    earlier = Earlier(FIRST, ("images/a.png", "losses/a.csv"))
    index.add_earlier([("a", earlier), ("b", Earlier(FIRST, ()))])
    assert list(index.of(["a.png/b"])) == [("a", earlier)]
    assert list(index.of(["b"])) == [("b", Earlier(FIRST, ()))]
    index.forget_earlier()
    assert list(index.of(["a", "b"])) == []


def test_results_are_those_of_ids_that_rows_have(index: Index) -> None:
    index.add_rows(["a", "b"])
    index.add_files([("a", Existing("checkpoints", "0" * 16)), ("c", IMAGE)])
    index.complete()
    assert not index.has_results()
    index.add_files([("b", IMAGE)])
    assert index.has_results()


def test_pairs_without_a_record_are_counted_for_each_wave(index: Index) -> None:
    index.add_rows(["a", "b", None, "c", "d", "e", "f"])
    index.add_files([("b", RECORD), ("c", IMAGE), ("d", RECORD), ("e", RECORD)])
    index.complete()
    assert index.without_record(2) == [1, 1, 0, 1]
    assert index.without_record(100) == [3]


def test_a_temporary_folder_without_room_is_a_sentence(index: Index) -> None:
    index._database.execute("PRAGMA max_page_count = 8")
    with pytest.raises(JobError, match=r"temporary folder.*full.*TMPDIR"):
        index.add_files((f"id{number}", IMAGE) for number in range(10_000))
