"""Lips that stand apart in a neutral are closed; closed ones, and everything else, stay."""

from __future__ import annotations

import numpy as np
import pytest

from facewright.head.head_model import HeadModel
from facewright.head.lip_seal import LipSeal, LipSealSettings


@pytest.fixture(scope="module")
def seal(open_head: HeadModel) -> LipSeal:
    return LipSeal(open_head, LipSealSettings())


def test_a_slit_is_closed(seal: LipSeal, open_head: HeadModel) -> None:
    parted = open_head.vertices_mean.copy()
    names = list(open_head.expression_names)
    parted += 0.08 * open_head.expression_basis[names.index("jawOpen")]
    rest = open_head.vertices_mean[seal.upper, 1] - open_head.vertices_mean[seal.lower, 1]
    middle = np.abs(open_head.vertices_mean[seal.upper, 0]) < 0.012

    def slit(vertices: np.ndarray) -> np.ndarray:
        return (vertices[seal.upper, 1] - vertices[seal.lower, 1] - rest)[middle]

    before = slit(parted)
    assert before.mean() > 0.0006
    seal.close(parted)
    assert np.abs(slit(parted)).max() < 0.0005


def test_closed_lips_stay(seal: LipSeal, open_head: HeadModel) -> None:
    closed = open_head.vertices_mean.copy()
    seal.close(closed)
    assert np.abs(closed - open_head.vertices_mean).max() < 0.0002


def test_only_lips_move(seal: LipSeal, open_head: HeadModel) -> None:
    parted = open_head.vertices_mean.copy()
    names = list(open_head.expression_names)
    parted += 0.1 * open_head.expression_basis[names.index("jawOpen")]
    before = parted.copy()
    seal.close(parted)
    moved = np.abs(parted - before).max(axis=1) > 0
    assert moved.any()
    mouth = open_head.region("lips") + open_head.region("mouth_inside")
    assert np.all(mouth[moved] > 0)
