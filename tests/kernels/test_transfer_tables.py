"""The sRGB curve both ways, and tables that a device keeps."""

from __future__ import annotations

import numpy as np

from facewright_kernels import texture_sample
from facewright_kernels._runtime import transfer_tables
from facewright_kernels._runtime.transfer_tables import CODE_COUNT, byte_decoding, srgb_encoding, table_beside


def test_byte_decoding_is_the_standard_curve():
    np.testing.assert_allclose(
        byte_decoding(True)[[0, 10, 11, 188, 255]], [0, 0.00303527, 0.00334654, 0.50288645, 1], rtol=1e-5
    )


def test_every_byte_comes_back_from_linear_light():
    """The nearest of the table's entries; its steps of 0.4 codes near black stay within the byte."""
    nearest = (byte_decoding(True) * (CODE_COUNT - 1) + 0.5).astype(int)
    np.testing.assert_array_equal(srgb_encoding()[nearest], np.arange(256))


def test_a_table_is_there_for_every_stream(gpu_device, monkeypatch):
    monkeypatch.setattr(transfer_tables, "_table_on_gpu", transfer_tables._table_on_gpu.__wrapped__)
    xp = gpu_device.xp
    beside = gpu_device.send(np.zeros(1, np.float32))
    with xp.cuda.Stream(non_blocking=True):
        table = table_beside(beside, byte_decoding, True)
    with xp.cuda.Stream(non_blocking=True):
        np.testing.assert_array_equal(gpu_device.fetch(table), byte_decoding(True))


def test_a_device_keeps_its_tables(device):
    beside = device.send(np.zeros(1, np.float32))
    first = table_beside(beside, byte_decoding, True)
    assert table_beside(beside, byte_decoding, True) is first
    np.testing.assert_array_equal(device.fetch(first), byte_decoding(True))
    assert device.fetch(table_beside(beside, byte_decoding, False))[255] == 1
    assert device.fetch(table_beside(beside, srgb_encoding)).dtype == np.uint8
    texture = device.send(np.full((1, 1, 1, 1), 188, np.uint8))
    uv = device.send(np.full((1, 1, 2), 0.5, np.float32))
    seen = [device.fetch(texture_sample(texture, uv, srgb=srgb)).item() for srgb in (True, False)]
    np.testing.assert_allclose(seen, [0.50288645, 188 / 255], rtol=1e-6)
