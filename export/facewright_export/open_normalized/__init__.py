"""Open weights of ``avatar_normalized``, made by this project from the open head and synthetic people.

A person is 192 independent factors, each ~ N(0, 1): the open head's 160 identity coefficients and 32 of their
look (`facewright_export.open_normalized.looks`). A code w says them, and from w the generator makes UV maps:
offsets that are the head model's own, and an albedo by a small StyleGAN2 that was trained on synthetic
people's skins. No photo of a person takes part; photos of people validate.
"""
