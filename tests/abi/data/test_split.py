from __future__ import annotations

import numpy as np
import pytest

from abi.data.split import roles, splitmix64, uniform
from abi.problem import Split


def test_splitmix64_gives_the_published_outputs() -> None:
    # the first outputs for seed 1234567, as in Vigna's reference implementation; and for seed 0
    assert splitmix64(np.arange(3), 1234567).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(np.arange(2), 0).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_roles_do_not_depend_on_the_other_rows_or_their_order() -> None:
    split = Split(seed=3, validation=0.15, test=0.2)
    whole = roles(np.arange(1000), split)
    order = np.random.default_rng(0).permutation(1000)
    assert (roles(order, split) == whole[order]).all()
    assert (np.concatenate([roles(np.arange(400), split), roles(np.arange(400, 1000), split)]) == whole).all()


@pytest.mark.parametrize(("validation", "test"), [(0.15, 0.2), (0.0, 0.2), (0.3, 0.0), (0.0, 0.0)])
def test_shares_are_as_asked(validation: float, test: float) -> None:
    found = roles(np.arange(200_000), Split(seed=1, validation=validation, test=test))
    shares = [float((found == role).mean()) for role in range(3)]
    expected = [(1 - test) * (1 - validation), (1 - test) * validation, test]
    assert shares == pytest.approx(expected, abs=0.005)  # over four standard errors


def test_test_rows_do_not_depend_on_the_validation_share() -> None:
    one, other = (roles(np.arange(5000), Split(seed=1, validation=v, test=0.2)) == 2 for v in (0.1, 0.5))
    assert (one == other).all()


def test_seeds_are_unrelated() -> None:
    one, other = (uniform(np.arange(20_000), seed) for seed in (0, 1))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
