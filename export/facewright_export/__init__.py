"""Open-asset builders, networks of published systems, their export to ONNX and TensorRT."""

# Before polygraphy and torch can load ONNX Runtime by themselves: it silences that.
import facewright  # noqa: F401
