"""TensorRT plans from exported ONNX files, on the GPU that serves them."""
