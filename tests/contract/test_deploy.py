"""Deployment files parse, the chart renders, and what they name exists: metrics, flags, modules, ports."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    """The chart's objects by kind; templates keep to the few actions that are understood here."""
    values: dict[str, Any] = yaml.safe_load((_CHART / "values.yaml").read_text())
    values.update(changes)
    objects: dict[str, dict[str, Any]] = {}
    for path in sorted((_CHART / "templates").glob("*.yaml")):
        document = yaml.safe_load(_render(path.read_text(), values))
        if document:
            objects[document["kind"]] = document
    return objects


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
    assert set(plain) == {"Deployment", "Service", "PodDisruptionBudget"}
    assert plain["Deployment"]["spec"]["replicas"] == 2
    scaled = _rendered(
        autoscaling={
            "enabled": True,
            "minReplicas": 1,
            "maxReplicas": 3,
            "targetCPUUtilizationPercentage": 50,
        },
        serviceMonitor={"enabled": True, "interval": "5s"},
        nodeSelector={"kind": "compute"},
    )
    assert set(scaled) == {*plain, "HorizontalPodAutoscaler", "ServiceMonitor"}
    assert "replicas" not in scaled["Deployment"]["spec"]
    assert scaled["Deployment"]["spec"]["template"]["spec"]["nodeSelector"] == {"kind": "compute"}


def test_selectors_find_the_pods() -> None:
    objects = _rendered(serviceMonitor={"enabled": True, "interval": "5s"})
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert objects["Service"]["spec"]["selector"] == labels
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert (
        objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
        == objects["Service"]["metadata"]["labels"]
    )


def _containers() -> list[dict[str, Any]]:
    runtime = next(yaml.safe_load_all((_DEPLOY / "kserve" / "serving-runtime.yaml").read_text()))
    return [
        _rendered()["Deployment"]["spec"]["template"]["spec"]["containers"][0],
        runtime["spec"]["containers"][0],
    ]


@pytest.mark.parametrize("container", _containers(), ids=["chart", "kserve"])
def test_liveness_is_a_photo_that_is_answered(container: dict[str, Any]) -> None:
    command = container["livenessProbe"]["exec"]["command"]
    assert command[:2] == ["python", "-m"]
    assert importlib.util.find_spec(command[2]), f"{command[2]} does not exist"
    # Nothing listens there: the probe must say so.
    dead = subprocess.run(
        [sys.executable, "-m", command[2], "127.0.0.1:1", "5"], capture_output=True, text=True, check=False
    )
    assert dead.returncode == 1
    assert "is not alive" in dead.stderr
    assert command[2] in (_DEPLOY / "container" / "Containerfile").read_text()


@pytest.mark.parametrize("container", _containers(), ids=["chart", "kserve"])
def test_shared_memory_is_memory_and_flags_exist(container: dict[str, Any]) -> None:
    assert "/dev/shm" in [mount["mountPath"] for mount in container["volumeMounts"]]
    arguments = [argument for argument in container["args"] if argument.startswith("--")]
    assert "--cores" in arguments, "a container sees all of its node's cores"
    facewright = [sys.executable, "-m", "facewright.cli", "serve", "--help"]
    shown = subprocess.run(facewright, capture_output=True, text=True, check=True).stdout
    for argument in arguments:
        assert f"{argument} " in shown, f"facewright serve has no {argument}"


def test_every_metric_named_is_exported() -> None:
    ours = (_ROOT / "src" / "facewright" / "adapter" / "stage_metrics.py").read_text()
    exported = _TRITON_METRICS | set(re.findall(r'name="(facewright_\w+)"', ours)) | {"up"}
    named: set[str] = set()
    dashboard = json.loads((_DEPLOY / "grafana" / "dashboards" / "facewright.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((_DEPLOY / "prometheus" / "alerts.yaml").read_text())
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    for expression in expressions:
        named |= set(re.findall(r"\b(?:nv|facewright)_\w+", expression))
    assert named
    assert {name.removesuffix("_bucket") for name in named} <= exported


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
            assert not re.search(r"(?i)(password|secret|api_?key|(?<!AccountT)oken)\s*[:=]\s*\S", text), path
