"""The front door: what the world talks to. Triton stands behind it, where nobody else reaches it."""
