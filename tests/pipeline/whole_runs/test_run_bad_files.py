"""A whole run over files from anywhere: the good ones are stylized, each bad one fails alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import corpus

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

GOOD = (
    "cmyk.jpg",
    "orientation6.jpg",
    "grey16.png",
    "transparent_palette.png",
    "animated.gif",
    "alpha.webp",
    "float.tiff",
    "palette.tiff_lzw.tiff",
    "bilevel.bmp",
)


def test_a_run_over_files_from_anywhere_gives_each_pair_its_status(catalog: Catalog) -> None:
    good, bad = corpus.good_files(), corpus.bad_files()
    expected = dict.fromkeys(GOOD, "ok") | {name: status for name, (_, status) in bad.items()}
    contents = {name: good[name] for name in GOOD} | {name: data for name, (data, _) in bad.items()}
    contents["dot.png"], expected["dot.png"] = corpus.png(1, 1, 8, 2, bytes(4)), "ok"
    bombs = {"directory.tiff": corpus.directory_bomb(), "scans.jpg": corpus.scans_bomb()}
    for name, data in (contents | bombs).items():
        catalog.write(f"in/{name}", data)
    catalog.picture("s.png", (96, 64))
    rows = [{"id": name, "content": f"in/{name}", "style": "s.png"} for name in contents]
    for name in bombs:
        limits = {"options.max_pixels": str(2**22), "options.decode_seconds": "0.5"}
        rows.append({"id": name, "content": f"in/{name}", "style": "s.png", **limits})
        expected[name] = "input_too_large"
    # The same in every other place that a file can have.
    places = {
        "style": {"style": "in/cut.jpg"},
        "mask": {"style": '[{"uri": "s.png", "mask": "in/cut.webp"}]'},
        "start": {"options.init": "in/empty.png"},
        "keep": {"options.keep": "in/huge.gif"},
    }
    for name, place in places.items():
        rows.append({"id": name, "content": "in/colour.png", "style": "s.png", **place})
        expected[name] = "input_too_large" if name == "keep" else "input_unreadable"
    catalog.write("in/colour.png", good["colour.png"])
    rows.append({"id": "none", "content": "in/none.png", "style": "s.png"})
    expected["none"] = "input_not_found"
    catalog.manifest(rows)

    limits = ("--set", "max_pixels=1000000")
    assert catalog.run("--set", "steps=1", "--batch-size=1", *limits) == 3
    assert {result["id"]: result["status"] for result in catalog.results()} == expected
    failed = {row["id"]: row["status"] for row in catalog.failures()}
    assert failed == {name: status for name, status in expected.items() if status != "ok"}
    assert all(row["error"].endswith(".") for row in catalog.failures())
    assert catalog.names("out/images") == {f"{name}.png" for name in (*GOOD, "dot.png")}
