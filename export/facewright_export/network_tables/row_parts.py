"""What rows of several pipelines share."""

from __future__ import annotations

from functools import partial
from typing import Final

from facewright_export.checkpoints.flame import import_flame
from facewright_export.network import Example, Input, Network
from facewright_export.networks.flame import Flame
from facewright_export.onnx.graph_surgery import PixelNormalisation
from facewright_export.parity.parity import vertex_millimetres
from facewright_export.parity.parity_gates import gate
from facewright_export.stand_in_models import flame_stand_in

ZERO_TO_ONE: Final = PixelNormalisation((0.0,) * 3, (255.0,) * 3)
#: Normalising to unit length: a sum of squares over the embedding, and the 1e-24 that keeps it from 0.
UNIT_LENGTH: Final = ("graph/*",)
#: Networks that make a mesh compute in float32 in narrower files too: fp16 has steps of 0.06 mm at 0.1 m and
#: bf16 of 0.5 mm, which a mesh shows as a grain, and their work is little beside that of what feeds them.
WHOLE: Final = ("*",)


def image(side: int) -> Input:
    """A square photo of ``side`` × ``side`` pixels, bytes."""
    return Input("FACE_IMAGE", (side, side, 3), Example.PIXELS)


def flame_head(name: str, identities: int) -> Network:
    """FLAME with its first ``identities`` and 50 expressions, which the regressors of both pipelines give."""
    return Network(
        name=name,
        build=lambda: Flame(flame_stand_in(), identities, expressions=50),
        load=partial(import_flame, identities=identities, expressions=50),
        files=("generic_model.pkl",),
        inputs=(
            Input("IDENTITY", (identities,), Example.NORMAL),
            Input("EXPRESSION", (50,), Example.NORMAL),
            Input("POSE", (15,), Example.SMALL),
        ),
        gates={
            "VERTICES": gate(vertex_millimetres(), 0.001, 0.001, 0.001),
            "JOINTS": gate(vertex_millimetres(), 0.001, 0.001, 0.001),
        },
        source="Li et al. 2017, FLAME, section 3",
        islands=WHOLE,
        kept=("*",),
    )
