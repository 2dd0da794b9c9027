"""Runs the model.onnx beside it; written by facewright export."""

from facewright.server.network_stage import TritonPythonModel as TritonPythonModel
