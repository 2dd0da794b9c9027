"""The texture: bake, layers, completion, eyes, fine detail, encoding."""
