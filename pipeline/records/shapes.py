"""What is in the JSON files of an output, by version: `python -m tools.schemas` publishes it.

A file says its version as `schema_version`; one that does not is of version 1. A field that is
added is `NotRequired` and leaves the version; one that is removed, renamed, required from now on or
of another meaning makes the next version, and docs/schemas/ keeps the files of those before.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

RECORD_VERSION = 2
SUMMARY_VERSION = 2
RUN_VERSION = 1
RESULTS_VERSION = 1


class StyleSource(TypedDict):
    """One style of a pair."""

    uri: str
    weight: float
    mask: NotRequired[str]
    """URI of the picture that says where the style goes; only where there is one."""


class Sources(TypedDict):
    """The URIs of a pair's images."""

    content: str
    styles: list[StyleSource]


class InputIdentity(TypedDict):
    """One image as it was read."""

    role: str
    """content, style, mask, init or keep."""
    uri: str
    bytes: int
    mark: str
    """The file's version: of a local file its time, on gs:// its generation, else what there is."""
    crc32c: str
    """In base64, as Cloud Storage has it."""
    sha256: str
    """In hexadecimal digits."""


class ThumbnailPaths(TypedDict):
    """Thumbnails, as paths below the output."""

    result: str
    content: str
    styles: list[str]


class WeightsUsed(TypedDict):
    """The network's weights."""

    name: str
    sha256: str


class SizeInPixels(TypedDict):
    """Sides in px."""

    width: int
    height: int


class QualityNumbers(TypedDict):
    """How near the result came to its style and its content."""

    gram_errors: dict[str, float]
    """By style layer: distance of the Gram matrices relative to the style's; 0 is the style."""
    ssim: float
    """Structural similarity of the luminance to the content's; 1 is the content."""


class WeightedTerms(TypedDict):
    """Weighted losses, by the names of the loss log's columns."""

    first: dict[str, float]
    final: dict[str, float]


class CurvePoints(TypedDict):
    """The loss log in at most 40 points."""

    step: list[int]
    total: list[float]
    content: list[float]
    style: list[float]
    tv: list[float]


class PairSeconds(TypedDict):
    """Wall time, s; of the batch's optimisation this pair's share."""

    read: float
    optimize: float
    write: float


class WorkerProcess(TypedDict):
    """Which process did it."""

    host: str
    pid: int


class Record(TypedDict):
    """`O/records/<id>.<fingerprint>.json`: this pair is done, and how."""

    schema_version: Literal[2]
    id: str
    status: Literal["ok"]
    run: str
    """The run that did it."""
    sources: Sources
    inputs: list[InputIdentity]
    image: str
    """URI, as `losses`, `snapshots` and `animation` have them too."""
    losses: str
    snapshots: list[str]
    animation: str | None
    thumbnails: ThumbnailPaths
    fingerprint: str
    """Of all that decides the pixels; 16 hexadecimal digits."""
    config: dict[str, Any]
    """Every setting, as it was in effect; see the schema of settings."""
    weights: WeightsUsed
    width: int
    """Of the image, px."""
    height: int
    optimized: SizeInPixels
    """Of the image while it was optimised."""
    quality: QualityNumbers
    canvas: SizeInPixels
    """What passed through the network: the image padded."""
    steps: int
    """Evaluations of loss and gradient, over all scales."""
    terms: WeightedTerms
    curve: CurvePoints
    seconds: PairSeconds
    batch: int
    """How many pairs were optimised together."""
    tile: int | None
    """Side of the tiles' interiors, px; null where the image passed whole."""
    retried: bool
    """Whether a first try ran away and a careful second one made the result."""
    resumed_at_step: int | None
    """From where an interrupted optimisation went on; null where none was."""
    device: str
    worker: WorkerProcess
    precision: str
    versions: dict[str, str]
    """Of the engine, and of the packages that decide the pixels."""
    columns: dict[str, Any]
    """The row's other columns."""
    finished_at: str
    """ISO 8601, UTC."""


class Distribution(TypedDict, total=False):
    """Of some numbers; empty where there were none."""

    mean: float
    least: float
    p5: float
    p50: float
    p95: float
    greatest: float


class StageSeconds(Distribution):
    """Of one stage, s a pair."""

    total: NotRequired[float]
    """The sum over pairs, which is more than the time passed where they went side by side."""


class Stages(TypedDict):
    """The stages of a pair."""

    read: StageSeconds
    optimize: StageSeconds
    write: StageSeconds


class QualityOfRun(TypedDict):
    """Quality over the pairs that the run has done."""

    ssim: Distribution
    gram_error: Distribution
    """A pair's mean over its style layers."""


class WorstPair(TypedDict):
    """A result far from its style."""

    id: str
    gram_error: float
    ssim: float


class Reason(TypedDict):
    """A reason of failures, and one of the pairs that it has failed."""

    count: int
    status: str
    id: str | None
    row: NotRequired[int]
    """Of the manifest; 0 where it is not known."""
    example: str
    """That pair's sentence, shortened."""


class FailedRow(TypedDict):
    """One row that failed."""

    manifest: str
    row: int
    id: str | None
    status: str
    error: str | None


class BytesMoved(TypedDict):
    """Bytes of inputs and results."""

    read: int
    written: int


class Summary(TypedDict):
    """`O/runs/<run>/summary.json`: the last file of a run that came to its end."""

    schema_version: Literal[2]
    results_schema_version: int
    """Of the lines in `results`."""
    run: str
    manifest: str
    output: str
    started_at: str
    finished_at: str
    pairs: int
    """Rows of the manifest, all of which are in the results."""
    statuses: dict[str, int]
    """How many rows ended with each status: ok, skipped, postponed, or one of a failure."""
    results: list[str]
    """URIs of the results' files."""
    failures: str
    """URI of the failed rows, a manifest."""
    elapsed_seconds: float | None
    pairs_per_hour: float | None
    seconds: Stages
    quality: QualityOfRun
    worst: list[WorstPair]
    retried: int
    reasons: list[Reason]
    """The commonest first."""
    first_failures: list[FailedRow]
    bytes: BytesMoved | None
    """Null where the runner does not tell."""


class ManifestFile(TypedDict):
    """A file of the manifest."""

    uri: str
    bytes: int
    identity: str


class ManifestDetails(TypedDict):
    """The run's manifest: `count` files, and the first of them."""

    uri: str
    """Or, where the command line has a part in its rows, what it is called."""
    rows: NotRequired[str]
    """Where the rows are, if it is not called so."""
    count: NotRequired[int]
    files: NotRequired[list[ManifestFile]]
    trouble: NotRequired[str]
    """Why it could not be looked at."""


class RunnerJob(TypedDict):
    """A job of a runner elsewhere."""

    id: str
    console: NotRequired[str]
    """Its page."""


class PairAtWork(TypedDict):
    """The pair longest in work."""

    id: str
    since: str


class RunAccount(TypedDict):
    """`O/runs/<run>/run.json`: what a run says of itself, renewed while it lives."""

    schema_version: NotRequired[Literal[1]]
    run: str
    state: Literal["running", "launched", "finished", "stopped", "failed"]
    command: str
    manifest: ManifestDetails
    schemes: list[str]
    """Of URIs that rows may name."""
    private_hosts: NotRequired[bool]
    """Whether URLs may lead to this machine and the network around it."""
    row_settings: NotRequired[list[str] | None]
    """Those that rows may change; null for all."""
    marks: NotRequired[bool]
    """Whether the manifest is one of marks: its pairs are those of others."""
    runner: str | None
    """Beam's; null for none named."""
    started_at: str
    job: RunnerJob | None
    output: str
    directory: str
    """In which the command was given."""
    host: str
    pid: int
    process: str
    """Of the host's processes this one, also once its number belongs to another."""
    versions: dict[str, str]
    renewed_at: str
    """The last heartbeat: a running one older than three minutes is dead."""
    pairs: int | None
    """Rows of the manifest; counts are null until they are known."""
    to_do: int | None
    """Those that had no result."""
    done: int
    skipped: int | None
    postponed: int | None
    failed: int | None
    left: int | None
    statuses: dict[str, int]
    pairs_per_hour: float | None
    """Over the last ten minutes; at the end of the whole run."""
    oldest: PairAtWork | None
    reasons: list[Reason]
    ended_at: NotRequired[str]
    sentence: NotRequired[str | None]
    """Why it ended early."""
