"""Every exported network: ONNX Runtime beside torch, each beside its roofline."""
