"""One browser for all tests of the pages, the services behind them, and what is done beyond typing."""

from collections.abc import Iterator

import pytest
from chromium import launched
from model_files import regression_model
from playwright.sync_api import Browser, Page, expect
from prediction_api.settings import Settings
from registry_server import FakeRegistry, running_registry
from service_thread import serving, settings_for


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched() as started:
        yield started


@pytest.fixture
def address(settings: Settings) -> Iterator[str]:
    """A service of the test's own; the test gives its registry a model."""
    with serving(settings) as url:
        yield url


@pytest.fixture(scope="session")
def wine_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One service with the wine model, for all tests that only ask."""
    with running_registry() as registry:
        registry.add(regression_model())
        with serving(settings_for(registry, tmp_path_factory.mktemp("wine"))) as url:
            yield url


@pytest.fixture
def wine(wine_address: str, page: Page) -> Page:
    """The page with the wine model's form."""
    return with_form(page, wine_address)


@pytest.fixture
def own_wine(registry: FakeRegistry, address: str, page: Page) -> Page:
    """The same on a service of the test's own."""
    registry.add(regression_model())
    return with_form(page, address)


def with_form(page: Page, address: str) -> Page:
    page.goto(f"{address}/predict-form")
    expect(page.get_by_role("heading", name="Predict quality")).to_be_visible()
    return page


def look_again(page: Page, times: int = 0) -> None:
    """Lets the page ask the service now instead of after its few seconds; or several times, each with an answer."""
    if not times:
        page.clock.fast_forward(3_000)
    for _ in range(times):
        with page.expect_response("**/readyz"):
            page.clock.fast_forward(3_000)


def drop(page: Page, name: str, text: str) -> None:
    """Drops a file from the desktop."""
    make = "([name, text]) => { const data = new DataTransfer(); data.items.add(new File([text], name)); return data; }"
    page.dispatch_event("#drop", "drop", {"dataTransfer": page.evaluate_handle(make, [name, text])})
