"""The software renderer and the preview sheet."""
