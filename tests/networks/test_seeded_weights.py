"""Seeded weights are a function of key and seed, of the stated scale."""

import numpy as np
import pytest

from facewright_export.seeded_weights import seeded_state_dict, seeded_uniform


def test_numbers_are_those_that_goldens_were_recorded_with() -> None:
    recorded = [-0.16661834716796875, -0.9865970611572266, -0.12347996234893799]
    np.testing.assert_array_equal(seeded_uniform((3,), "image", 0), np.float32(recorded))


def test_key_and_seed_decide_and_other_keys_do_not() -> None:
    alone = seeded_state_dict({"a.weight": (4, 5)}, 1)["a.weight"]
    among = seeded_state_dict({"b.weight": (7, 2), "a.weight": (4, 5)}, 1)["a.weight"]
    np.testing.assert_array_equal(alone, among)
    assert not np.array_equal(alone, seeded_state_dict({"a.weight": (4, 5)}, 2)["a.weight"])
    assert not np.array_equal(alone, seeded_state_dict({"c.weight": (4, 5)}, 1)["c.weight"])


@pytest.mark.parametrize(
    ("key", "shape", "low", "high", "deviation"),
    [
        ("conv.weight", (64, 32, 3, 3), -0.103, 0.103, 1 / np.sqrt(288)),
        ("bn.running_var", (20000,), 0.5, 1.5, 0.5 / np.sqrt(3)),
        ("bn.weight", (20000,), 0.5, 1.5, 0.5 / np.sqrt(3)),
        ("conv.bias", (20000,), -0.174, 0.174, 0.1),
        ("style.0.weight", (100, 100), -3.5, 3.5, 2.0),
    ],
)
def test_scale_follows_the_kind_of_key(
    key: str, shape: tuple[int, ...], low: float, high: float, deviation: float
) -> None:
    array = seeded_state_dict({key: shape}, 1, {"style.*": 2.0})[key]
    assert array.dtype == np.float32
    assert array.shape == shape
    assert low <= array.min() < array.max() <= high
    assert array.std() == pytest.approx(deviation, rel=0.03)


def test_counters_are_integers_and_scalars_are_arrays() -> None:
    arrays = seeded_state_dict({"bn.num_batches_tracked": (), "noise_strength": ()}, 1)
    assert arrays["bn.num_batches_tracked"].dtype == np.int64
    assert arrays["noise_strength"].shape == ()
    assert isinstance(arrays["noise_strength"], np.ndarray)
