"""The front door: what the world talks to. Triton stands behind it, where nobody else reaches it."""

import os
from typing import Final

#: A supervisor forks to start Triton, and gRPC would look after its threads in the child, in which nothing of
#: it is ever used. Read when gRPC is first used.
_FORKS: Final = "GRPC_ENABLE_FORK_SUPPORT"
os.environ.setdefault(_FORKS, "0")
