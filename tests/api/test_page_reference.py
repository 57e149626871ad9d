"""The page at /docs, used in a real browser as a person would: reading what a call takes, and sending it."""

import json
import re

import httpx
import pytest
from chromium import hindrances, tab_to
from conftest import wait_until
from model_files import regression_contract, regression_model
from playwright.sync_api import Browser, Locator, Page, expect
from prediction_api.settings import Settings
from prediction_api.web.reference import reference_page
from pydantic import SecretStr
from registry_server import FakeRegistry
from service_thread import serving

KEY = "0f9a6c1e5d7b48e2a3c0"
EVIL = "<img src=x onerror=\"console.error('script ran')\">"


@pytest.fixture
def docs(wine_address: str, page: Page) -> Page:
    """The page of the service with the wine model."""
    wait_until(lambda: httpx.get(f"{wine_address}/readyz", trust_env=False, timeout=60).is_success)
    page.goto(f"{wine_address}/docs")
    return page


def call(page: Page, name: str, form: str = "Try it") -> Locator:
    """The section of a call, with its form open."""
    section = page.get_by_role("region", name=name, exact=True)
    section.get_by_text(form, exact=True).click()
    return section


def test_a_prediction_is_sent_with_the_keyboard_alone(docs: Page) -> None:
    docs.get_by_role("region", name="POST /predict", exact=True).get_by_text("Try it").focus()
    docs.keyboard.press("Enter")
    tab_to(docs, "Body")
    tab_to(docs, "Send")
    docs.keyboard.press("Enter")
    section = docs.get_by_role("region", name="POST /predict", exact=True)
    expect(section.get_by_role("status")).to_have_text(re.compile(r"^200 OK · \d+ ms · application/json$"))
    expect(section.get_by_label("Answer")).to_contain_text('"prediction": 1')
    assert '\n  "model": {\n    "name": "wine-quality"' in section.get_by_label("Answer").inner_text()


def test_a_refused_call_shows_its_status_and_problem(docs: Page) -> None:
    section = call(docs, "POST /predict")
    section.get_by_label("Body").fill('{"alcohol": "much"}')
    section.get_by_role("button", name="Send").click()
    expect(section.get_by_role("status")).to_contain_text("422")
    expect(section.get_by_label("Answer")).to_contain_text("/docs#error-wrong-content")


def test_the_command_is_the_call_that_the_form_sends(docs: Page) -> None:
    docs.context.grant_permissions(["clipboard-read", "clipboard-write"])
    section = call(docs, "POST /predict/batch", "Try it as text/csv")
    form = section.locator("form").nth(1)
    form.get_by_label("skip_invalid").select_option("true")
    form.get_by_label("Body").fill("fixed acidity,alcohol,type\n7,9,it's\n7,9,red\n")
    form.get_by_role("button", name="Copy the command").click()
    expect(form.get_by_role("button", name="Copied")).to_be_visible()
    command = docs.evaluate("navigator.clipboard.readText()")
    address = docs.url.removesuffix("/docs")
    assert command == (
        f"curl -X POST '{address}/predict/batch?skip_invalid=true' -H 'Content-Type: text/csv' "
        "--data-binary 'fixed acidity,alcohol,type\n7,9,it'\\''s\n7,9,red\n'"
    )
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("status")).to_contain_text("200 OK")
    form.get_by_label("File").set_input_files({"name": "my rows.csv", "mimeType": "text/csv", "buffer": b"nothing\n"})
    expect(section.locator(".command").nth(1)).to_contain_text("--data-binary '@my rows.csv'")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("status")).to_contain_text("422")


def test_parameters_have_fields_with_their_values(docs: Page) -> None:
    section = call(docs, "GET /v2/models/{name}")
    expect(section.get_by_label("name").locator("option")).to_have_text(["wine-quality"])
    section.get_by_role("button", name="Send").click()
    expect(section.get_by_label("Answer")).to_contain_text('"fixed acidity"')
    expect(section.locator(".command")).to_contain_text("/v2/models/wine-quality")


def test_no_text_of_an_answer_becomes_markup(registry: FakeRegistry, address: str, page: Page) -> None:
    contract = regression_contract()
    contract["features"][2] |= {"categories": [EVIL, "red", "white"], "example": EVIL}
    registry.add(regression_model(contract=contract))
    wait_until(lambda: httpx.get(f"{address}/readyz", trust_env=False, timeout=60).is_success)
    page.goto(f"{address}/docs")
    section = call(page, "GET /model")
    section.get_by_role("button", name="Send").click()
    expect(section.get_by_label("Answer")).to_contain_text(json.dumps(EVIL))
    assert page.locator("img").count() == 0


def test_with_keys_the_page_asks_for_one_and_keeps_it_to_itself(
    registry: FakeRegistry, settings: Settings, page: Page
) -> None:
    registry.add(regression_model())
    with serving(settings.model_copy(update={"api_key": SecretStr(KEY)})) as url:
        wait_until(lambda: httpx.get(f"{url}/readyz", trust_env=False, timeout=60).is_success)
        refused = httpx.get(f"{url}/docs", trust_env=False, timeout=60)
        assert (refused.status_code, "acidity" in refused.text, "curl" in refused.text) == (401, False, False)
        page.goto(f"{url}/docs#error-wrong-key")
        page.get_by_label("API key").fill("another key, not the right one")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The service did not take this key.")
        page.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        expect(page.locator("#error-wrong-key")).to_be_in_viewport()
        expect(page.locator("#key")).to_be_hidden()
        section = call(page, "POST /predict")
        expect(section.locator(".command")).to_contain_text('-H "X-API-Key: $API_KEY"')
        section.get_by_role("button", name="Send").click()
        expect(section.get_by_role("status")).to_contain_text("200 OK")
        assert KEY not in page.content()


def test_without_a_script_the_page_is_a_reference(browser: Browser, wine_address: str) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"{wine_address}/docs")
    section = page.get_by_role("region", name="POST /predict", exact=True)
    expect(section.locator(".command")).to_contain_text(f"curl -X POST {wine_address}/predict -H")
    expect(section.get_by_text("Try it")).to_be_hidden()
    section.get_by_role("link", name="Features of wine-quality").click()
    expect(page.get_by_role("heading", name="Features of wine-quality")).to_be_in_viewport()
    page.close()


def test_everyone_can_use_it(docs: Page) -> None:
    for name in ("POST /predict", "GET /v2/models/{name}"):
        section = call(docs, name)
        section.get_by_role("button", name="Send").click()
        expect(section.get_by_role("status")).to_contain_text("200 OK")
    assert hindrances(docs) == []


# ---- schemas as tables ----------------------------------------------------------------------------------------------

NOTES = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/components/schemas/Notes"}}]}
NODE = {
    "description": "A part of a tree.",
    "type": "object",
    "required": ["kind", "below"],
    "properties": {
        "kind": {"enum": ["leaf", "branch"], "description": "What `it` is."},
        "below": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}, "maxItems": 5},
        "weight": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]},
        "label": {"anyOf": [{"type": "string"}, {"type": "integer"}], "default": "none"},
        "place": {"type": "object", "properties": {"<b>": {"type": "string", "pattern": "^<i>", "maxLength": 9}}},
        "tags": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "notes": {"$ref": "#/components/schemas/Notes"},
    },
}
FIELDS = {
    "kind": ['one of "leaf", "branch"', "required", "What it is."],
    "below": ["list of object, at most 5 items", "required", ""],
    "weight": ["number, at least 0 or null", "optional", ""],
    "label": ["string or integer", 'default "none"', ""],
    "place": ["object", "optional", ""],
    "place.<b>": ["string, at most 9 characters, matches ^<i>", "optional", ""],
    "tags": ["object, each value boolean", "optional", ""],
    "notes": ["string or list of Notes", "optional", ""],
}


@pytest.fixture
def shown(page: Page) -> Locator:
    """The table of a body that holds itself, and every kind of field."""
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}
    one = {"operationId": "grow", "requestBody": body, "responses": {"204": {}}}
    components = {"schemas": {"Node": NODE, "Notes": NOTES}}
    schema = {"info": {"title": "Trees"}, "paths": {"/grow": {"post": one}}, "components": components}
    page.set_content(reference_page(schema, "http://trees", links="", home="."))
    return page.get_by_role("region", name="POST /grow")


def test_a_schema_is_shown_as_a_table_of_its_fields(shown: Locator) -> None:
    rows = shown.locator("tbody tr").all()
    cells = [[cell.inner_text() for cell in row.locator("th, td").all()] for row in rows]
    assert {name: found for name, *found in cells} == FIELDS
    expect(shown.locator(".command")).to_contain_text("""--data-binary '{"kind": "leaf", "below": []}'""")
    expect(shown.get_by_text("A part of a tree.")).to_be_visible()
    expect(shown.get_by_text("Answer 204: no body")).to_be_visible()
