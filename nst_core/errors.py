"""The errors of this project: those of one pair, and those of the whole job.

Every message is one sentence that gives the value, what it means and what to do.
"""


class PairError(Exception):
    """One pair cannot be stylized; the others can. `status` is what its result says."""

    status = "internal"


class InputNotFound(PairError):
    """An input image does not exist."""

    status = "input_not_found"


class InputUnreadable(PairError):
    """An input's bytes are not an image that can be decoded."""

    status = "input_unreadable"


class InputTooLarge(PairError):
    """An input is over the limit on bytes or pixels."""

    status = "input_too_large"


class InputTooSmall(PairError):
    """An input is too small for the network."""

    status = "input_too_small"


class OptionsInvalid(PairError):
    """The settings of a manifest row are wrong."""

    status = "options_invalid"


class ManifestInvalid(PairError):
    """A manifest row is not a pair."""

    status = "manifest_invalid"


class DuplicateId(PairError):
    """The id of a manifest row was used by an earlier row."""

    status = "duplicate_id"


class Diverged(PairError):
    """The loss became infinite or ran away, twice."""

    status = "diverged"


class DeadlineExceeded(PairError):
    """The optimisation took longer than `deadline_seconds`."""

    status = "deadline_exceeded"


class OutOfMemory(PairError):
    """The device has not enough memory for this pair alone."""

    status = "out_of_memory"


class ConfigError(ValueError):
    """A setting is unknown or has a value that cannot be used."""


class JobError(Exception):
    """Trouble that is not one pair's: the job stops, says this sentence, and exits with 1."""


class WeightsError(JobError):
    """The network's weights cannot be had, or are not VGG19's."""


class DeviceError(JobError):
    """The demanded device is not there."""
