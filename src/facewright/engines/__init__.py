"""Networks run: the ``Engine`` protocol, ONNX Runtime, TensorRT."""
