"""A page of ours in a real browser: it fits, nothing is missing, nothing is fetched, nothing is complained about."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


@contextmanager
def opened(page: Path, width: int, scheme: str) -> Iterator[Any]:
    """The page, looked over; what the body does with it may not be complained about either."""
    sync_api = pytest.importorskip("playwright.sync_api")
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser_path is None:
        assert not os.environ.get("FORETHOUGHT_NEEDS_BROWSER"), "no chromium here, and this machine was to have one"
        pytest.skip("needs Chromium: apt-get install chromium")
    told: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(CHROMIUM))
        view = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        view.on("console", lambda message: told.append(message.text))
        view.on("pageerror", lambda error: told.append(str(error)))
        view.on("requestfailed", lambda request: told.append(request.url[:80]))
        view.goto(page.as_uri())
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        assert view.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        for name in re.findall(r'<section id="([\w-]+)"', page.read_text()):
            assert view.locator(f"#{name} h2").is_visible()
            assert view.locator(f'nav a[href="#{name}"]').count() == 1
        paper = view.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(20, 23, 30)") is (scheme == "dark")
        yield view
        browser.close()
    assert told == []
