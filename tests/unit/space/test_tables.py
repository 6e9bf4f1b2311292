"""Tables of conditions: their states leave what the condition leaves, and equal ones are one."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from framework.space.tables import FAILS, HOLDS, Table


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 1000))
def test_the_last_state_says_whether_the_condition_holds(lengths: list[int], seed: int) -> None:
    rows = list(itertools.product(*map(range, lengths)))
    chances = random.Random(seed)
    holding = {row for row in rows if chances.random() < 0.5}
    table = Table(range(len(lengths)), lengths, lambda row: row in holding)
    for row in rows:
        state = table.top
        for option in row:
            state = table.after(state, option)
        assert state == (HOLDS if row in holding else FAILS)


def test_beginnings_that_leave_the_same_open_share_a_state() -> None:
    table = Table((0, 1), (6, 6), lambda row: sum(row) % 2 == 0)
    assert len({table.after(table.top, option) for option in range(6)}) == 2
    assert table.edges(table.top) == (0, 1, 2, 3, 4, 5)
    product = Table((0, 1), (100, 100), lambda row: row[0] * row[1] < 200)
    assert product.after(product.top, 2) == HOLDS
    assert product.edges(product.top)[:3] == (0, 3, 4)


def test_a_condition_says_nothing_where_one_of_its_axes_has_no_option() -> None:
    table = Table((0, 1), (2, 2), lambda row: False)
    assert table.after(table.after(table.top, 1), None) == HOLDS
    assert table.after(table.top, None) == HOLDS
    assert table.after(table.after(table.top, 1), 0) == FAILS
