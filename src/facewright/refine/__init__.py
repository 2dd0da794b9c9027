"""Latents refined until the render matches the photo."""
