"""Real orders: a common core (`base`, `desk`, `orders`) and one thin adapter per library (`ccxt`, `alpaca`, `ib`)."""
