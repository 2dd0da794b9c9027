"""``refine_latent`` and ``refine_latent_progress``: latents refined until the render matches the photo.

The loss is eq. 2 of the normalized paper; docs/refinement.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from facewright.core.options import Option
from facewright.pipelines.stages import Pipeline, Stage
from facewright.pipelines.twin import HEAD
from facewright_client import contract

REFINE_OPTIONS: Final[Mapping[str, Option]] = {
    "iterations": Option(int, 200, 1, 2000, meaning="steps of Adam"),
    "learning_rate": Option(float, 0.02, 1e-6, 1.0, meaning="largest step of a latent"),
    "warm_up": Option(float, 0.05, 0.0, 1.0, meaning="share of the iterations in which the rate rises"),
    "ramp_down": Option(float, 0.25, 0.0, 1.0, meaning="share of the iterations in which it falls to 0"),
    "latent_weight": Option(float, 0.02, 0.0, 1e4, meaning="weight of the distance from the start"),
    "perceptual_weight": Option(float, 1.0, 0.0, 1e4, meaning="lambda 1: weight of LPIPS"),
    "identity_weight": Option(float, 0.5, 0.0, 1e4, meaning="lambda 2: weight of the identity distance"),
    "optimize_camera": Option(bool, False, meaning="also turn and move the head"),
    "optimize_light": Option(bool, False, meaning="also change the light"),
    "patience": Option(
        int, 0, 0, 2000, meaning="stop after this many iterations without a better loss; 0: never"
    ),
    "latent_noise": Option(float, 0.0, 0.0, 1.0, meaning="deviation of the noise on the latents at first"),
    "seed": Option(int, 0, 0, 2**31 - 1, meaning="of that noise"),
    "deadline_ms": Option(
        int, 0, 0, 600000, meaning="answer with the best so far this long after the stage began; 0: never"
    ),
    "preview_every": Option(
        int, 10, 0, 2000, meaning="iterations between two pictures of the progress; 0: no pictures"
    ),
}

#: All of refinement's networks; there may be no identity pair.
GRAPHS: Final = tuple(
    f"{network}_{part}"
    for network, parts in (
        ("generator", ("forward", "backward")),
        ("perceptual", ("targets", "loss")),
        ("identity", ("targets", "loss")),
    )
    for part in parts
)

REFINE_LATENT: Final = Stage(
    "refine_latent",
    contract.REFINEMENT_INPUTS,
    contract.REFINEMENT_OUTPUTS,
    options=tuple(REFINE_OPTIONS),
    opens=True,
    runs="gpu",
    runs_networks=True,
    gpu_batch=32,
    # 200 iterations of 86 ms with the open networks: benchmarks/refinement.
    expected_s=17.0,
    weights=(HEAD,),
    graphs=GRAPHS,
)
#: The same with answers on the way; alone on the GPU, because each caller is told of its own iterations.
REFINE_LATENT_PROGRESS: Final = replace(
    REFINE_LATENT,
    name="refine_latent_progress",
    gives=(*contract.REFINEMENT_OUTPUTS, contract.REFINEMENT_PROGRESS, contract.REFINEMENT_PREVIEW),
    gpu_batch=1,
    streams=True,
)

REFINEMENT: Final = tuple(
    Pipeline(stage.name, (stage,), REFINE_OPTIONS, stage.takes, stage.gives, summary)
    for stage, summary in (
        (REFINE_LATENT, "Latents of a generator changed until its render matches the photo."),
        (REFINE_LATENT_PROGRESS, "The same, with an answer about every iteration; streaming gRPC."),
    )
)
