"""`nst demo`: the real pipeline on the sample images of the package."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from importlib import resources

from nst_core.config import StyleConfig
from pipeline import storage
from pipeline.commands.contact_sheet import Picture, contact_sheet
from pipeline.commands.demo_weights import choose_weights
from pipeline.commands.run import EXIT_ALL_DONE, run
from pipeline.job.options import RunOptions, require_utf8
from pipeline.manifest.writing import write_manifest
from pipeline.records import records

# Every content and every style; at most three minutes on two cores, one by one so that the first
# picture is there within one.
PAIRS = (
    ("river_town", "swirling_strokes"),
    ("river_town", "woodcut_wave"),
    ("mountain_lake", "mosaic"),
    ("still_life", "woodcut_wave"),
)
CONFIG = StyleConfig(
    image_size=256,
    steps=(40, 10),
    style_statistics="covariance",
    content_weight=0.2,
)


def demo(
    output: str,
    weights: str | None = None,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    config: StyleConfig = CONFIG,
) -> int:
    """Copy the samples, run the job on them, make the contact sheet; the exit status.

    Args:
        weights: as the setting; None: `choose_weights` decides, and says so.

    Raises:
        ConfigError: the output's name is not UTF-8.
        JobError: the output cannot be written, or the weights that were asked for not be had.
    """
    folder = pathlib.Path(output).absolute()
    require_utf8(str(folder))
    if weights is None:
        weights, sentence = choose_weights()
        print(sentence, flush=True)
    config = config.updated({"weights": weights})
    storage.check_writable(str(folder))
    samples = copy_samples(folder / "samples")
    manifest = str(folder / "manifest.csv")
    ids = [f"{content}--{style}" for content, style in pairs]
    rows = (
        {"id": pair_id, "content": samples[content], "style": samples[style]}
        for pair_id, (content, style) in zip(ids, pairs, strict=True)
    )
    write_manifest(manifest, rows)
    print(f"Stylizing {len(pairs)} pairs…", flush=True)
    options = RunOptions(manifest=manifest, output=str(folder), config=config, batch_size=1)
    status = run(options)
    if status != EXIT_ALL_DONE:
        return status
    rows_of_sheet = [
        [
            Picture(storage.read_bytes(samples[content]), _words(content)),
            Picture(storage.read_bytes(samples[style]), _words(style)),
            Picture(storage.read_bytes(records.image_uri(str(folder), pair_id, config)), "result"),
        ]
        for pair_id, (content, style) in zip(ids, pairs, strict=True)
    ]
    place = str(folder / "contact_sheet.png")
    storage.write_bytes(place, contact_sheet(rows_of_sheet), "image/png")
    print(f"Contact sheet (content, style, result): {place}")
    return EXIT_ALL_DONE


def copy_samples(folder: pathlib.Path) -> dict[str, str]:
    """Copy the contents (`contents/`) and styles (`styles/`) to a folder; their paths by name.

    Raises:
        JobError: they cannot be written.
    """
    copies = {}
    for part in ("contents", "styles"):
        for sample in (resources.files("pipeline") / "samples" / part).iterdir():
            path = folder / part / sample.name
            storage.write_bytes(str(path), sample.read_bytes(), "image/jpeg")
            copies[path.stem] = str(path)
    return copies


def _words(name: str) -> str:
    return name.replace("_", " ")
