"""Landmarks to a head: Gauss-Newton, camera, gaze, priors, the corrective field."""
