"""Converts the TensorFlow Lite networks of the mediapipe wheel to ONNX, without TensorFlow.

The wheel is read as data; nothing of it is installed or imported. The converted graphs are NCHW, have a
dynamic batch and give names in words to their inputs and outputs.
"""
