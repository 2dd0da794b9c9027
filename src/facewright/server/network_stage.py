"""The address that exported repositories import; it lives in ``facewright.adapter``."""

from facewright.adapter.network_stage import TritonPythonModel

__all__ = ["TritonPythonModel"]
