"""Refinement: latents changed until the render matches the photo, without an autograd framework.

Normalized §3.3, eq. 2: `L = L_w + λ₁ LPIPS(I₀, I) + λ₂ L_id(I₀, I)`, minimised by Adam. I is the photo, I₀
the render of the generated head composed into it under the face mask. (The paper takes the identity of the
render alone; here both networks see I₀, so that hair and background do not tell the two apart.)

Networks run on engines that give values and gradients (`facewright.refine.networks`), the renderer is
kernels and their vector-Jacobian products (`facewright.refine.scene`), one iteration is
`facewright.refine.step`. The same code computes with NumPy on a CPU and with CuPy on a GPU; photos of a
batch do not influence each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from facewright.refine.history import Ended, Refinement
from facewright.refine.step import RefinementStep


def refine(
    step: RefinementStep,
    watch: Callable[[RefinementStep], Mapping[int, Ended]] = lambda _step: {},
) -> list[Refinement]:
    """All iterations of a batch.

    Args:
        step: before its first step.
        watch: called before every iteration; answers which photos to stop and why (a deadline that has come,
            a request that was cancelled). It may look at the losses and pictures so far.

    Returns:
        One result for each photo, the best so far where it was stopped.
    """
    with step.device.queue():
        while step.goes_on():
            for row, why in watch(step).items():
                step.history.stop(row, why)
            if step.goes_on():
                step.step()
        return step.history.results()
