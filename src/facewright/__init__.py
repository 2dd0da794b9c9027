"""One photo in, one game-ready 3D head avatar out."""

import os

# ONNX Runtime reports its use, with the names of model files, to its maker: it queues events below the user's
# cache, and looks up and calls their collector. It reads this variable once, when it is loaded, and
# `disable_telemetry_events()` comes too late for the queue. Set here, before any module of the package can
# load it, and for every process that is started from here; whatever it said before.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
