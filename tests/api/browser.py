"""A real browser on the real service: what the tests of the page share."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from prediction_api.__main__ import open_listener
from prediction_api.door_protocol import DoorProtocol
from prediction_api.main import create_app
from prediction_api.settings import Settings

# set before each page's own scripts: what the content policy refused
_WATCH = "document.addEventListener('securitypolicyviolation', (event) => console.error('policy: ' + event.blockedURI))"
_CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def launched_browser() -> Iterator[Browser]:
    """Headless Chromium; skips where there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _CANDIDATES)), None)
    if found is None:
        pytest.skip("no Chromium on PATH and CHROMIUM is not set; on Debian: apt-get install chromium")
    # a browser that runs as root needs this; what it opens here is only our own page
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The running service; gives its address."""
    listener = open_listener(settings)
    config = uvicorn.Config(create_app(settings), http=DoorProtocol, ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive(), "the service ended at its start"
        assert time.monotonic() < deadline, "the service did not start"
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@dataclass
class Watched:
    """A page, and everything that its console called an error, what the content policy refused included."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(_WATCH)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        # an answer that refuses is part of the service's language, and the browser calls each one an error
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.errors.append(message.text)


def look_again(page: Page) -> None:
    """Lets the page ask the service now, and not only after its few seconds."""
    page.clock.fast_forward(3_000)


def drop(page: Page, name: str, text: str) -> None:
    """Drops a file from the desktop."""
    make = "([name, text]) => { const data = new DataTransfer(); data.items.add(new File([text], name)); return data; }"
    page.dispatch_event("#drop", "drop", {"dataTransfer": page.evaluate_handle(make, [name, text])})


def contrasts_too_low(page: Page) -> list[str]:
    """Texts whose contrast with what is behind them is under WCAG 2.2's 4.5 to 1, or 3 to 1 where they are large."""
    found: list[str] = page.evaluate(_CONTRAST)
    return found


_CONTRAST = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data);
    const own = String(element.value ?? texts.join("")).trim().slice(0, 40);
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [one, other] = [luminance(style.color), luminance(behind(element))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < (large ? 3 : 4.5)) low.push(`${element.tagName} ${own}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""
