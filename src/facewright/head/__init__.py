"""The head model and its anatomy: eyeballs, lips, mouth, hairline, occlusion."""
