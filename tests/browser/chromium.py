"""The system's Chromium without a window, driven by Playwright: pages as users see them, offline.

Playwright's own browsers cannot be downloaded everywhere; Debian's package `chromium` can be had.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
VARIABLE = "KEEPGAIN_CHROMIUM"
FLAGS = ("--no-sandbox", "--disable-quic", "--disable-background-networking")
"""Root needs the first; with the others Chromium sends nothing of its own."""


def executable() -> str | None:
    """Chromium's path: what `VARIABLE` says, else the first found; None without one."""
    named = os.environ.get(VARIABLE)
    return named or next((p for n in NAMES if (p := shutil.which(n))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a new profile; skips the test if there is no Chromium."""
    path = executable()
    if path is None:
        pytest.skip(
            f"no Chromium found ({', '.join(NAMES)}; {VARIABLE} names another): "
            "`apt-get install chromium`"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser: Browser, *, width: int = 1400, height: int = 900) -> Page:
    """A page that never reaches beyond this machine: every other request fails, and is a fault of
    what asks for it only where a test says so."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.route(
        lambda url: not url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:", "about:")),
        lambda route: route.abort(),
    )
    return page
