"""One browser for all tests of the page, a tab for each, and the service behind it."""

from collections.abc import Iterator

import pytest
from browser import Watched, launched_browser, serving
from model_files import regression_model
from playwright.sync_api import Browser, Page, expect
from prediction_api.settings import Settings
from registry_server import FakeRegistry

DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched_browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab. Whatever the test does: no script fails in it, and the content policy refuses nothing."""
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    watched = Watched(context.new_page())
    watched.page.set_default_timeout(10_000)
    yield watched.page
    context.close()
    assert watched.errors == []


@pytest.fixture
def address(settings: Settings) -> Iterator[str]:
    """The running service; a test gives its registry a model."""
    with serving(settings) as url:
        yield url


@pytest.fixture
def wine(registry: FakeRegistry, address: str, page: Page) -> Page:
    """The page with the wine model's form."""
    registry.add(regression_model())
    page.goto(address)
    expect(page.get_by_role("heading", name="Predict quality")).to_be_visible()
    return page
