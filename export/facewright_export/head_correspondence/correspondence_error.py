"""Why no correspondence was written, and where it does not fit."""

from __future__ import annotations

from facewright_export.export_error import ExportError


class CorrespondenceError(ExportError):
    """The open head does not fit the source; nothing was written."""
