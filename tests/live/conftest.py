"""Feeds are tested through both clients: quickly through the one that is chosen by itself, slowly through the other."""

import pytest

from hftgym.live import connection, feed

BOTH = ("test_connection", "test_binance_feed", "test_depth_feed", "test_coinbase_feed", "test_session_faults")


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__.rsplit(".", 1)[-1] in BOTH:
        clients = ["chosen", pytest.param("websockets", marks=pytest.mark.slow)]
        metafunc.parametrize("client", clients, indirect=True)


@pytest.fixture(autouse=True)
def client(request, monkeypatch):
    """Opens connections through websockets where that is asked for, whatever is installed."""
    if getattr(request, "param", "chosen") == "websockets":
        monkeypatch.setattr(feed, "open_connection", connection.open_usual)
