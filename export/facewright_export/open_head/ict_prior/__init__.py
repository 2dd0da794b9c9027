"""The shape prior of ICT-FaceKit on the open head: reading it, registering the open head to it, carrying it
over. ``python -m facewright_export.open_head.ict_prior FOLDER`` writes ``prior.npz``; ``prior.py`` reads
that.
"""
