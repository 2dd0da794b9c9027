"""What operators lean on, against the running server: its metrics, its gRPC health, the probe."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import tritonclient.grpc as triton
import yaml
from tritonclient.utils import InferenceServerException

from facewright.server import Server
from facewright.server.probe import main as probe
from facewright_client import Client, FacewrightClientError

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


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/logging"),
        ("POST", "/v2/logging"),
        ("GET", "/v2/trace/setting"),
        ("POST", "/v2/trace/setting"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/systemsharedmemory/region/x/register"),
        ("GET", "/v2/cudasharedmemory/status"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/fit_head/unload"),
    ],
)
def test_administration_is_closed_over_http(server: Server, method: str, path: str) -> None:
    url = f"http://127.0.0.1:{server.settings.http_port}{path}"
    request = urllib.request.Request(url, b"{}" if method == "POST" else None, method=method)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as answer:
        assert answer.code == 403
        assert b"restricted" in answer.read()


@pytest.mark.parametrize(
    "call",
    [
        lambda raw: raw.get_log_settings(),
        lambda raw: raw.update_log_settings({"log_verbose_level": 9}),
        lambda raw: raw.get_trace_settings(),
        lambda raw: raw.update_trace_settings(settings={"trace_level": ["TENSORS"]}),
        lambda raw: raw.get_system_shared_memory_status(),
        lambda raw: raw.register_system_shared_memory("x", "/x", 16),
        lambda raw: raw.get_cuda_shared_memory_status(),
        lambda raw: raw.get_model_repository_index(),
        lambda raw: raw.unload_model("fit_head"),
    ],
)
def test_administration_is_closed_over_grpc(server: Server, call: Callable[[object], object]) -> None:
    with triton.InferenceServerClient(server.url) as raw:
        with pytest.raises(InferenceServerException, match="restricted"):
            call(raw)
        assert raw.get_inference_statistics("avatar_twin").model_stats


def test_readiness_by_grpcs_own_health_service(server: Server) -> None:
    with grpc.insecure_channel(server.url) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        # HealthCheckResponse{status: SERVING} of HealthCheckRequest{}.
        assert check(b"", timeout=10) == b"\x08\x01"
