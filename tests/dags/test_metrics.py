"""Airflow's own metrics, as the alerts and the dashboard read them from Prometheus."""

import re
from pathlib import Path

import yaml
from conftest import ROOT

# Prometheus' OTLP receiver puts _ for every other character, and adds the unit, and what says that it is a counter.
ENDINGS = {"counter": "_total", "gauge": "", "timer": "_milliseconds"}


def test_the_alerts_read_metrics_that_airflow_sends(airflow_home: Path) -> None:
    from airflow._shared.observability.metrics.metrics_registry import YAML_REGISTRY_PATH
    from airflow._shared.observability.metrics.validators import PatternAllowListValidator

    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    environment = compose["services"]["airflow"]["environment"]
    allowed = PatternAllowListValidator(environment["AIRFLOW__METRICS__METRICS_ALLOW_LIST"])
    sent = {
        f"airflow_{re.sub('[^a-zA-Z0-9]', '_', metric['name'])}{ENDINGS[metric['type']]}"
        for metric in yaml.safe_load(Path(YAML_REGISTRY_PATH).read_text())["metrics"]
        if allowed.test(metric["name"])
    }
    texts = [(ROOT / "monitoring" / name).read_text() for name in ("rules.yml", "dashboard.json")]
    read = {name for text in texts for name in re.findall(r"\bairflow_\w+", text)}
    assert len(read) > 4
    assert read <= sent
