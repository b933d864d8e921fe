"""A headless Chromium of this machine, for pictures of the page and for its tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

NAMES = ("chromium", "chromium-browser", "google-chrome")
# It looks for nothing on the network.
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class BrowserMissing(Exception):
    """No browser with a driver; the message names the packages to install."""


@contextmanager
def headless_chromium(width: int, height: int, *, dark: bool = False) -> Iterator[Chrome]:
    """A window of this size in CSS pixels. Raises BrowserMissing."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        raise BrowserMissing("no Chromium with its driver here: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        for flag in [*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]:
            options.add_argument(flag)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        window = Chrome(options, ChromeService(driver))
        try:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            yield window
        finally:
            window.quit()
