"""Shape against truth: avatars of photos of heads that are known."""
