"""ONNX Runtime, the one place that loads it: whoever imports it from here has it silent (`facewright`)."""

import onnxruntime as ort

__all__ = ["ort"]
