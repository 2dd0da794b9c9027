"""Small networks for refinement that need nobody's licence, trained by this project on the open head.

They stand in for published checkpoints where there are none: see `facewright_export.demo.generator` for
what they are and what they are not.
"""
