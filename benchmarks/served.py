"""The app in a process of its own, and the Chromium that opens it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
VIEWPORT = {"width": 1280, "height": 900}
# Puts what the page's components share, which is a module's, on the window, to be
# looked at.
SHARED = """document.addEventListener("DOMContentLoaded", async () => {
  const link = document.querySelector("link[rel=modulepreload][href$='/shared/hub.js']");
  if (link) window.regrain = (await import(link.href)).hub;
});"""


def start(
    command: Sequence[object], output: Path, **environment: str
) -> tuple[subprocess.Popen, str, float]:
    """Start the app and wait until it answers.

    Args:
        command: Arguments of Python.
        output: File for what the app writes.
        environment: Variables beside those of this process.

    Returns:
        Its process, its address, and the seconds until it answered.

    Raises:
        RuntimeError: It ended before it answered; the message is what it wrote.
    """
    port = _free_port()
    served = {"GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=os.environ | served | environment,
        stdout=output.open("w"),
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}"
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return process, url, time.monotonic() - began
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(output.read_text())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def chromium() -> dict[str, Any]:
    """Return how Playwright starts the Chromium of this machine."""
    found = None
    for name in ("chromium", "chromium-browser", "chromium-headless-shell"):
        found = found or shutil.which(name)
    return {
        "executable_path": found,
        "args": ["--no-sandbox", "--disable-dev-shm-usage"],
    }
