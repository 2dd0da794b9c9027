"""What operators lean on, against the running server: its metrics, its gRPC health, the probe."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import yaml
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.utils import InferenceServerException

from facewright.pipelines.registry import pipelines, stages
from facewright.server import Server
from facewright.server.probe import main as probe
from facewright.server.served_repository import served_pipelines
from facewright_client import Client, FacewrightClientError
from tests.server.doors import metrics, over_rest

_DEPLOY = Path(__file__).parents[2] / "deploy"

pytestmark = pytest.mark.server


def test_dashboard_and_alerts_read_what_the_server_exports(server: Server) -> None:
    exported = set(re.findall(r"^# TYPE (\w+)", metrics(server), re.MULTILINE))
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
        found = re.search(pattern, metrics(server), re.MULTILINE)
        assert found
        return float(found[1])

    before = counted()
    with pytest.raises(FacewrightClientError):
        client.create(b"not a photo")
    assert counted() == before + 1


def test_the_probe_is_answered(server: Server) -> None:
    assert probe([server.url, "60"]) == 0


@pytest.mark.parametrize("path", ["/v2", "/v2/logging", "/v2/models/avatar_twin/infer", "/metrics"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_triton_is_not_reached_over_http(server: Server, method: str, path: str) -> None:
    answer = over_rest(server, path, b"{}" if method == "POST" else None, method)
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "BAD_REQUEST")


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
        lambda raw: raw.load_model("fit_head"),
        lambda raw: raw.unload_model("fit_head"),
    ],
)
def test_administration_has_no_method_over_grpc(server: Server, call: Callable[[object], object]) -> None:
    with triton.InferenceServerClient(server.url) as raw:
        with pytest.raises(InferenceServerException) as caught:
            call(raw)
        assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
        assert raw.get_inference_statistics("avatar_twin").model_stats


def test_only_pipelines_are_listed_described_and_called(server: Server) -> None:
    """Single stages take nonsense that none of the others would hand them: they are for the house."""
    tensor = triton.InferInput("PHOTO", [1, 4], "UINT8")
    tensor.set_data_from_numpy(np.zeros((1, 4), np.uint8))
    with triton.InferenceServerClient(server.url) as raw:
        index = {model["name"] for model in raw.get_model_repository_index(as_json=True)["models"]}
        assert index == set(served_pipelines(()))
        for name in index:
            assert raw.is_model_ready(name)
            assert raw.get_model_config(name).config.name == name
            assert raw.get_model_metadata(name).name == name
        for stage in stages(pipelines()).keys() - index:
            for call in (
                lambda stage: raw.infer(stage, [tensor]),
                raw.get_model_config,
                raw.get_model_metadata,
            ):
                with pytest.raises(InferenceServerException, match=f"'{stage}' is not served") as caught:
                    call(stage)
                assert json.loads(str(caught.value.message()))["code"] == "BAD_REQUEST"
            with pytest.raises(InferenceServerException, match="is not served"):
                raw.is_model_ready(stage)


def test_a_stranger_finds_the_methods_by_reflection(server: Server) -> None:
    with grpc.insecure_channel(server.url) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(database.get_services())
        service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
    assert service.methods_by_name["ModelInfer"].input_type.name == "ModelInferRequest"


def test_readiness_by_grpcs_own_health_service(server: Server) -> None:
    with grpc.insecure_channel(server.url) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        # HealthCheckResponse{status: SERVING} of HealthCheckRequest{}.
        assert check(b"", timeout=10) == b"\x08\x01"
