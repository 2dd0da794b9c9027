"""Exported gradients beside autograd, at the published sizes."""
