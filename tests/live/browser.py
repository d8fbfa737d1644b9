"""A real browser, without a screen and without a network."""

import contextlib
import os
import shutil

import pytest

_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextlib.contextmanager
def page_of(*, requests):
    """Yield a page of headless Chromium; every address that it asks for is appended to `requests`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the dashboard's tests need playwright")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium: install it, or name it in CHROMIUM")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 860})
            page.on("request", lambda request: requests.append(request.url))
            page.on("websocket", lambda socket: requests.append(socket.url))
            yield page
        finally:
            browser.close()
