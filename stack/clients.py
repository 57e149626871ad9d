"""Clients of the running stack: at its own ports, or in production through its proxy, with login and keys."""

import json
import ssl

import httpx

from stack.airflow_client import Airflow
from stack.compose import Compose
from stack.errors import StepFailed
from stack.http_client import client
from stack.settings import Settings


def password(settings: Settings, compose: Compose | None) -> str:
    """Airflow's, made at its first start. Raises StepFailed where it never started."""
    if compose:
        return compose.password()
    try:
        made = json.loads((settings.var / "airflow" / "passwords.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StepFailed(
            "Airflow runs neither as a container nor here", "start it: `make up`, or `make run` in another terminal"
        ) from None
    return str(made["admin"])


def sign_in(settings: Settings, compose: Compose | None) -> Airflow:
    """Airflow, in production through the proxy."""
    if compose is None or not compose.has_proxy():
        return Airflow(settings.url("airflow"), password(settings, compose))
    login, authority = compose.proxy()
    return Airflow(f"{compose.site()}/airflow", password(settings, compose), ("admin", login), trusting(authority))


def service(settings: Settings, compose: Compose | None, name: str) -> httpx.Client:
    """The service `name` (api, rag or mlflow), in production through the proxy and with its key."""
    if compose is None or not compose.has_proxy():
        found = client(settings.url(name))
        if name == "api" and (key := settings.environment.get("API_KEY")):
            found.headers["X-API-Key"] = key
        return found
    login, authority = compose.proxy()
    found = client(f"{compose.site()}/{name}", trusting(authority))
    if name == "mlflow":
        found.auth = ("admin", login)
    else:
        keys = compose.run("exec", "-T", name, "cat", f"/run/secrets/{name}_keys")
        found.headers["Authorization"] = f"Bearer {keys.split()[0]}"
    return found


def trusting(authority: str) -> ssl.SSLContext:
    """Trusts what is signed by `authority` (PEM), too."""
    trust = ssl.create_default_context()
    trust.load_verify_locations(cadata=authority)
    return trust
