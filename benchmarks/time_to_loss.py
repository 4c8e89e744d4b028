"""Wall time to the same loss: two references, and the engine until it is as low as each of them.

Reference A: the original notebook (three images in every evaluation, SciPy's L-BFGS in rounds);
for the objective of `default`, which has no notebook, one image, targets computed once, and the
loss scaled to the size that SciPy's stopping rule is made for.
Reference B: Adam as in TensorFlow's tutorial. Both in float32, all of one pair from the same
start, on the same formula; loading and making targets is not in the references' seconds, tracing
is. The engine's seconds are those of one run from the call of `stylize` to the step whose loss is
at or below the reference's, and its finished picture too is judged on the reference's formula in
float32 (losses of pictures are after clipping to 0…255, those of the loop before). Where the
engine keeps pixels within 0…255 throughout (`default`), it has to reach the loss of the
reference's picture. B's steps are many: where L-BFGS ends above its loss (`default`), the engine
goes there by Adam too, with much momentum, at full scale alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from benchmarks import references
from benchmarks.options import Options, resized
from nst_core.canvas import Size, fitted, size_of
from nst_core.config import StyleConfig, preset
from nst_core.engine.style_engine import StyleEngine
from nst_core.network.loading import load_weights
from nst_core.network.weights import VggWeights
from nst_core.results import Progress, Style, StyleResult

HEADER = [
    "objective",
    "px",
    "method",
    "evaluations",
    "s/evaluation",
    "s",
    "loss",
    "picture's loss",
    "faster",
]
# The engine's logged loss may be that of bfloat16: where its picture is not as low, it goes on.
LONGER = 1.05
# How the engine goes where L-BFGS comes to rest too early, from a coarse scale above all.
LONG_RUN = {"optimizer": "adam", "betas": [0.99, 0.99], "learning_rate": 5, "scales": [1]}
# Of the engine at the full scale, however few evaluations the references had.
LEAST_STEPS = 40


@dataclasses.dataclass(frozen=True)
class Case:
    """One pair with one objective: for the engine, and as the references see it.

    `config` is that of the way to A's loss, `long` to B's; `factor` is that of the loss that SciPy
    sees.
    """

    name: str
    config: StyleConfig
    long: StyleConfig
    content: np.ndarray
    style: Style
    start: np.ndarray
    loss_of_a: references.Loss
    loss_of_b: references.Loss
    factor: float = 1.0

    def engine_run(self, engine: StyleEngine, config: StyleConfig, steps: int) -> Followed:
        """The engine's run with at most `steps` at the full scale."""
        counts = [*config.steps_per_scale[:-1], steps]
        return followed(engine, self.content, self.style, config.updated({"steps": counts}))


@dataclasses.dataclass(frozen=True)
class Followed:
    """A run of the engine, with the wall time since its call at some of its steps."""

    result: StyleResult
    seconds: dict[int, float]

    @property
    def first_full(self) -> int:
        """Rows of the log before those of the full scale."""
        return int(np.sum(self.result.losses.rows[:, 1] < 1))

    def first_at(self, loss: float) -> int | None:
        """The first step at the full scale whose loss is at or below `loss`."""
        losses = self.result.losses
        steps = range(self.first_full + 1, len(losses.rows) + 1)
        return next((step for step in steps if losses.terms(step - 1)["total"] <= loss), None)

    def seconds_at(self, step: int) -> float:
        """Wall time from the call to a step: the log's, shifted by what it leaves out."""
        rows = self.result.losses.rows
        seen = min(known for known in self.seconds if known >= step)
        return self.seconds[seen] - float(rows[seen - 1, 4] - rows[step - 1, 4])


def followed(
    engine: StyleEngine, content: np.ndarray, style: Style, config: StyleConfig
) -> Followed:
    """Stylize once and note the wall time whenever the engine reports."""
    seconds: dict[int, float] = {}

    def note(now: Progress) -> None:
        seconds[now.step] = time.perf_counter() - started
        say("engine", now.step, seconds[now.step], now.totals[0])

    started = time.perf_counter()
    result = engine.stylize(content, [style], config, progress=note)
    return Followed(result, seconds)


def say(name: str, evaluations: int, seconds: float, loss: float) -> None:
    """One line of the course of an optimisation."""
    each = seconds / max(evaluations, 1)
    print(
        f"  {name}: {evaluations} evaluations, {seconds:.1f} s, {each:.4f} s each, loss {loss:.6g}",
        flush=True,
    )


def notebook_case(options: Options, weights: VggWeights, size: Size) -> Case:
    """The notebook's recipe at the height of `size`."""
    content, style = options.pair(size)
    config = preset("notebook").updated({"image_height": size.height, "weights": options.weights})
    actual = fitted(size_of(content), config)
    start, stretched = (
        resized(picture, actual, Image.Resampling.NEAREST) for picture in (content, style)
    )
    extractor = references.keras_vgg19(weights)
    return Case(
        "notebook",
        config,
        config,
        content,
        Style(style),
        start,
        references.notebook_loss(extractor, start, stretched),
        references.notebook_loss_of_one(extractor, start, stretched),
    )


def default_case(options: Options, weights: VggWeights, size: Size) -> Case:
    """The preset `default` at the long side of `size`; its start is what the engine begins with."""
    content, style = options.pair(size)
    # A canvas without padding: the picture is all that the loss sees.
    config = preset("default").updated(
        {
            "image_size": max(size.width, size.height),
            "canvas_multiple": 1,
            "weights": options.weights,
        }
    )
    engine = StyleEngine.for_config(config.updated({"precision": "float32"}), weights)
    begun = engine.stylize(content, [Style(style)], config.updated({"scales": [1], "steps": 1}))
    own = resized(style, fitted(size_of(style), config), Image.Resampling.LANCZOS)
    loss = references.default_loss(weights, config, begun.image, own)
    factor = references.TUTORIAL_LOSS / references.loss_of(loss, begun.image)
    long = config.updated({**LONG_RUN, "steps": 1})
    return Case("default", config, long, content, Style(style), begun.image, loss, loss, factor)


CASES: dict[str, Callable[[Options, VggWeights, Size], Case]] = {
    "notebook": notebook_case,
    "default": default_case,
}


def check_start(case: Case, weights: VggWeights) -> None:
    """Engine and references must mean the same by the loss of the start.

    Raises:
        AssertionError: they differ by more than 1e-5; no comparison would mean anything.
    """
    config = case.config.updated({"precision": "float32", "scales": [1], "steps": 1})
    engine = StyleEngine.for_config(config, weights)
    losses = engine.stylize(case.content, [case.style], config).losses
    totals = [losses.terms(0)["total"]]
    totals += [references.loss_of(loss, case.start) for loss in (case.loss_of_a, case.loss_of_b)]
    shown = ", ".join(f"{total:.7g}" for total in totals)
    print(f"{case.name}: loss of the start, engine, A, B: {shown}", flush=True)
    if np.ptp(totals) > 1e-5 * min(totals):
        raise AssertionError(f"The losses of the start differ ({shown}); mend the benchmark.")


def measure(case: Case, options: Options, weights: VggWeights) -> list[list[str]]:
    """Rows of both references, each followed by the engine's to the same loss."""
    check_start(case, weights)
    a = reference_a(case, options)
    outcomes = {"A": a}
    if options.adam_steps:
        outcomes["B"] = references.by_adam(
            case.loss_of_b, case.start, options.adam_steps, lambda *now: say("reference B", *now)
        )
    engine = StyleEngine.for_config(case.config, weights)
    configs = {"A": case.config, "B": case.long}
    runs: dict[str, Followed] = {}
    rows = []
    for name, reference in outcomes.items():
        config = configs[name]
        alike = [outcomes[other].evaluations for other in outcomes if configs[other] == config]
        if config.key() not in runs:
            longest = max(*alike, LEAST_STEPS)
            runs[config.key()] = case.engine_run(engine, config, longest)
        run = runs[config.key()]
        picture = references.loss_of(case.loss_of_b, np.clip(reference.image, 0, 255))
        row = _row(case, f"reference {name}", reference.evaluations, reference.seconds)
        rows.append([*row, f"{reference.loss:.5g}", f"{picture:.5g}", ""])
        way = "engine, to" if config == case.config else "engine, by Adam, to"
        rows.append(reached(case, engine, config, run, reference, picture, f"{way} {name}'s"))
    return rows


def reference_a(case: Case, options: Options) -> references.Outcome:
    """Reference A to its end; its seconds from a few of its evaluations where that is asked for."""
    course: list[tuple[int, float]] = []

    def report(evaluations: int, seconds: float, loss: float) -> None:
        say("reference A", evaluations, seconds, loss)
        course.append((evaluations, seconds))

    def optimize_scale(loss: references.Loss, rounds: int, evaluations: int) -> references.Outcome:
        return references.by_scipy(loss, case.start, rounds, report, case.factor, evaluations)

    if not options.timed_evaluations:
        return optimize_scale(case.loss_of_a, options.rounds, references.EVALUATIONS_PER_ROUND)
    # The first round has the tracing in it, which is none of the others' time.
    optimize_scale(case.loss_of_a, 2, options.timed_evaluations)
    (first, begun), (second, ended) = course
    whole = optimize_scale(case.loss_of_b, options.rounds, references.EVALUATIONS_PER_ROUND)
    seconds = whole.evaluations * (ended - begun) / (second - first)
    return dataclasses.replace(whole, seconds=seconds)


def reached(
    case: Case,
    engine: StyleEngine,
    config: StyleConfig,
    run: Followed,
    reference: references.Outcome,
    picture: float,
    name: str,
) -> list[str]:
    """The engine's row: the step of its run from which its loss and picture are as low."""
    name = f"{name} ({run.result.precision})"
    step = run.first_at(picture if config.clip_pixels else reference.loss)
    while step is not None and step <= run.result.steps:
        shorter = case.engine_run(engine, config, step - run.first_full).result
        own = references.loss_of(case.loss_of_b, shorter.image)
        if own <= picture:
            seconds = run.seconds_at(step)
            loss = run.result.losses.terms(step - 1)["total"]
            return [
                *_row(case, name, step, seconds),
                f"{loss:.5g}",
                f"{own:.5g}",
                f"{reference.seconds / seconds:.1f}×",
            ]
        step = int(step * LONGER) + 1
    loss = run.result.losses.terms(-1)["total"]
    own = references.loss_of(case.loss_of_b, run.result.image)
    row = _row(case, name, run.result.steps, run.seconds_at(run.result.steps))
    return [*row, f"{loss:.5g}", f"{own:.5g}", "not reached"]


def _row(case: Case, name: str, evaluations: int, seconds: float) -> list[str]:
    height, width = case.start.shape[:2]
    return [
        case.name,
        f"{width}×{height}",
        name,
        f"{evaluations}",
        f"{seconds / evaluations:.4f}",
        f"{seconds:.1f}",
    ]


def cases(options: Options) -> list[tuple[str, Options]]:
    """One table for each size and objective."""
    return [
        (f": {name}, {size} px", dataclasses.replace(options, sizes=(size,), objectives=(name,)))
        for size in options.sizes
        for name in options.objectives
    ]


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows for the one size and objective."""
    weights = load_weights(options.weights)
    case = CASES[options.objectives[0]](options, weights, options.sizes[0])
    return HEADER, measure(case, options, weights)
