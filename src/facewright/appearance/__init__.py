"""What the photo shows of the head: view, skin, light, evidence, and how it spreads over the surface."""
