"""scripts/gpu-suite without a GPU: it says so; parts that fail, hang or do not exist are listed as such."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.run_conditions import RESULTS_VARIABLE, write_result

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "gpu-suite"


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    loader = SourceFileLoader("gpu_suite", str(_SCRIPT))
    spec = importlib.util.spec_from_loader("gpu_suite", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_suite"] = module  # dataclasses look their module up
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def test_without_a_gpu_nothing_runs_and_the_reason_is_said(suite, tmp_path):
    if suite.why_no_gpu() is None:
        pytest.skip("there is a GPU")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), "--output", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "no NVIDIA GPU that CuPy can use (" in done.stderr
    assert "Error" in done.stderr  # CuPy's own words
    assert not out.exists()


_WRITE = (
    "import os, pathlib; "
    f"folder = pathlib.Path(os.environ['{RESULTS_VARIABLE}']); "
    "(folder / 'kernels.json').write_text('{}')"
)


@pytest.mark.parametrize(
    ("program", "state", "detail"),
    [
        (_WRITE, "ran", ""),
        ("pass", "failed", "it wrote no kernels.json"),
        (f"{_WRITE}; raise SystemExit(7)", "failed", "exit status 7"),
        ("import time; time.sleep(60)", "failed", "stopped after 1 s"),
        ("import signal as s, time; s.signal(s.SIGINT, s.SIG_IGN); time.sleep(60)", "failed", "after 1 s"),
    ],
)
def test_what_became_of_a_part(suite, tmp_path, program, state, detail):
    part = suite.Part("kernels", "benchmarks.kernels", ("-c", program), 1)
    (tmp_path / "kernels.json").write_text("an older result")
    outcome = suite.run_part(
        part, tmp_path, suite.suite_environment(tmp_path), 1 if "sleep" in program else 30
    )
    assert (outcome.part, outcome.state) == ("kernels", state)
    assert detail in outcome.detail
    assert "==== kernels" in (tmp_path / "suite.log").read_text()


def test_parts_that_cannot_run_are_listed(suite, tmp_path):
    missing = suite.Part("rooflines", "benchmarks.rooflines", ("-m", "benchmarks.rooflines"), 1)
    outcome = suite.run_part(missing, tmp_path, {}, 1)
    assert (outcome.state, outcome.detail) == ("not run", "benchmarks.rooflines is not there")
    late = suite.run_part(suite.PARTS[0], tmp_path, {}, 0)
    assert late.state == "not run"
    assert "used up" in late.detail
    needs = suite.Part(
        "kernels", "benchmarks.kernels", ("-c", "pass"), 1, ("numpy", "no_such_module", "nor_this")
    )
    outcome = suite.run_part(needs, tmp_path, {}, 1)
    assert (outcome.state, outcome.detail) == ("not run", "not installed: no_such_module, nor_this")
    tool = suite.Part(
        "memcheck", "benchmarks.kernels", ("-c", "pass"), 1, under=("no-such-sanitizer", "--tool")
    )
    assert suite.why_not(tool) == "not installed: no-such-sanitizer"


def test_a_part_without_its_open_assets_is_not_run(suite, tmp_path, monkeypatch):
    part = suite.Part("refinement", "benchmarks.kernels", ("-c", "pass"), 1, assets=("head.npz",))
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path / "cache"))
    assert suite.why_not(part) == "not in cache/open: head.npz"
    (tmp_path / "cache" / "open").mkdir(parents=True)
    (tmp_path / "cache" / "open" / "head.npz").touch()
    assert suite.why_not(part) is None


def test_what_runs_under_a_tool_has_plain_allocations(suite, tmp_path):
    program = f"import os; open(os.environ['{RESULTS_VARIABLE}'] + '/kernels.json', 'w').write('{{}}')"
    program += f"; print('plain', os.environ.get('{suite.PLAIN_ALLOCATIONS}'))"
    for under, seen in (("env", "TOOL=1"), "plain 1"), ((), "plain None"):
        part = suite.Part("kernels", "benchmarks.kernels", ("-c", program), 1, under=under)
        outcome = suite.run_part(part, tmp_path, suite.suite_environment(tmp_path), 30)
        assert outcome.state == "ran"
        assert seen in (tmp_path / "suite.log").read_text().splitlines()


def test_what_a_part_could_not_measure_is_said(suite, tmp_path):
    result = {
        "not_run": ["iresnet", "lpips"],
        "onnx_runtime": False,
        "nvdiffrast_parity": "not run: not installed",
    }
    program = f"import json; open({str(tmp_path / 'kernels.json')!r}, 'w').write(json.dumps({result}))"
    part = suite.Part("kernels", "benchmarks.kernels", ("-c", program), 1)
    outcome = suite.run_part(part, tmp_path, suite.suite_environment(tmp_path), 30)
    assert outcome.state == "ran"
    assert outcome.detail == (
        "no time left for iresnet, lpips; ONNX Runtime not run: it has no CUDA provider here; "
        "nvdiffrast not run: not installed"
    )
    result = {
        "failed": [{"kernel": "displace 1", "error": "?"}],
        "not_reached": ["uv_gather 1", "adam_step 1"],
    }
    assert suite.left_out(result) == ["wrong: displace 1", "not reached: uv_gather 1, adam_step 1"]
    assert suite.left_out({"failed": [{"network": "lpips", "error": "?"}]}) == ["wrong: lpips"]
    assert (
        suite.left_out({"failed": [], "not_run": [], "onnx_runtime": True, "nvdiffrast_parity": [{}]}) == []
    )


def test_tests_that_were_all_skipped_are_a_failure(suite, tmp_path):
    (tmp_path / "test_skips.py").write_text("import pytest\n\ndef test_it():\n    pytest.skip('no GPU')\n")
    part = suite.Part(
        "kernel_tests",
        "pytest",
        ("-m", "pytest", "-p", "no:cacheprovider", str(tmp_path / "test_skips.py")),
        60,
    )
    outcome = suite.run_part(part, tmp_path, suite.suite_environment(tmp_path), 60)
    assert outcome.state == "failed"
    assert outcome.detail == "0 passed, 0 failed, 1 skipped"
    assert json.loads((tmp_path / "kernel_tests.json").read_text())["skipped"] == 1


def test_a_test_that_was_interrupted_is_not_counted(suite, tmp_path):
    """pytest's own report of an interrupt, here raised by the test itself: the signal is ignored in a
    shell's background jobs.
    """
    tests, report = tmp_path / "test_slow.py", tmp_path / "report.xml"
    tests.write_text("def test_fast():\n    pass\n\ndef test_slow():\n    raise KeyboardInterrupt\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tests), f"--junitxml={report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stdout
    assert suite.count_tests(report, interrupted=True) == {"passed": 1, "failed": 0, "skipped": 0}


def test_a_part_can_be_interrupted_in_a_background_job_too(suite, tmp_path):
    """A shell starts those with interrupts ignored, and what they start inherits it."""
    program = f"import signal; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler; {_WRITE}"
    part = suite.Part("kernels", "benchmarks.kernels", ("-c", program), 1)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        outcome = suite.run_part(part, tmp_path, suite.suite_environment(tmp_path), 30)
    finally:
        signal.signal(signal.SIGINT, before)
    assert outcome.state == "ran"


def test_all_parts_together_fit_the_budget_and_exist(suite):
    assert sum(part.seconds for part in suite.PARTS) <= suite.BUDGET_SECONDS < 480
    for part in suite.PARTS:
        assert suite.is_there(part.module)
    assert not suite.is_there("benchmarks.kernels.cases")


def test_a_part_may_take_what_others_left_but_not_what_is_kept_for_them(suite):
    first, *_, last = suite.PARTS
    kept = sum(part.seconds for part in suite.PARTS) - first.seconds
    assert suite.seconds_for(first, suite.PARTS, suite.BUDGET_SECONDS) == suite.BUDGET_SECONDS - kept
    assert suite.seconds_for(first, suite.PARTS, suite.BUDGET_SECONDS) >= first.seconds
    assert suite.seconds_for(last, suite.PARTS, 200) == 200
    assert suite.seconds_for(first, (first,), 200) == 200


def test_the_benchmarks_know_the_options_that_the_suite_gives(suite):
    """Read from their sources: they need torch to be run."""
    benchmarks = [part for part in suite.PARTS if part.module.startswith("benchmarks.")]
    assert [part.name for part in benchmarks] == ["kernels", "refinement", "networks"]
    for part in benchmarks:
        source = (suite.ROOT / part.module.replace(".", "/") / "__main__.py").read_text()
        for option in part.arguments[2:]:
            if option.startswith("--"):
                assert re.search(rf'add_argument\(\s*"{option}"', source), (part.name, option)
        assert re.search(rf"write_result\([^'\"]*['\"]{part.name}['\"]", source), part.name


def test_results_go_where_the_suite_says(monkeypatch, tmp_path):
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path / "chosen"))
    path = write_result("kernels", {"benchmark": "kernels", "device": "cuda"})
    assert path == tmp_path / "chosen" / "kernels.json"
    assert json.loads(path.read_text())["device"] == "cuda"


def test_the_summary_lists_what_ran_failed_and_did_not_run(suite, monkeypatch, tmp_path, capsys):
    """The whole command with small parts, as if there were a GPU."""
    parts = (
        suite.Part("kernels", "benchmarks.kernels", ("-c", _WRITE), 30),
        suite.Part("refinement", "benchmarks.kernels", ("-c", "raise SystemExit(1)"), 30),
        suite.Part("networks", "benchmarks.nothing", ("-c", "pass"), 30),
    )
    monkeypatch.setattr(suite, "PARTS", parts)
    monkeypatch.setattr(suite, "why_no_gpu", lambda: None)
    monkeypatch.setattr(sys, "argv", ["gpu-suite", "--output", str(tmp_path)])
    assert suite.main() == 1
    summary = json.loads((tmp_path / "suite.json").read_text())
    assert [part["state"] for part in summary["parts"][:3]] == ["ran", "failed", "not run"]
    assert [part["part"] for part in summary["parts"][3:]] == [name for name, _ in suite.NOT_IN_THE_SUITE]
    assert summary["commit"]
    assert "refinement     failed" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["gpu-suite", "--output", str(tmp_path), "--only", "kernels"])
    assert suite.main() == 0
    summary = json.loads((tmp_path / "suite.json").read_text())
    assert [part["state"] for part in summary["parts"][:3]] == ["ran", "failed", "not run"]  # as before
    (tmp_path / "suite.json").write_text(json.dumps({**summary, "commit": "another"}))
    assert suite.main() == 0
    summary = json.loads((tmp_path / "suite.json").read_text())
    assert [part["detail"] for part in summary["parts"]][1:3] == ["left out by --only"] * 2
