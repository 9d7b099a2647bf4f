"""Errors and warnings: one class for each kind of defect, so that a script can tell them apart.

Every message states what was found, what was wanted and what to do about it.
"""


class UvstackError(Exception):
    """Base of all errors that `uvstack` raises on purpose; the command line prints it as one line."""


class MeasurementSetError(UvstackError):
    """A measurement set is missing, is not one, or lacks what the task needs."""


class ColumnError(MeasurementSetError):
    """A named data column does not exist, or an expression of columns cannot be read."""


class SelectionError(UvstackError):
    """A selection (field, spw, time, uv range) cannot be read or leaves nothing."""


class NoDataError(UvstackError):
    """No unflagged visibility with a weight is left."""


class PositionsError(UvstackError):
    """A list of positions cannot be read, is empty, or holds values that are no positions."""


class PrimaryBeamError(UvstackError):
    """A primary beam is unknown, cannot be read, or does not cover what it is asked for."""


class CoordinateError(UvstackError):
    """A reference frame is unknown or a direction cannot be converted."""


class OutputError(UvstackError):
    """An output exists already or cannot be written."""


class MissingDependencyError(UvstackError):
    """An optional package is needed; the message names the extra that installs it."""


class UvstackWarning(UserWarning):
    """Base of all warnings of `uvstack`: the data are usable, but look at this."""


class DuplicatePositionsWarning(UvstackWarning):
    """Positions stand in the list more than once; each counts."""


class InvalidVisibilityWarning(UvstackWarning):
    """NaN or infinite visibilities, or such without a (u, v, w), were unflagged in the data; they were treated as flagged."""

    what = "unflagged visibilities were NaN or infinite or had no (u, v, w), and were treated as flagged"


class WeightsWarning(UvstackWarning):
    """A column of weights is there and empty, or there is none; what is taken instead is said."""


class PointingWarning(UvstackWarning):
    """The antennas do not point where the phase centre is, or not always to one place."""


class CatalogueWarning(UvstackWarning):
    """Rows of a catalogue are flagged, not finite or negative; it says whether they were used."""


class DroppedPositionsWarning(UvstackWarning):
    """Positions lie outside every primary beam and were left out."""


class FewPositionsWarning(UvstackWarning):
    """So few positions have most of the weight that an error of resampled lists is a rough number."""


class DistantPositionsWarning(UvstackWarning):
    """Positions lie where no antenna of these data looks, and no primary beam was given to leave them out."""


class SchedulerError(UvstackError):
    """A dask scheduler does not answer, or its workers keep dying."""


class ImageError(UvstackError):
    """An image is missing, cannot be read, or lacks what the task needs."""


class ComponentError(UvstackError):
    """A component of a sky, or the source counts it is drawn from, cannot be what was asked for."""


class PointingError(UvstackError):
    """Pointings that cannot be: no direction, no spacing, no time."""


class ArrayError(UvstackError):
    """An array is unknown, its antenna file cannot be read, or the track asked of it cannot be."""


class SurveyError(UvstackError):
    """A survey file cannot be read, or one of its tables or keys cannot be what it says."""


class CorruptionError(UvstackError):
    """A corruption cannot act on this observation: its sources, antennas or correlations are not there."""


class FitError(UvstackError):
    """A model, its variables or their starting values cannot be fitted."""


class NumericalError(UvstackError):
    """A computation gave a value that is not finite where what it was given is."""


class ArchiveError(UvstackError):
    """An archive of images cannot be reached or read."""


class ListError(PositionsError):
    """No line of a list can be read; `lines` says of each what is wrong."""

    def __init__(self, text: str, lines: list[dict]) -> None:
        super().__init__(text)
        self.lines = lines


class OutsideArchiveError(ArchiveError):
    """An archive has no image of that part of the sky, or none of that product or epoch."""


class LimitError(UvstackError):
    """A request is larger than a server allows (status 413), or comes too soon (429)."""

    def __init__(self, text: str, status: int = 413) -> None:
        super().__init__(text)
        self.status = status


class NameLookupError(UvstackError):
    """The name of an object is not known (status 404), or nobody can be asked (503)."""

    def __init__(self, text: str, status: int = 404) -> None:
        super().__init__(text)
        self.status = status
