"""The front door: what the world talks to. Triton stands behind it, where nobody else reaches it."""

import os
from typing import Final

#: To listen at an address, gRPC asks its own resolver, which reads ``/etc/resolv.conf`` as if it were a name;
#: libc sees that it is none. Read when gRPC is imported.
_RESOLVER: Final = "GRPC_DNS_RESOLVER"
os.environ.setdefault(_RESOLVER, "native")
#: A supervisor forks to start Triton, and gRPC would look after its threads in the child, in which nothing of
#: it is ever used. Read when gRPC is first used.
_FORKS: Final = "GRPC_ENABLE_FORK_SUPPORT"
os.environ.setdefault(_FORKS, "0")
#: What gRPC logs of its own are strangers' mistakes, in their bytes. Read when gRPC is first used.
_WORDS: Final = "GRPC_VERBOSITY"
os.environ.setdefault(_WORDS, "NONE")
