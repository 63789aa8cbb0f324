"""The alert rules of Prometheus, which promtool tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from lro_gateway.telemetry.metrics import exposition

RULES: Final = Path(__file__).parents[2] / "deploy" / "alerts.yml"
_METRIC: Final = re.compile(r"\b(?:lro_gateway|process|rpc|http|mcp)_[a-z_]+\b")
STALLED: Final = 'lro_gateway_operations_stalled{backend="b",method="m",instance="%s"}'


def _promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        problem = "promtool is not installed; run scripts/setup --tests as root on Debian"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)
    return found


def rules() -> list[Any]:
    """Return all rules of the file."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[Any] = group["rules"]
    return found


def test_the_rules_use_metrics_of_the_gateway() -> None:
    """A rule about a metric that does not exist would never fire."""
    shown = exposition(None).decode()
    named = {name for rule in rules() for name in _METRIC.findall(rule["expr"])}
    assert named
    for name in named:
        assert re.search(rf"^# TYPE {name.removesuffix('_bucket')} ", shown, re.MULTILINE), name


def _case(series: dict[str, str], at: str, alert: str, fires: list[dict[str, str]]) -> Any:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": at,
                "alertname": alert,
                "exp_alerts": [
                    {
                        "exp_labels": {**labels, "severity": severity(alert)},
                        "exp_annotations": texts(alert, labels),
                    }
                    for labels in fires
                ],
            }
        ],
    }


def severity(alert: str) -> str:
    """Return the severity of an alert."""
    (rule,) = [each for each in rules() if each["alert"] == alert]
    return str(rule["labels"]["severity"])


def texts(alert: str, labels: dict[str, str]) -> dict[str, str]:
    """Return the annotations of an alert with the values of its labels."""
    (rule,) = [each for each in rules() if each["alert"] == alert]
    values = {"$value | humanizeDuration": "2.425s", "$value": "2"}
    values |= {f"$labels.{name}": value for name, value in labels.items()}
    found = {}
    for name, text in rule["annotations"].items():
        found[name] = re.sub(r"\{\{ (.+?) \}\}", lambda match: values[match[1]], text)
    return found


def test_each_alert_fires_and_rests(tmp_path: Path) -> None:
    """The tool of Prometheus evaluates the rules over series of a test."""
    one = {"instance": "a"}
    unhealthy = 'lro_gateway_work_unhealthy{reason="STORE_FAILING",instance="a"}'
    bucket = 'lro_gateway_store_write_duration_seconds_bucket{instance="a",le="%s"}'
    slow = {bucket % le: f"0+{rate}x30" for le, rate in [("1.0", 0), ("2.5", 60), ("+Inf", 60)]}
    quick = {bucket % le: "0+60x30" for le in ("1.0", "2.5", "+Inf")}
    age = 'lro_gateway_store_sweep_age_seconds{instance="a"}'
    stalled = {STALLED % "a": "2x30", STALLED % "b": "1x30"}
    method = {"backend": "b", "method": "m"}
    cases = [
        _case(stalled, "10m", "LroGatewayOperationsStalled", [method]),
        _case(stalled, "4m", "LroGatewayOperationsStalled", []),
        _case({STALLED % "a": "0x30"}, "20m", "LroGatewayOperationsStalled", []),
        _case({unhealthy: "1x30"}, "5m", "LroGatewayStoreFailing", [one]),
        _case({unhealthy: "0x30"}, "5m", "LroGatewayStoreFailing", []),
        _case(slow, "20m", "LroGatewayStoreSlow", [one]),
        _case(quick, "20m", "LroGatewayStoreSlow", []),
        _case({age: "1000+60x30"}, "15m", "LroGatewaySweeperNotRunning", [one]),
        _case({age: "300x30"}, "15m", "LroGatewaySweeperNotRunning", []),
    ]
    file = tmp_path / "alerts.test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": cases}))
    done = subprocess.run(
        [_promtool(), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
