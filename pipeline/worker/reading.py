"""Reading for a batch: contents one by one, styles once."""

from __future__ import annotations

import collections
from typing import Any

from nst_core.config import StyleConfig
from nst_core.errors import JobError, PairError
from nst_core.imaging import images
from nst_core.results import Style
from pipeline.manifest.pairs import StyleReference
from pipeline.records.tasks import Task, unforeseen
from pipeline.worker.inputs import Inputs, read_inputs, read_picture, style_of
from pipeline.worker.tally import Tally

STYLES_KEPT = 16


class Reader:
    """Reads inputs; keeps the last styles, which many batches share."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._styles: collections.OrderedDict[Any, images.Picture] = collections.OrderedDict()

    def read_styles(self, task: Task) -> list[Style]:
        """The styles of a task, which are those of its whole batch.

        Raises:
            PairError: one cannot be read.
        """
        return [
            style_of(style, self._style_picture(style, task.config)) for style in task.pair.styles
        ]

    def _style_picture(self, style: StyleReference, config: StyleConfig) -> images.Picture:
        key = (style.uri, config.max_pixels, config.max_bytes)
        if key not in self._styles:
            picture, size = read_picture(style.uri, config)
            self.tally.count("bytes_read", size)
            self._styles[key] = picture
            while len(self._styles) > STYLES_KEPT:
                self._styles.popitem(last=False)
        self._styles.move_to_end(key)
        return self._styles[key]

    def read_content(self, task: Task) -> Inputs | PairError:
        """What a task needs besides its styles, or why it cannot be had."""
        try:
            inputs = read_inputs(task.pair, task.config)
        except PairError as error:
            return error
        except JobError:
            raise
        except Exception as error:
            return unforeseen(error)
        self.tally.count("bytes_read", inputs.size)
        return inputs
