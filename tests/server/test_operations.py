"""What operators lean on, against the running server: its metrics, its gRPC health, the probe."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import grpc
import pytest
import yaml
from facewright_client import Client, FacewrightClientError

from facewright.server import Server
from facewright.server.probe import main as probe

_DEPLOY = Path(__file__).parents[2] / "deploy"

pytestmark = pytest.mark.server


def _metrics(server: Server) -> str:
    url = f"http://127.0.0.1:{server.settings.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read(), "utf-8")


def test_dashboard_and_alerts_read_what_the_server_exports(server: Server) -> None:
    exported = set(re.findall(r"^# TYPE (\w+)", _metrics(server), re.MULTILINE))
    dashboard = json.loads((_DEPLOY / "grafana" / "dashboards" / "facewright.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((_DEPLOY / "prometheus" / "alerts.yaml").read_text())
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    named = {name for text in expressions for name in re.findall(r"\b(?:nv|facewright)_\w+", text)}
    missing = {name.removesuffix("_bucket") for name in named} - exported
    assert not missing


def test_a_failure_is_counted_under_its_code(server: Server, client: Client) -> None:
    def counted() -> float:
        pattern = r'^facewright_failures_total\{code="BAD_PHOTO",stage="find_face"\} (\S+)$'
        found = re.search(pattern, _metrics(server), re.MULTILINE)
        assert found
        return float(found[1])

    before = counted()
    with pytest.raises(FacewrightClientError):
        client.create(b"not a photo")
    assert counted() == before + 1


def test_the_probe_is_answered(server: Server) -> None:
    assert probe([server.url, "60"]) == 0


def test_readiness_by_grpcs_own_health_service(server: Server) -> None:
    with grpc.insecure_channel(server.url) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        # HealthCheckResponse{status: SERVING} of HealthCheckRequest{}.
        assert check(b"", timeout=10) == b"\x08\x01"
