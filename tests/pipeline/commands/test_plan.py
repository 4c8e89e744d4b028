"""`nst plan`: says what `nst run` then does, and touches nothing."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from pipeline import cli
from pipeline.__main__ import main
from pipeline.commands.plan import show
from pipeline.job import gpus
from pipeline.job.estimate import Sample
from pipeline.job.options import RunOptions
from pipeline.worker.engine_cache import EngineCache

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

SAMPLE = Sample(
    canvas=Size(64, 64),
    work=64.0 * 64,
    step_seconds=2.0,
    other_seconds=1.0,
    image_bytes=3.0,
    loss_bytes=100.0,
    record_bytes=2000.0,
    precision="float32",
    device="cpu",
    available=1e12,
    one_by_one=True,
)


@pytest.fixture(autouse=True)
def shared_engines(engines: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans load no network that an earlier test has loaded."""
    monkeypatch.setattr("pipeline.commands.plan.load_engine", engines.engine_for)


@pytest.fixture
def plan(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """The plan of the catalog as JSON."""

    def call(*more: str, **where: Any) -> dict[str, Any]:
        capsys.readouterr()
        assert main(planned(catalog, "--json", *more, **where)) == 0
        return dict(json.loads(capsys.readouterr().out))

    return call


def planned(catalog: Catalog, *more: str, **where: Any) -> list[str]:
    """The arguments of `nst plan` on the catalog."""
    return ["plan", *catalog.arguments(*more, **where)[1:]]


def everything(folder: str) -> dict[str, tuple[int, int, bytes]]:
    """Every file and folder with its times and bytes."""
    found = {}
    for place, _, names in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in names)):
            status = os.stat(path)
            data = b"" if os.path.isdir(path) else pathlib.Path(path).read_bytes()
            found[path] = (status.st_mtime_ns, status.st_ctime_ns, data)
    return found


def mixed_catalog(catalog: Catalog) -> None:
    """Two pairs that are done, four to do on two canvases, three that are none."""
    for name in ("a.png", "b.png", "c.png", "d.png", "e.png", "s.png"):
        catalog.picture(name)
    for name in ("wide1.png", "wide2.png"):
        catalog.picture(name, (64, 24))
    names = ("a", "b", "c", "d", "wide1", "wide2")
    rows = [{"id": name, "content": f"{name}.png", "style": "s.png"} for name in names]
    catalog.manifest(rows[:2], "done.csv")
    assert catalog.run(manifest="done.csv") == 0
    bad: list[dict[str, Any]] = [
        {"id": "none", "content": "none.png", "style": "s.png"},
        {"id": "a", "content": "e.png", "style": "s.png"},
        {"id": "typo", "content": "e.png", "style": "s.png", "options.stepz": "3"},
    ]
    catalog.manifest([*bad[::2], *rows, bad[1]])


def test_a_plan_leaves_the_output_as_it_was_and_makes_none(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png", "b.png"))
    before = everything(catalog.root)
    assert main(planned(catalog)) == 0
    assert everything(catalog.root) == before
    assert not os.path.exists(catalog.uri("out"))
    mixed_catalog(catalog)
    before = everything(catalog.root)
    assert main(planned(catalog, "--set", "seed=3", "--on-existing=redo")) == 0
    assert main(planned(catalog)) == 0
    assert everything(catalog.root) == before
    assert "to do" in capsys.readouterr().out


def test_a_plan_says_what_the_run_then_does(
    catalog: Catalog, plan: Callable[..., dict[str, Any]]
) -> None:
    mixed_catalog(catalog)
    foreseen = plan("--batch-size=1")
    assert (foreseen["pairs"], foreseen["to_do"], foreseen["done"]) == (9, 4, 2)
    failures = {"duplicate_id": 1, "input_not_found": 1, "options_invalid": 1}
    assert foreseen["invalid"] == failures
    assert [(one["row"], one["status"]) for one in foreseen["first_failures"]] == [
        (1, "input_not_found"),
        (2, "options_invalid"),
        (9, "duplicate_id"),
    ]
    assert "stepz" in foreseen["first_failures"][1]["error"]
    canvases = [(one["canvas"], one["pairs"], one["batches"]) for one in foreseen["canvases"]]
    assert canvases == [("64x32", 2, 2), ("64x64", 2, 2)]
    assert plan()["canvases"][0]["batches"] == 1
    assert catalog.run() == 3
    assert catalog.summary()["statuses"] == {**failures, "ok": 4, "skipped": 2}
    assert plan()["to_do"] == 0


def test_limit_redo_and_settings_change_a_plan_as_they_change_the_run(
    catalog: Catalog, plan: Callable[..., dict[str, Any]]
) -> None:
    mixed_catalog(catalog)
    limited = plan("--limit=3")
    # One of the three is found to have no content.
    assert (limited["to_do"], limited["postponed"], limited["done"]) == (2, 2, 2)
    assert plan("--on-existing=redo")["to_do"] == 6
    assert plan("--set", "seed=4")["to_do"] == 6
    assert main(planned(catalog, "--on-existing=error")) == 1


def test_costs_are_of_the_order_of_what_the_run_then_takes(
    catalog: Catalog, plan: Callable[..., dict[str, Any]]
) -> None:
    catalog.pairs(("a.png", "b.png"))
    foreseen = plan()
    assert foreseen["seconds"] > 0
    assert foreseen["memory_bytes"] > 100 * 2**20
    assert foreseen["measured"]["canvas"] == "64x64"
    assert catalog.run() == 0
    folders = ("images", "losses", "records")
    names = [
        f"out/{folder}/{name}" for folder in folders for name in catalog.names(f"out/{folder}")
    ]
    written = sum(len(catalog.read(name)) for name in names)
    assert 0.5 * written < foreseen["bytes_to_write"] < 2 * written


def test_with_nothing_to_do_no_network_is_loaded(
    catalog: Catalog, plan: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run() == 0

    def refuse(_: StyleConfig) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr("pipeline.commands.plan.load_engine", refuse)
    foreseen = plan()
    assert (foreseen["to_do"], foreseen["done"]) == (0, 1)
    assert (foreseen["measured"], foreseen["seconds"]) == (None, None)


def test_pairs_whose_pixels_can_not_be_read_leave_the_measuring_to_others(
    catalog: Catalog, plan: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.jpg", "b.jpg"))
    assert len(catalog.read("a.jpg")) > 1000
    # Their headers are good: only who decodes them finds that they are cut off.
    cut_off = catalog.read("a.jpg")[:700]
    catalog.write("a.jpg", cut_off)
    assert plan()["measured"]
    catalog.write("b.jpg", cut_off)
    assert main(planned(catalog)) == 0
    said = capsys.readouterr()
    assert "a cannot be measured" in said.err
    assert "not known" in said.out


def test_what_people_see_names_counts_reasons_canvases_and_costs(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    mixed_catalog(catalog)
    capsys.readouterr()
    assert main(planned(catalog, "--limit=4")) == 0
    said = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines()]
    for row in (["to do", "3"], ["done already", "2"], ["postponed by --limit", "1"], ["all", "9"]):
        assert row in rows
    assert any(row[:3] == ["64x32", "1", "1"] and len(row) == 6 for row in rows)
    assert "1 × options_invalid (typo): " in said
    assert "About" in said
    assert "GiB of memory" in said
    assert "Measured: 4 steps on 64x64 px" in said


def test_what_is_wrong_for_one_reason_is_one_line_of_a_plan(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.manifest([{"content": f"{name}.png", "style": "s.png"} for name in "abcdefg"])
    assert main(planned(catalog)) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "does not exist" in line]
    assert len(lines) == 1
    assert lines[0].startswith("7 × input_not_found (a--s-")


def test_a_plan_says_how_many_shapes_there_are_and_what_they_cost(
    catalog: Catalog, plan: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.picture("s.png")
    rows = []
    for index, height in enumerate((24, 40, 150)):
        catalog.picture(f"{index}.png", (160, height))
        rows.append({"id": str(index), "content": f"{index}.png", "style": "s.png"})
    catalog.manifest(rows)
    wide = ("--set", "image_size=160", "--set", "scales=[0.5,1]")

    def canvases(found: dict[str, Any]) -> dict[str, int]:
        return {one["canvas"]: one["pairs"] for one in found["canvases"]}

    here, there = plan(*wide), plan(*wide, "--gpu=nvidia-l4")
    assert canvases(here) == {"160x160": 1, "160x32": 1, "160x64": 1}
    assert canvases(there) == {"160x160": 1, "160x64": 2}
    # Nothing is compiled on a CPU.
    assert here["shapes"] == {"canvases": 3, "scales": 2, "programs": 0, "compile_seconds": 0}
    compiling = 4 * gpus.PROGRAM_SECONDS
    expected = {"canvases": 2, "scales": 2, "programs": 4, "compile_seconds": compiling}
    assert there["shapes"] == expected
    show(there)
    on_gpu = f"4 programs to compile on a GPU, about {compiling:.0f} s"
    assert f"2 canvases in 2 scales: {on_gpu}.\n" in capsys.readouterr().out
    show(here)
    assert "3 canvases in 2 scales.\n" in capsys.readouterr().out


def test_on_gpus_a_plan_says_hours_and_gpu_hours_of_what_is_to_do(
    catalog: Catalog, plan: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    mixed_catalog(catalog)
    assert catalog.run(manifest="done.csv") == 0
    assert plan()["gpu"] is None
    foreseen = plan("--gpu", "nvidia-l4", "--workers", "8")
    config = options_of(catalog).config
    gpu = gpus.find("nvidia-l4")
    canvases = {one["canvas"]: one["pairs"] for one in foreseen["canvases"]}
    seconds = sum(
        count * gpu.seconds(config, Size(*map(int, canvas.split("x"))))
        for canvas, count in canvases.items()
    )
    compiling = foreseen["shapes"]["compile_seconds"]
    assert compiling == 2 * gpus.PROGRAM_SECONDS
    expected = gpus.cost(seconds, 8, compiling)
    assert foreseen["gpu"]["hours"] == pytest.approx(expected.hours)
    assert foreseen["gpu"]["gpu_hours"] == pytest.approx(expected.gpu_hours)
    capsys.readouterr()
    assert main(planned(catalog, "--gpu=nvidia-l4", "--workers=8")) == 0
    said = capsys.readouterr().out
    assert "On 8 × nvidia-l4: about 8 min and 1.1 GPU hours" in said
    assert "estimated" in said
    assert "for a GPU hour" not in said


def test_a_price_turns_gpu_hours_into_money(
    catalog: Catalog, plan: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs()
    on_gpu = ("--gpu=nvidia-l4", "--workers=8")
    assert plan(*on_gpu)["gpu"]["price"] is None
    gpu = plan(*on_gpu, "--gpu-price", "0.71")["gpu"]
    assert gpu["price_per_gpu_hour"] == 0.71
    assert gpu["price"] == pytest.approx(0.71 * gpu["gpu_hours"])
    assert gpu["price_per_pair"] == pytest.approx(gpu["price"] / 2)
    capsys.readouterr()
    assert main(planned(catalog, *on_gpu, "--gpu-price=0.71")) == 0
    assert f"At 0.71 for a GPU hour: about {gpu['price']:.2f}, " in capsys.readouterr().out
    # Nothing to do costs nothing.
    assert catalog.run() == 0
    done = plan(*on_gpu, "--gpu-price=0.71")["gpu"]
    assert (done["price"], done["price_per_pair"]) == (0, None)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (["--gpu=nvidia-l4", "--gpu-price=-1"], "--gpu-price is -1, which is no price"),
        (["--gpu=nvidia-l4", "--gpu-price=nan"], "--gpu-price is nan"),
        (["--gpu=nvidia-l4", "--gpu-price=inf"], "--gpu-price is inf"),
        (["--gpu=nvidia-l4", "--gpu-price=cheap"], "--gpu-price"),
        (["--gpu-price=0.71"], "--gpu-price is 0.71, and no GPU is named that it is about"),
        (
            ["--workers=8"],
            "--workers is 8, and no GPU is named that it is about; add --gpu, one of",
        ),
    ],
)
def test_what_is_no_price_or_of_no_gpu_is_refused(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], given: list[str], part: str
) -> None:
    catalog.pairs()
    assert main(planned(catalog, *given)) == 2
    assert part in capsys.readouterr().err


def options_of(catalog: Catalog) -> RunOptions:
    """The options of `nst run` on the catalog."""
    return cli.run_options(cli.parse(catalog.arguments()))


def test_a_plan_counts_the_pairs_of_all_manifests_of_a_glob(
    catalog: Catalog, plan: Callable[..., dict[str, Any]]
) -> None:
    for name in ("a", "b"):
        catalog.picture(f"{name}.png")
        catalog.manifest([{"id": name, "content": f"{name}.png", "style": "a.png"}], f"{name}.csv")
    catalog.manifest([{"id": "a", "content": "b.png", "style": "a.png"}], "c.csv")
    foreseen = plan(manifest="?.csv")
    assert (foreseen["pairs"], foreseen["to_do"]) == (3, 2)
    (failure,) = foreseen["first_failures"]
    assert (failure["manifest"], failure["row"]) == (catalog.uri("c.csv"), 1)


@pytest.mark.parametrize("more", [("--weights", "none.h5"), ("--manifest", "none.csv")])
def test_what_stops_the_run_at_once_stops_the_plan_with_the_same_sentence(
    catalog: Catalog, more: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png",))
    statuses = [main([*catalog.arguments(), *more]), main([*planned(catalog), *more])]
    run_said, plan_said = capsys.readouterr().err.splitlines()
    assert statuses[0] == statuses[1] != 0
    assert run_said == plan_said


CONFIG = StyleConfig(scales=(0.5, 1.0), steps=(10, 20), tile="off")


def test_time_goes_with_the_pixels_of_all_steps() -> None:
    canvas = Size(128, 64)
    coarse, fine = 64 * 32 / 64**2, 128 * 64 / 64**2
    assert SAMPLE.seconds(CONFIG, canvas) == pytest.approx(2 * (10 * coarse + 20 * fine) + fine)
    tiled = CONFIG.updated({"tile": 64, "scales": [1.0], "steps": 1})
    whole = CONFIG.updated({"scales": [1.0], "steps": 1})
    large = Size(1024, 1024)
    assert SAMPLE.seconds(tiled, large) > 3 * SAMPLE.seconds(whole, large)


def test_memory_is_that_of_the_batch_as_the_engine_cuts_it() -> None:
    canvas = Size(512, 512)
    alone, four = (SAMPLE.memory(CONFIG, canvas, count) for count in (1, 4))
    assert four > alone
    tight = StyleConfig(tile="auto")
    small = Sample(**{**vars(SAMPLE), "available": 0.6 * alone})
    assert small.memory(tight, canvas, 4) < alone


def test_bytes_are_those_of_images_snapshots_logs_and_the_record() -> None:
    size = Size(100, 10)
    assert SAMPLE.written(CONFIG, size) == 3 * 1000 + 30 * 100 + 2000
    often = CONFIG.updated({"snapshot_every": 7})
    assert SAMPLE.written(often, size) == 5 * 3 * 1000 + 30 * 100 + 2000
