"""A real Chromium for tests, driven by Playwright; it reports what a careful reader would mind.

    with running_browser() as browser, reader(browser, width=360, dark=True) as page:
        page.goto(url)

Playwright's sync interface keeps an event loop running in its thread: use it in modules without
async tests, and let the browser end with the module. Each step has a deadline (`tests.lab.steps`).
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
)

from tests.lab.steps import close, kill, running_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost"})

_LISTEN = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("violates the policy: " + event.violatedDirective + " " + event.blockedURI));
"""


def chromium_path() -> str:
    """The installed Chromium; Playwright's own downloads are never used."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise RuntimeError("Chromium is missing: apt-get install -y chromium")
    return found


@contextlib.contextmanager
def running_browser(*flags: str) -> Iterator[Browser]:
    """A Chromium with *flags* besides the usual ones; killed when it does not close in time."""
    with running_playwright() as playwright:
        others = set(psutil.Process().children(recursive=True))
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=[*FLAGS, *flags])
        started = set(psutil.Process().children(recursive=True)) - others
        try:
            yield browser
        finally:
            if not close(browser):
                kill(started)


@contextlib.contextmanager
def reader(
    browser: Browser,
    *,
    width: int = 1440,
    height: int = 900,
    dark: bool = False,
    scripts: bool = True,
    locale: str = "en-GB",
    touch: bool = False,
    still: bool = True,
    refused: Sequence[str] = (),
) -> Iterator[Page]:
    """A page in a browser of its own, watched as `watched` does."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
        reduced_motion="reduce" if still else "no-preference",
        has_touch=touch,
        locale=locale,
    )
    try:
        with watched(context, scripts=scripts, refused=refused) as page:
            yield page
    finally:
        close(context)


@contextlib.contextmanager
def watched(
    context: BrowserContext, *, scripts: bool = True, refused: Sequence[str] = ()
) -> Iterator[Page]:
    """A page of its own. At its end: no request left this machine, no policy was violated, no
    script failed; but for what holds one of *refused*, each of which the browser must have refused.
    """
    problems: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        # A status that a test asks for (a 403, a 503) is logged as an error as well.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            problems.append(message.text)

    def asked(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname not in LOCAL_HOSTS:
            problems.append(f"asked another host: {request.url}")

    page = context.new_page()
    try:
        if scripts:
            page.add_init_script(_LISTEN)
        page.on("console", heard)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", asked)
        yield page
    finally:
        close(page)
    missed = [part for part in refused if not any(part in problem for problem in problems)]
    others = [problem for problem in problems if not any(part in problem for part in refused)]
    if missed or others:
        raise AssertionError("\n".join([*others, *(f"was not refused: {part}" for part in missed)]))


def sideways_px(page: Page) -> int:
    """How far the page can be scrolled sideways: 0 is right."""
    overflow: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return overflow


def log_in(page: Page, base_url: str, key: str) -> None:
    """Logs in with an admin *key*, by the keyboard alone."""
    page.goto(f"{base_url}/login")
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{base_url}/")
