"""Chromium, headless: the one that is there, or one installed once, or a reason why not."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
LONGEST = 600  # seconds for an installation


def launched():
    """Return playwright, started, and a browser of it; skip the test where there is none."""
    api = _api()
    if api is None:
        pytest.skip("playwright is not installed and could not be: pip install playwright")
    playwright = api.sync_playwright().start()
    program = _program(playwright.chromium.executable_path)
    if program is None:
        playwright.stop()
        pytest.skip("no Chromium found, none could be installed: name one in CLEW_CHROMIUM")
    return playwright, playwright.chromium.launch(
        executable_path=program, args=["--no-sandbox", "--disable-gpu"]
    )


@cache
def _api():
    try:
        return importlib.import_module("playwright.sync_api")
    except ImportError:
        if not _ran([sys.executable, "-m", "pip", "install", "--quiet", "playwright"]):
            return None
        importlib.invalidate_caches()
        return importlib.import_module("playwright.sync_api")


@cache
def _program(own):
    found = _found(own)
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        _ran(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "chromium"])
        found = _found(own)
    return found


def _found(own):
    named = os.environ.get("CLEW_CHROMIUM")
    paths = [named, *map(shutil.which, NAMES), own]
    return next((path for path in paths if path and Path(path).exists()), None)


def _ran(command):
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
