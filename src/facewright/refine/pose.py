"""A camera's rotation and translation as six numbers per step: what Adam moves."""

from __future__ import annotations

from typing import Any

import numpy as np

from facewright.core.arrays import Array


def turned_pose(xp: Any, pose: Array, rotation: Array, translation: Array) -> Array:
    """``[exp([ω]×) R | t + d]``: the head turned about its own origin by ω in camera axes, then moved by d.

    Args:
        xp: NumPy or CuPy.
        pose: f32 ``[B, 3, 4]``, ``[R | t]``.
        rotation: f32 ``[B, 3]``, ω, radians.
        translation: f32 ``[B, 3]``, d, metres.

    Returns:
        f32 ``[B, 3, 4]``. Rodrigues' formula; Murray, Li and Sastry 1994, eq. 2.14.
    """
    angle = xp.sqrt((rotation * rotation).sum(axis=1))[:, None, None]
    x, y, z = rotation.T
    zero = xp.zeros_like(x)
    cross = xp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    first = xp.sinc(angle / np.pi) * cross
    second = 0.5 * xp.sinc(angle / (2 * np.pi)) ** 2 * (cross @ cross)
    turn = xp.eye(3, dtype=np.float32) + first + second
    moved = xp.concatenate([turn @ pose[:, :, :3], (pose[:, :, 3] + translation)[:, :, None]], axis=2)
    array: Array = moved.astype(np.float32)
    return array


def rotation_gradient(xp: Any, pose: Array, grad_pose: Array) -> Array:
    """Gradient f32 ``[B, 3]`` by ω at 0 of a loss whose gradient by ``[R | t]`` is ``grad_pose``
    ``[B, 3, 4]``: ``Σ_k r_k × g_k`` over the columns of R and of its gradient, as ``∂R/∂ω_i = [e_i]× R``.
    """
    crosses = xp.cross(pose[:, :, :3], grad_pose[:, :, :3], axis=1)
    gradient: Array = xp.ascontiguousarray(crosses.sum(axis=2), np.float32)
    return gradient
