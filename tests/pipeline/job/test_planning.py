"""Planning without Beam: rows become tasks, ids are resolved, tasks of one canvas are batched."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, Any

import pytest
from apache_beam import coders

from nst_core import yaml_values
from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.errors import JobError, OptionsInvalid
from pipeline.job import planning
from pipeline.job.checking import RecordCheck, Verdict
from pipeline.job.elements import Chunk, ChunkCoder
from pipeline.job.options import RunOptions
from pipeline.job.resolving import resolve_id
from pipeline.manifest.columns import Row
from pipeline.pairs.parsing import Pair, StyleReference
from pipeline.records.fingerprints import recipe
from pipeline.records.output_files import Existing, list_existing
from pipeline.records.tasks import Batch, Outcome, RowNumber, Task
from pipeline.worker.inputs import Headers

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

CONFIG = StyleConfig(weights="procedural", image_size=64)
MANIFEST = "/catalog/lists/pairs.csv"
OUTPUT = "/catalog/out"
MARK = "a" * 16  # of a record that vouches for its image
SCHEMES = ("file", "gs")
OPTIONS = RunOptions(MANIFEST, OUTPUT, CONFIG, allow_schemes=SCHEMES)


def row(number: int = 1, **columns: Any) -> Row:
    """A row of a manifest; names with a double underscore are options."""
    filled = {"content": "a.png", "style": "s.png", **columns}
    return Row(number, {name.replace("__", "."): value for name, value in filled.items()})


def plan(
    number: int = 1,
    manifest: str = MANIFEST,
    allowed: tuple[str, ...] | None = None,
    **columns: Any,
) -> Any:
    """What `plan_row` makes of a row."""
    options = dataclasses.replace(OPTIONS, allow_options=allowed)
    return planning.plan_row(row(number, **columns), manifest, options)


def task(number: int = 1, content: str = "/c/a.png", **changes: Any) -> Task:
    """A task with this content and configuration."""
    pair = Pair(f"pair{number}", content, (StyleReference("/s/s.png"),), {}, {}, {})
    config = CONFIG.updated(changes)
    return Task(RowNumber(MANIFEST, number), pair, config, recipe(pair, config, "procedural:1"))


class Judge(RecordCheck):
    """Trusts records of one fingerprint, which tell of these snapshots."""

    def __init__(self, *snapshots: str) -> None:
        super().__init__(OUTPUT)
        self.snapshots = snapshots

    def verdict(self, task: Task, mark: str) -> Verdict:
        """As it would be with such records."""
        del task
        return Verdict(mark == MARK, snapshots=self.snapshots)


def resolve(tasks: list[Any], *existing: Existing, on_existing: Any = "skip") -> list[Any]:
    """What `resolve_id` makes of the rows of one id, where records of `MARK` vouch for them."""
    return list(resolve_id(tasks, existing, on_existing, Judge()))


def test_a_row_becomes_a_task_with_absolute_uris_and_its_own_settings() -> None:
    planned = plan(7, options__steps="3", options__output_format="webp", id="x", price="9")
    assert isinstance(planned, Task)
    assert (planned.number, planned.pair.id) == ((MANIFEST, 7), "x")
    assert planned.pair.content == "/catalog/lists/a.png"
    assert planned.config == CONFIG.updated({"steps": 3, "output_format": "webp"})
    assert planned.pair.columns == {"price": "9"}
    assert planned.stale_records == ()


def test_a_row_without_options_has_the_fingerprint_of_the_job_s_configuration() -> None:
    same = plan(options__seed=str(CONFIG.seed), options__deadline_seconds="5")
    other = plan(options__seed="5")
    assert plan().recipe == same.recipe != other.recipe


@pytest.mark.parametrize(
    ("columns", "status", "names"),
    [
        ({"content": ""}, "manifest_invalid", ["content"]),
        ({"id": "../etc"}, "manifest_invalid", ["../etc"]),
        ({"options__stepz": "3"}, "options_invalid", ["stepz", "steps"]),
        ({"options__steps": "0"}, "options_invalid", ["steps", "0"]),
        ({"options__steps": "[1"}, "options_invalid", ["steps", "[1"]),
        ({"options__scales": "[1]"}, "options_invalid", ["scales"]),
        ({"options__weights": "none.h5"}, "options_invalid", ["/catalog/lists/none.h5"]),
    ],
)
def test_a_bad_row_fails_alone_with_its_status_and_reason(
    columns: dict[str, str], status: str, names: list[str]
) -> None:
    planned = plan(3, **columns)
    assert isinstance(planned, Outcome)
    assert (planned.number, planned.status, planned.failed) == ((MANIFEST, 3), status, True)
    for name in names:
        assert name in str(planned.error)


def test_files_that_options_name_are_relative_to_the_manifest() -> None:
    assert plan(options__init="starts/x.png").config.init == "/catalog/lists/starts/x.png"
    remote = plan(manifest="gs://b/lists/pairs.csv", options__init="../x.png")
    assert remote.config.init == "gs://b/x.png"
    assert plan(options__init="noise").config.init == "noise"


def test_a_row_may_bring_weights_of_its_own(tmp_path: pathlib.Path) -> None:
    (tmp_path / "own.h5").write_bytes(b"one")
    (tmp_path / "same.h5").write_bytes(b"one")
    (tmp_path / "other.h5").write_bytes(b"two")
    manifest = str(tmp_path / "pairs.csv")
    own, same, other = (
        plan(manifest=manifest, options__weights=f"{name}.h5") for name in ("own", "same", "other")
    )
    assert own.config.weights == str(tmp_path / "own.h5")
    assert own.recipe == same.recipe
    assert len({own.recipe, other.recipe, plan(manifest=manifest).recipe}) == 3


def test_a_row_changes_only_the_settings_that_it_may(tmp_path: pathlib.Path) -> None:
    steps = ("steps",)
    assert plan(allowed=steps, options__steps="7").config.steps == 7
    for name, value in (
        ("decode_seconds", "0"),
        ("max_bytes", "1000000000000"),
        ("weights", f"{tmp_path}/theirs.h5"),
        ("init", "/etc/hostname"),
    ):
        for allowed in (steps, ()):
            found = plan(allowed=allowed, **{f"options__{name}": value})
            assert found.status == "options_invalid"
            assert found.error.startswith(f"options.{name} is ")
            assert f"--allow-options {','.join(sorted({*allowed, name}))}." in found.error
    # What the run has anyway changes nothing.
    assert plan(allowed=(), options__image_size="64").config == CONFIG
    assert plan(options__decode_seconds="0").config.decode_seconds == 0


def test_row_config_names_the_option_that_is_wrong() -> None:
    pair = dataclasses.replace(task().pair, options={"image_siz": 3})
    with pytest.raises(OptionsInvalid, match=r"options\.image_siz.*image_size"):
        planning.row_config(pair, CONFIG, MANIFEST, SCHEMES)


def test_options_that_rows_share_are_read_and_checked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []
    real = yaml_values.read_yaml

    def counted(text: str, name: str) -> Any:
        read.append(text)
        return real(text, name)

    monkeypatch.setattr("nst_core.setting_text.read_yaml", counted)
    own: dict[str, Any] = {"options.steps": "[7, 9]", "options.scales": "[0.25, 1]"}
    tasks = [plan(number, **own) for number in range(9)]
    assert {one.config.steps for one in tasks} == {(7, 9)}
    assert len({id(one.config) for one in tasks}) == 1
    assert len({id(one.pair.options["steps"]) for one in tasks}) == len(tasks)
    assert len(read) <= 2
    # Equal in Python, and none of them is the other.
    one: dict[str, Any] = {"options.steps": "1", "options.scales": "[1]"}
    assert plan(**one).config.steps == 1
    assert plan(**{**one, "options.steps": "true"}).status == "options_invalid"


def test_a_new_id_is_done() -> None:
    assert resolve([task()]) == [task()]


def test_a_pair_with_its_record_and_image_is_skipped() -> None:
    one = task()
    (outcome,) = resolve([one], Existing("records", MARK), Existing("images", "png"))
    assert (outcome.status, outcome.id, outcome.failed) == ("skipped", "pair1", False)
    assert outcome.details["image"] == f"{OUTPUT}/images/pair1.png"
    assert outcome.details["record"] == f"{OUTPUT}/records/pair1.{MARK}.json"


def test_a_pair_has_the_snapshots_that_its_record_tells_of_also_where_it_ended_early() -> None:
    one = task(snapshot_every=2, steps=40)
    done = [Existing("records", MARK), Existing("images", "png")]
    for name in ("000002.png", "000004.png"):
        (again,) = resolve_id([one], done, "skip", Judge("000002.png", "000004.png"))
        assert isinstance(again, Task)
        done.append(Existing("snapshots", name))
    (outcome,) = resolve_id([one], done, "skip", Judge("000002.png", "000004.png"))
    assert isinstance(outcome, Outcome)
    assert outcome.status == "skipped"


@pytest.mark.parametrize("suffixes", [[], ["webp"], ["jpg", "tiff"]])
def test_a_record_without_its_image_is_stale(suffixes: list[str]) -> None:
    one = task()
    images = [Existing("images", suffix) for suffix in suffixes]
    (again,) = resolve([one], Existing("records", MARK), *images)
    assert again.stale_records == (f"{OUTPUT}/records/pair1.{MARK}.json",)


def test_of_two_records_of_one_image_none_is_trusted() -> None:
    one = task()
    existing = [Existing("records", mark) for mark in (MARK, "f" * 16)]
    (again,) = resolve([one], *existing, Existing("images", "png"))
    assert len(again.stale_records) == 2


def test_a_pair_with_other_settings_is_done_again_and_all_old_records_are_stale() -> None:
    marks = ["0" * 16, "f" * 16]
    existing = [Existing("records", mark) for mark in marks]
    (again,) = resolve([task()], *existing, Existing("images", "png"))
    assert again.stale_records == tuple(f"{OUTPUT}/records/pair1.{m}.json" for m in marks)


def test_redo_does_finished_pairs_again() -> None:
    one = task()
    done = (Existing("records", MARK), Existing("images", "png"))
    (again,) = resolve([one], *done, on_existing="redo")
    assert isinstance(again, Task)
    assert again.stale_records


@pytest.mark.parametrize("found", [Existing("records", "0" * 16), Existing("images", "jpg")])
def test_error_stops_the_job_at_anything_that_is_there(found: Existing) -> None:
    with pytest.raises(JobError, match=r"pair1.*--on-existing"):
        resolve([task()], found, on_existing="error")
    assert resolve([task()], on_existing="error") == [task()]


def test_a_pair_that_was_interrupted_is_done_and_knows_of_its_checkpoints() -> None:
    one = task()
    existing = [Existing("checkpoints", mark) for mark in ("f" * 16, MARK)]
    for on_existing in ("skip", "redo", "error"):
        (again,) = resolve([one], *existing, on_existing=on_existing)
        there = (f"{OUTPUT}/checkpoints/pair1.{mark}.npz" for mark in (MARK, "f" * 16))
        assert again.stale_checkpoints == tuple(there)
        assert dataclasses.replace(again, stale_checkpoints=()) == one


def test_the_first_row_of_an_id_counts_in_whatever_order_they_arrive() -> None:
    numbers = [RowNumber(MANIFEST, row) for row in (2, 5, 9)]
    first, second, third = (dataclasses.replace(task(), number=number) for number in numbers)
    outcomes = resolve([third, first, second])
    assert [one for one in outcomes if isinstance(one, Task)] == [first]
    failed = [one for one in outcomes if isinstance(one, Outcome)]
    assert [(one.number, one.status) for one in failed] == [
        ((MANIFEST, 5), "duplicate_id"),
        ((MANIFEST, 9), "duplicate_id"),
    ]
    assert "of row 2;" in str(failed[0].error)


def test_what_was_a_duplicate_is_one_again_beside_the_row_that_has_the_id() -> None:
    again, own = plan(1, id="x", status="duplicate_id", error="Row 9 …"), plan(2, id="x")
    failed, task = sorted(resolve([again, own]), key=lambda one: one.number)
    assert task == own
    assert (failed.status, "of row 2;" in failed.error) == ("duplicate_id", True)
    # Alone it is done, as long as nothing else is there under its id.
    assert resolve([again]) == [again]


def test_of_two_manifests_with_one_id_the_first_counts_and_the_other_s_row_names_it() -> None:
    first, other = plan(9, "/m/a.csv", id="x"), plan(1, "/m/b.csv", id="x")
    task, failed = sorted(resolve([other, first]), key=lambda one: one.number)
    assert task == first
    assert (failed.number, failed.status) == (("/m/b.csv", 1), "duplicate_id")
    assert "Row 1 has the id 'x' of row 9 of /m/a.csv" in failed.error


def test_a_failed_first_row_keeps_its_id_from_the_others() -> None:
    first = plan(1, id="x", options__stepz="1")
    others = [plan(2, id="x"), plan(3, id="x", options__stepz="1")]
    outcomes = sorted(resolve([*others, first]), key=lambda one: one.number)
    statuses = [one.status for one in outcomes]
    assert statuses == ["options_invalid", "duplicate_id", "duplicate_id"]


def test_existing_files_are_found_by_listing(catalog: Catalog) -> None:
    mark = "0123456789abcdef"
    for name in (f"records/a/b.{mark}.json", "images/a/b.png", "images/c.v1.jpg"):
        catalog.write(f"out/{name}", b"x")
    catalog.write(f"out/checkpoints/a/b.{mark}.npz", b"x")
    others = (
        "records/notes.txt",
        f"checkpoints/a.{mark}.json",
        "losses/a/b.csv",
        "runs/r/config.yaml",
    )
    for name in others:
        catalog.write(f"out/{name}", b"x")
    found = dict(list_existing(catalog.uri("out")))
    both = {*list_existing(catalog.uri("out"))}
    assert both == {
        ("a/b", Existing("records", mark)),
        ("a/b", Existing("checkpoints", mark)),
        ("a/b", Existing("images", "png")),
        ("c.v1", Existing("images", "jpg")),
    }
    assert found.keys() == {"a/b", "c.v1"}
    assert list(list_existing(catalog.uri("none"))) == []


def key_of(catalog: Catalog, name: str, **changes: Any) -> Any:
    """The batch key of a content of the catalog."""
    return planning.batch_key(task(content=catalog.uri(name), **changes), Headers())


def test_a_content_s_header_is_read_once_whatever_its_styles(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.picture("a.png")
    headers, one = Headers(), task(content=catalog.uri("a.png"))
    styles = [(StyleReference(f"/s/{index}.png"),) for index in range(5)]
    pairs = [dataclasses.replace(one.pair, styles=style) for style in styles]
    keys = {planning.batch_key(dataclasses.replace(one, pair=pair), headers) for pair in pairs}
    # Whatever its style, it can be in one batch.
    assert len(keys) == 1
    os.remove(catalog.uri("a.png"))
    assert planning.canvas_of(str(planning.batch_key(one, headers))) == Size(64, 64)
    # What was read first is forgotten once there are too many.
    monkeypatch.setattr("pipeline.worker.inputs.HEADERS_KEPT", 1)
    catalog.picture("b.png", (96, 64))
    other = task(content=catalog.uri("b.png"))
    assert planning.canvas_of(str(planning.batch_key(other, headers))) == Size(64, 64)
    outcome = planning.batch_key(one, headers)
    assert isinstance(outcome, Outcome)
    assert outcome.status == "input_not_found"


def test_tasks_travel_several_at_a_time_and_come_back_as_they_were() -> None:
    planned = plan(7, id="x", price="9", options__steps="3", options__init="x.png")
    several = '[{"uri": "s.png", "weight": 2}, {"uri": "t.png", "mask": "m.png"}]'
    tasks = Chunk([planned, plan(8, style=several), ("x", Existing("images", "png"))])
    coder = coders.registry.get_coder(Chunk)
    assert isinstance(coder, ChunkCoder)
    found = coder.decode(coder.encode(tasks))
    assert type(found) is Chunk
    assert found == tasks


def test_contents_of_one_canvas_have_one_key(catalog: Catalog) -> None:
    # 64x48, 64x40 and 64x64 px all come to 64x64 px.
    for name, size in (("a.png", (64, 48)), ("b.jpg", (640, 400)), ("c.png", (90, 90))):
        catalog.picture(name, size)
    catalog.picture("wide.png", (640, 300))
    keys = [key_of(catalog, name) for name in ("a.png", "b.jpg", "c.png")]
    assert keys[0] == keys[1] == keys[2] != key_of(catalog, "wide.png")


def test_a_job_puts_together_what_one_canvas_of_the_grid_holds(catalog: Catalog) -> None:
    catalog.picture("strip.png", (320, 48))
    catalog.picture("wider.png", (320, 80))

    def keys(on_gpu: bool, **changes: Any) -> list[Any]:
        tasks = [
            task(content=catalog.uri(name), image_size=160, **changes)
            for name in ("strip.png", "wider.png")
        ]
        return [planning.batch_key(one, Headers(), on_gpu=on_gpu) for one in tasks]

    assert key_of(catalog, "strip.png", image_size=160) == keys(True)[0] == keys(True)[1]
    assert [planning.canvas_of(key) for key in keys(True)] == [Size(160, 64)] * 2
    assert [planning.canvas_of(key) for key in keys(False)] == [Size(160, 32), Size(160, 64)]
    assert len(set(keys(False, canvas_multiple="grid"))) == 1
    assert len(set(keys(True, canvas_multiple=32))) == 2


def test_other_settings_are_another_batch_other_styles_are_not(catalog: Catalog) -> None:
    catalog.picture("a.png")
    one = task(content=catalog.uri("a.png"))
    key = planning.batch_key(one, Headers())
    assert key_of(catalog, "a.png", seed=1) != key
    for styles in (
        (StyleReference("/s/t.png"),),
        (StyleReference("/s/s.png", 2.0),),
        (StyleReference("/s/s.png"), StyleReference("/s/t.png")),
    ):
        pair = dataclasses.replace(one.pair, styles=styles)
        assert planning.batch_key(dataclasses.replace(one, pair=pair), Headers()) == key


def test_what_each_content_brings_for_itself_may_differ_within_a_batch(catalog: Catalog) -> None:
    catalog.picture("a.png")
    one = task(content=catalog.uri("a.png"))
    key = planning.batch_key(one, Headers())
    assert key_of(catalog, "a.png", keep="/c/face.png") == key
    starts = [key_of(catalog, "a.png", init=init) for init in ("/c/x.png", "/c/y.png", "noise")]
    assert starts[0] == starts[1]
    assert len({*starts, key}) == 3
    masked = dataclasses.replace(one.pair, styles=(StyleReference("/s/s.png", mask="/c/m.png"),))
    assert planning.batch_key(dataclasses.replace(one, pair=masked), Headers()) == key


@pytest.mark.parametrize(
    ("name", "data", "changes", "status"),
    [
        ("none.png", None, {}, "input_not_found"),
        ("text.png", b"no picture", {}, "input_unreadable"),
        ("a.png", None, {"max_pixels": 256}, "input_too_large"),
        ("a.png", None, {"max_bytes": 20}, "input_too_large"),
        ("strip.png", None, {}, "input_too_small"),
    ],
)
def test_a_content_that_cannot_be_used_fails_by_its_header(
    catalog: Catalog, name: str, data: bytes | None, changes: dict[str, Any], status: str
) -> None:
    catalog.picture("a.png")
    catalog.picture("strip.png", (640, 20))
    if data is not None:
        catalog.write(name, data)
    outcome = key_of(catalog, name, **changes)
    assert isinstance(outcome, Outcome)
    assert outcome.status == status
    assert catalog.uri(name) in str(outcome.error)


def sizes(key: str, count: int, batch_size: int) -> list[int]:
    """How many tasks each batch has."""
    tasks = [task(number) for number in range(count)]
    formed = list(planning.batches(key, iter(tasks), batch_size))
    assert all(isinstance(batch, Batch) for batch in formed)
    assert [one for batch in formed for one in batch.tasks] == tasks
    return [len(batch.tasks) for batch in formed]


def test_a_batch_has_at_most_batch_size_tasks() -> None:
    assert sizes("64x64 rest of the key", 10, 4) == [4, 4, 2]
    assert sizes("64x64 k", 3, 1) == [1, 1, 1]
    assert sizes("64x64 k", 0, 4) == []


def test_large_canvases_make_smaller_batches_but_never_none() -> None:
    assert sizes("512x512 k", 8, 4) == [4, 4]
    assert sizes("512x512 k", 8, 100) == [4, 4]
    assert sizes("1024x512 k", 5, 4) == [2, 2, 1]
    assert sizes("8192x8192 k", 2, 4) == [1, 1]
