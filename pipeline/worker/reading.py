"""Reading for pairs: styles before contents, and what pairs share once."""

from __future__ import annotations

import dataclasses
import time

from nst_core.config import StyleConfig
from nst_core.errors import JobError, PairError
from nst_core.imaging.fitting import Wanted
from nst_core.imaging.foreseen import look_at
from nst_core.imaging.images import Picture
from nst_core.results import Style
from pipeline.records.identities import Identity, identified
from pipeline.records.tasks import Task, unforeseen
from pipeline.worker.checkpoints import FoundCheckpoint
from pipeline.worker.inputs import Inputs, ReadImage, read_inputs, read_picture, read_styles
from pipeline.worker.picture_cache import PictureCache
from pipeline.worker.tally import Tally


@dataclasses.dataclass(frozen=True)
class ReadPair:
    """A task, with its fingerprint, and all that was read for it, and how long that took.

    `checkpoint`: what the pair goes on from.
    """

    task: Task
    inputs: Inputs
    styles: list[Style]
    seconds: float
    checkpoint: FoundCheckpoint | None = None


class Reader:
    """Reads what tasks need, and keeps what others need too."""

    def __init__(self, tally: Tally, pictures: PictureCache) -> None:
        self.tally = tally
        self.pictures = pictures

    def read(self, task: Task) -> ReadPair | PairError:
        """Everything for a task, or why it cannot be had.

        The styles first: where these cannot be read, contents would be read for nothing.
        """
        started = time.monotonic()
        found: dict[str, Identity] = {}

        def read(uri: str, config: StyleConfig, wanted: Wanted | None) -> Picture:
            image = self._image(uri, config, wanted)
            found[uri] = image.identity
            return image.picture

        try:
            styles = read_styles(task.pair, task.config, read)
            inputs = read_inputs(task.pair, task.config, read)
            look_at(inputs.seen, styles, task.config)
        except PairError as error:
            return error
        except JobError:
            raise
        except Exception as error:
            return unforeseen(error)
        return ReadPair(identified(task, found), inputs, styles, time.monotonic() - started)

    def _image(self, uri: str, config: StyleConfig, wanted: Wanted | None) -> ReadImage:
        def read() -> ReadImage:
            image = read_picture(uri, config, wanted)
            self.tally.count("bytes_read", image.identity.bytes)
            return image

        limits = config.max_pixels, config.max_bytes, config.decode_seconds
        return self.pictures.get((uri, wanted, *limits), read)
