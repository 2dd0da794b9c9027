"""Modules to ONNX files: export, lint, surgery, precision, metadata."""
