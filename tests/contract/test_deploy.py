"""Deployment files parse, the chart renders, and what they say is so: metrics, flags, ports, probes, time."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from facewright.cli.server_commands import add_serve
from facewright.core.errors import FacewrightError
from facewright.gateway.addresses import require_keys_or_loopback
from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import Caller
from facewright.gateway.callers import Callers
from facewright.gateway.figures_page import door_text, house_text
from facewright.gateway.refusals import Refusal
from facewright.gateway.rest import RestSettings
from facewright.server.written_places import written_places
from facewright_client.contract import ErrorCode
from facewright_kernels._runtime.cpu_library import kernel_cache
from tests.gateway.rest_door import open_door

_ROOT = Path(__file__).parents[2]
_DEPLOY = _ROOT / "deploy"
_CHART = _DEPLOY / "charts" / "facewright"
#: What Triton 2.51 exports on a CPU (its /metrics), without suffixes.
_TRITON_METRICS = {
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_output_duration_us",
    "nv_inference_pending_request_count",
    "nv_cpu_utilization",
    "nv_cpu_memory_total_bytes",
    "nv_cpu_memory_used_bytes",
}


def _plain_yaml() -> list[Path]:
    files = [*_DEPLOY.rglob("*.yaml"), *_DEPLOY.rglob("*.yml")]
    return sorted(path for path in files if path.parent != _CHART / "templates")


def _rendered(**changes: Any) -> dict[str, dict[str, Any]]:
    """The chart's objects by their files' names; templates keep to the few actions understood here."""
    values: dict[str, Any] = yaml.safe_load((_CHART / "values.yaml").read_text())
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    objects: dict[str, dict[str, Any]] = {}
    for path in sorted((_CHART / "templates").glob("*.yaml")):
        document = yaml.safe_load(_render(path.read_text(), values))
        if document:
            objects[path.stem] = document
    return objects


def _pod(**changes: Any) -> dict[str, Any]:
    pod: dict[str, Any] = _rendered(**changes)["deployment"]["spec"]["template"]["spec"]
    return pod


def _render(template: str, values: dict[str, Any]) -> str:
    def value(reference: str) -> Any:
        if reference == ".Release.Name":
            return "fw"
        found: Any = values
        for key in reference.removeprefix(".Values.").split("."):
            found = found[key]  # KeyError: the template names a value that values.yaml lacks
        return found

    lines: list[str] = []
    shown = [True]
    for line in template.splitlines():
        action = re.fullmatch(r"\s*\{\{- (.+?) \}\}", line)
        if action and action[1].startswith("if "):
            reference = action[1].removeprefix("if ")
            wanted = not value(reference[4:]) if reference.startswith("not ") else bool(value(reference))
            shown.append(shown[-1] and wanted)
        elif action and action[1] == "end":
            shown.pop()
        elif not shown[-1]:
            continue
        elif action:
            block = re.fullmatch(r"toYaml (\S+) \| nindent (\d+)", action[1])
            assert block, f"an action that this test does not know: {line}"
            lines.append(" " * int(block[2]) + json.dumps(value(block[1])))
        else:
            lines.append(re.sub(r"\{\{ (\S+) \}\}", lambda match: str(value(match[1])), line))
    assert shown == [True], "an if without its end"
    return "\n".join(lines)


@pytest.mark.parametrize("path", _plain_yaml(), ids=lambda path: str(path.relative_to(_DEPLOY)))
def test_yaml_parses(path: Path) -> None:
    assert any(yaml.safe_load_all(path.read_text()))


def test_the_chart_renders_with_and_without_its_options() -> None:
    plain = _rendered()
    assert set(plain) == {"deployment", "service", "rest-service", "disruption-budget", "network-policy"}
    assert plain["deployment"]["spec"]["replicas"] == 2
    scaled = _rendered(
        autoscaling={"enabled": True, "minReplicas": 1, "maxReplicas": 3},
        serviceMonitor={"enabled": True, "interval": "5s", "keySecret": "monitor"},
        networkPolicy={"enabled": False},
        tlsSecret="certificate",
        nodeSelector={"kind": "compute"},
    )
    assert set(scaled) - set(plain) == {"autoscaler", "service-monitor"}
    assert set(plain) - set(scaled) == {"network-policy"}
    assert "replicas" not in scaled["deployment"]["spec"]
    assert scaled["deployment"]["spec"]["template"]["spec"]["nodeSelector"] == {"kind": "compute"}
    (endpoint,) = scaled["service-monitor"]["spec"]["endpoints"]
    assert endpoint["authorization"] == {"credentials": {"name": "monitor", "key": "key"}}
    assert endpoint["scheme"] == "https"


def test_selectors_find_the_pods() -> None:
    objects = _rendered(serviceMonitor={"enabled": True})
    labels = objects["deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["deployment"]["spec"]["selector"]["matchLabels"] == labels
    for service in ("service", "rest-service"):
        assert objects[service]["spec"]["selector"] == labels
    for name, field in (("disruption-budget", "selector"), ("network-policy", "podSelector")):
        assert objects[name]["spec"][field]["matchLabels"] == labels
    monitored = objects["service-monitor"]["spec"]["selector"]["matchLabels"]
    assert monitored == objects["service"]["metadata"]["labels"]
    assert monitored != objects["rest-service"]["metadata"]["labels"], "pods would be scraped twice"


def _pods() -> list[Any]:
    """Each pod that is deployed, by a name, with its grace period."""
    runtime, service = yaml.safe_load_all((_DEPLOY / "kserve" / "serving-runtime.yaml").read_text())
    predictor = service["spec"]["predictor"]
    kserve = {**runtime["spec"], **{key: predictor[key] for key in ("terminationGracePeriodSeconds",)}}
    return [
        pytest.param(_pod(public=True), id="chart"),
        pytest.param(_pod(keysSecret="keys", tlsSecret="certificate"), id="chart with keys and TLS"),
        pytest.param(kserve, id="kserve"),
    ]


def _settings(container: dict[str, Any]) -> argparse.Namespace:
    """What `facewright serve` makes of a container's arguments, behind those of the image."""
    parser = argparse.ArgumentParser()
    add_serve(parser.add_subparsers())
    return parser.parse_args(["serve", *_entry_point()[2:], *container["args"]])


def _entry_point() -> list[str]:
    """Of the image."""
    text = (_DEPLOY / "container" / "Containerfile").read_text()
    entry: list[str] = json.loads(text.split("ENTRYPOINT")[1])
    assert entry[:2] == ["facewright", "serve"]
    return entry


@pytest.mark.parametrize("pod", _pods())
def test_a_pods_server_starts_for_the_world(pod: dict[str, Any]) -> None:
    """It has what it is told about callers, its cores, and files where its arguments say."""
    (container,) = pod["containers"]
    settings = _settings(container)
    assert settings.cores == 2, "a container sees all of its node's cores"
    require_keys_or_loopback(settings.host, settings.keys is not None, settings.public)
    assert {port["containerPort"] for port in container["ports"]} <= {settings.http_port, settings.grpc_port}
    mounts = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
    for file in filter(None, (settings.keys, settings.tls_certificate, settings.tls_key)):
        assert file.parent in mounts, "a folder, because a file mounted by its subPath would never change"


def test_a_chart_that_says_nothing_of_callers_lets_in_nobody() -> None:
    (container,) = _pod()["containers"]
    settings = _settings(container)
    with pytest.raises(FacewrightError, match="nobody is asked for a key"):
        require_keys_or_loopback(settings.host, settings.keys is not None, settings.public)


@pytest.mark.parametrize("pod", _pods())
def test_a_pod_is_given_the_time_that_its_server_takes_to_end(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    settings = _settings(container)
    # Triton is given 15 s to end, its stages 5 s more (`TritonProcess.stop`).
    assert pod["terminationGracePeriodSeconds"] >= settings.unready + settings.drain + 20
    readiness = container["readinessProbe"]
    seen_s = readiness["periodSeconds"] * readiness["failureThreshold"] + readiness["timeoutSeconds"]
    assert settings.unready > seen_s, "balancers would not see that it goes"


@pytest.mark.parametrize("pod", _pods())
def test_probes_ask_the_gateway(pod: dict[str, Any]) -> None:
    """Whether the process lives is another question than whether calls are taken."""
    (container,) = pod["containers"]
    encrypted = _settings(container).tls_certificate is not None
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    with open_door(RestSettings(authenticate=_strangers_go, ready=lambda: False)) as door:
        answers = {"startupProbe": 200, "livenessProbe": 200, "readinessProbe": 503}
        for name, status in answers.items():
            probe = container[name]["httpGet"]
            assert ports.get(probe["port"], probe["port"]) == 8000
            assert probe.get("scheme", "HTTP") == ("HTTPS" if encrypted else "HTTP")
            assert door.ask("GET", probe["path"]).status == status, name
    check = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])$", _containerfile(), re.DOTALL | re.MULTILINE)
    assert check
    assert container["readinessProbe"]["httpGet"]["path"] in json.loads(check[1])[-1]


def _strangers_go(_headers: Mapping[str, str], _address: str) -> Caller:
    raise FacewrightError(ErrorCode.UNAUTHENTICATED, "no key", "show one")


def _containerfile() -> str:
    return (_DEPLOY / "container" / "Containerfile").read_text()


@pytest.mark.parametrize("pod", _pods())
def test_a_pod_may_do_little_and_write_where_a_server_does(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {**pod.get("securityContext", {}), **security}["runAsNonRoot"]
    writable = {Path(mount["mountPath"]) for mount in container["volumeMounts"] if not mount.get("readOnly")}
    places = {place.folder for place in written_places()} - {kernel_cache()}
    assert writable == places | {Path("/var/cache/facewright/kernels")}
    assert "FACEWRIGHT_CACHE=/var/cache/facewright" in _containerfile()
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["shared-memory"]["emptyDir"]["medium"] == "Memory"
    for volume in volumes.values():
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440, "not for everybody on the machine"


def test_the_network_lets_callers_in_and_nothing_out() -> None:
    policy = _rendered()["network-policy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    callers, monitoring = policy["ingress"]
    assert [port["port"] for port in callers["ports"]] == ["http", "grpc"]
    assert [port["port"] for port in monitoring["ports"]] == ["http"]
    assert callers["from"]
    assert monitoring["from"]


def test_prometheus_asks_where_the_figures_are() -> None:
    (job,) = yaml.safe_load((_DEPLOY / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    compose = yaml.safe_load((_DEPLOY / "compose" / "compose.yaml").read_text())["services"]
    host, _, port = target.rpartition(":")
    assert host in compose
    assert port == "8000"
    monitor = _rendered(serviceMonitor={"enabled": True})["service-monitor"]
    with open_door() as door:
        for path in (job["metrics_path"], monitor["spec"]["endpoints"][0]["path"]):
            reply = door.ask("GET", path)
            assert reply.status == 200
            assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_compose_serves_this_machine_and_is_given_time_to_end() -> None:
    service = yaml.safe_load((_DEPLOY / "compose" / "compose.yaml").read_text())["services"]["facewright"]
    settings = _settings({"args": service["command"]})
    require_keys_or_loopback(settings.host, settings.keys is not None, settings.public)
    assert int(service["stop_grace_period"].removesuffix("s")) >= settings.unready + settings.drain + 20
    assert {port.split(":")[-1] for port in service["ports"]} == {"8000", "8001"}
    assert service["read_only"]


def test_every_metric_named_is_exported() -> None:
    stages = (_ROOT / "src" / "facewright" / "adapter" / "stage_metrics.py").read_text()
    exported = _TRITON_METRICS | set(re.findall(r'name="(facewright_\w+)"', stages)) | _gateways_metrics()
    dashboard = json.loads((_DEPLOY / "grafana" / "dashboards" / "facewright.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [variable["query"] for variable in dashboard["templating"]["list"]]
    rules = yaml.safe_load((_DEPLOY / "prometheus" / "alerts.yaml").read_text())
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    scaler = _rendered(autoscaling={"enabled": True})["autoscaler"]["spec"]
    expressions += [trigger["metadata"]["query"] for trigger in scaler["triggers"]]
    named = {name for text in expressions for name in re.findall(r"\b(?:nv|facewright)_\w+", text)}
    assert named
    assert {name.removesuffix("_bucket") for name in named} - exported == set()


def _gateways_metrics() -> set[str]:
    """Names of what a door tells of itself and its callers, from a door that nobody has come to yet."""
    text = [
        *house_text(True, 0),
        *door_text(Admission(AdmissionSettings(), {"avatar_twin": 1.0}).figures(), 0),
        *Callers().metrics(),
    ]
    return set(re.findall(r"^# TYPE (\w+)", "".join(text), re.MULTILINE))


def test_reasons_that_alerts_leave_out_are_reasons_of_the_door() -> None:
    rules = (_DEPLOY / "prometheus" / "alerts.yaml").read_text()
    named = {reason for text in re.findall(r'reason[!=]~?"([^"]+)"', rules) for reason in text.split("|")}
    assert named
    assert named <= set(Refusal)


def test_alerts_fire_and_stay_silent_as_their_tests_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package: prometheus)")
    done = subprocess.run(
        [promtool, "test", "rules", "alerts_test.yaml"],
        cwd=_DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_reports_nothing_to_its_maker() -> None:
    compose = yaml.safe_load((_DEPLOY / "compose" / "compose.yaml").read_text())
    environment = compose["services"]["grafana"]["environment"]
    for setting in ("REPORTING_ENABLED", "CHECK_FOR_UPDATES", "CHECK_FOR_PLUGIN_UPDATES"):
        assert environment[f"GF_ANALYTICS_{setting}"] == "false"


def test_no_secrets_and_no_ports_open_to_the_world() -> None:
    compose = yaml.safe_load((_DEPLOY / "compose" / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
    for path in _DEPLOY.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"(?i)(?<!\w)(password|secret|api_?key|token)[ \t]*[:=][ \t]*\S", text), path
