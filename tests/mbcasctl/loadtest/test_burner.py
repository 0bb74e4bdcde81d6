import time

import pytest

from mbcasctl.loadtest.burner import PIECE_S, Burner


def test_a_burn_costs_the_cpu_time_that_it_was_given():
    burner = Burner()
    began_s = time.thread_time()

    burnt_s = burner.burn(0.03)

    # At most one piece more; a piece may take several times its usual time on a busy machine.
    assert 0.03 <= burnt_s < 0.03 + 20 * PIECE_S
    assert time.thread_time() - began_s == pytest.approx(burnt_s, abs=0.002)


def test_nothing_to_burn_burns_nothing():
    assert Burner().burn(0) == 0
