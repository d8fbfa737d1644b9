import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.tape.order import BEFORE_ALL, merge_order, received_ns
from tests.reference.tapes import START_NS, quotes_of, tapes, trades_of


def test_a_trade_comes_before_a_quote_of_the_same_time_and_a_clock_set_back_changes_nothing():
    quotes, trades = quotes_of([1, 5, 5, 3, 9]), trades_of([0, 5, 7, 2, 9])
    #                                                     t0 q1 t5 q5 q5 q3 t7 t2 t9 q9
    assert merge_order(quotes, trades).astype(int).tolist() == [1, 0, 1, 0, 0, 0, 1, 1, 1, 0]


@settings(max_examples=40)
@given(tapes(), st.sampled_from([BEFORE_ALL, START_NS + 2]))
def test_the_order_of_rows_is_the_stable_sort_by_time_of_receipt_and_kind(tape, since_ns):
    quotes, trades = tape.quotes, tape.trades

    def received(rows):
        clock, times = since_ns, []
        for local_ns in rows.local_ns.tolist():
            clock = max(clock, local_ns)
            times.append(clock)
        return times

    assert received_ns(quotes, since_ns=since_ns).tolist() == received(quotes)
    rows = [(t, 0) for t in received(trades)] + [(t, 1) for t in received(quotes)]
    assert merge_order(quotes, trades, since_ns=since_ns).tolist() == [kind == 0 for _, kind in sorted(rows)]


@settings(max_examples=40)
@given(tapes(), st.integers(1, 9))
def test_pieces_merged_one_after_the_other_give_the_order_of_the_whole(tape, rows):
    clock, orders = BEFORE_ALL, []
    for quotes, trades in tape.chunks(rows):
        orders.append(merge_order(quotes, trades, since_ns=clock))
        clock = max(clock, *quotes.local_ns.tolist(), *trades.local_ns.tolist())
    assert np.array_equal(np.concatenate(orders), merge_order(tape.quotes, tape.trades))
