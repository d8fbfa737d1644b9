import random

from hftgym.tape.book import Book


def test_the_touch_is_the_best_of_all_levels_and_nothing_piles_up():
    rng, book, true = random.Random(0), Book(), {+1: {}, -1: {}}
    for i in range(50_000):
        side = rng.choice((+1, -1))
        price, size = (rng.randrange(1, 400) + 400 * (side < 0)) / 4, rng.choice((0.0, 0.0, 1.5, 2.5))
        book.set(side, price, size)
        true[side][price] = size
        if size == 0:
            del true[side][price]
        if i % 50 == 0 and true[+1] and true[-1]:
            bid, ask = max(true[+1]), min(true[-1])
            assert book.touch() == (bid, true[+1][bid], ask, true[-1][ask])
    book.set(+1, 1_000.0, 1.0)  # as long as it is best, levels behind it come and go unseen
    for i in range(50_000):
        book.set(+1, float(i % 7), float(i // 7 % 2))
    assert max(len(side._heap) for side in book._sides.values()) < 3_000
