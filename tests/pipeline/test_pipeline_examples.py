"""The examples of docs/pipeline.md, the action and the hooks: parsed, and their lines run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "pipeline.md").read_text("utf-8")
_INSTALLS = "python -m pip install "
_NAMES = ("digits_mlp_gelu.onnx", "digits_cnn_relu.onnx")
_BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(_BASH is None, reason="pipelines run their lines in bash")


@pytest.fixture
def checkout(models: Path, tmp_path: Path) -> Path:
    """Somebody's repository with two models, and the program on the path."""
    (tmp_path / "models").mkdir()
    for name in _NAMES:
        shutil.copy(models / name, tmp_path / "models" / name)
    program = tmp_path / "bin" / "onnx-act"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m onnx_act "$@"\n')
    program.chmod(0o755)
    return tmp_path


def _run(lines: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As GitHub and GitLab do: every line must succeed."""
    assert _BASH is not None
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [_BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", lines],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _example(name: str) -> str:
    """The block of the page that begins with the name of a file."""
    (found,) = re.findall(rf"```\w+\n# {re.escape(name)}\n(.*?)```", _PAGE, re.DOTALL)
    assert isinstance(found, str)
    return found


def _lines(steps: list[Any]) -> list[str]:
    """What steps run, but for installing, which tests do without."""
    lines = [step if isinstance(step, str) else step.get("run", "") for step in steps]
    return [line for line in lines if line and not line.startswith(_INSTALLS)]


def _passes(junit: Path) -> bool:
    root = ET.parse(junit).getroot()
    assert int(root.attrib["tests"]) > 0
    return (root.attrib["failures"], root.attrib["errors"]) == ("0", "0")


def _converted(folder: Path) -> set[str]:
    return {path.name for path in (folder / "converted").glob("*")}


def test_the_github_workflow_by_hand(checkout: Path) -> None:
    workflow = yaml.safe_load(_example(".github/workflows/models-by-hand.yml"))
    (job,) = workflow["jobs"].values()
    lines = _lines(job["steps"])
    assert len(lines) == 2
    summary = checkout / "summary.md"
    ran = _run("\n".join(lines), checkout, GITHUB_STEP_SUMMARY=str(summary))
    assert ran.returncode == 0, ran.stderr
    assert _converted(checkout) == {*_NAMES}
    assert summary.read_text("utf-8").startswith("# onnx-act convert\n")
    assert _passes(checkout / "reports" / "onnx-act.junit.xml")


def test_the_gitlab_job(checkout: Path) -> None:
    job = yaml.safe_load(_example(".gitlab-ci.yml"))["convert"]
    (line,) = _lines(job["script"])
    ran = _run(line, checkout)
    assert ran.returncode == 0, ran.stderr
    assert _passes(checkout / job["artifacts"]["reports"]["junit"])
    assert all((checkout / path).is_dir() for path in job["artifacts"]["paths"])


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_makefile(checkout: Path) -> None:
    (checkout / "Makefile").write_text(_example("Makefile"))
    ran = _run("make", checkout)
    assert ran.returncode == 0, ran.stderr
    assert _converted(checkout) == {*_NAMES}
    again = _run("make", checkout)
    assert "onnx-act" not in again.stdout
    (checkout / "models" / "broken.onnx").write_bytes(b"no model")
    assert _run("make", checkout).returncode != 0
    assert _converted(checkout) == {*_NAMES}
    assert not _passes(checkout / "reports" / "broken.junit.xml")


def test_the_hooks_of_pre_commit(checkout: Path) -> None:
    hooks = {h["id"]: h for h in yaml.safe_load((_ROOT / ".pre-commit-hooks.yaml").read_text())}
    (repository,) = yaml.safe_load(_example(".pre-commit-config.yaml"))["repos"]
    asked = {hook["id"]: hook.get("args", []) for hook in repository["hooks"]}
    assert asked.keys() == hooks.keys()
    broken = checkout / "models" / "broken.onnx"
    broken.write_bytes(b"no model")
    for name, hook in hooks.items():
        assert hook["language"] == "python"
        assert re.search(hook["files"], "models/a.onnx")
        assert not re.search(hook["files"], "models/a.onnx.json")
        command = shlex.join([*shlex.split(hook["entry"]), *asked[name]])
        files = " ".join(f"models/{n}" for n in _NAMES)
        ran = _run(f"{command} {files}", checkout)
        assert ran.returncode == 0, ran.stderr
        assert _run(f"{command} {files} models/broken.onnx", checkout).returncode == 3
    assert not (checkout / "converted").exists()


def test_the_lines_about_a_baseline(checkout: Path) -> None:
    (lines,) = re.findall(r"```sh\n(.*?)```", _PAGE, re.DOTALL)
    ran = _run(lines, checkout)
    # On a busy machine the second run may truly be slower: then it says so, and nothing else.
    assert ran.returncode == 0 or "speed-up on cpu: worse than the baseline" in ran.stdout, ran
    document = json.loads((checkout / "now.json").read_text("utf-8"))
    assert document["baseline"]["path"] == "reports/baseline.json"
    assert not document["baseline"]["new"] + document["baseline"]["gone"]


class Action:
    """The composite action, its inputs put where GitHub puts them."""

    def __init__(self, folder: Path) -> None:
        self.definition = yaml.safe_load((_ROOT / "action.yml").read_text("utf-8"))
        self.folder = folder
        self.summary = folder / "summary.md"
        self.outputs: dict[str, str] = {}

    def run(self, **given: str) -> subprocess.CompletedProcess[str]:
        """Run the step that converts, as with these inputs."""
        inputs = self.definition["inputs"]
        assert given.keys() <= inputs.keys()
        values = {name: given.get(name, spec.get("default")) for name, spec in inputs.items()}
        (step,) = (s for s in self.definition["runs"]["steps"] if s.get("id") == "convert")
        assert "${{" not in step["run"]
        environment = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: values[m[1]], text)
            for name, text in step["env"].items()
        }
        said = self.folder / "outputs"
        said.write_text("")
        files = {"GITHUB_OUTPUT": str(said), "GITHUB_STEP_SUMMARY": str(self.summary)}
        ran = _run(step["run"], self.folder, **environment, **files)
        self.outputs = dict(line.split("=", 1) for line in said.read_text().splitlines())
        return ran


def test_the_action_is_complete() -> None:
    definition = yaml.safe_load((_ROOT / "action.yml").read_text("utf-8"))
    steps = definition["runs"]["steps"]
    assert definition["runs"]["using"] == "composite"
    assert all("shell" in step for step in steps if "run" in step)
    for output in definition["outputs"].values():
        assert re.fullmatch(r"\$\{\{ steps\.convert\.outputs\.[\w-]+ \}\}", output["value"])
    used = yaml.safe_load(_example(".github/workflows/models.yml"))["jobs"]["convert"]["steps"]
    (ours,) = (step for step in used if "onnx-act@" in step.get("uses", ""))
    assert {"models"} <= ours["with"].keys() <= definition["inputs"].keys()


def test_the_action_as_the_page_uses_it(checkout: Path) -> None:
    used = yaml.safe_load(_example(".github/workflows/models.yml"))["jobs"]["convert"]["steps"]
    (given,) = (step["with"] for step in used if "onnx-act@" in step.get("uses", ""))
    action = Action(checkout)
    ran = action.run(**given)
    assert ran.returncode == 0, ran.stderr
    assert "::warning::there is no baseline at reports/baseline.json" in ran.stdout
    assert action.outputs.keys() == action.definition["outputs"].keys()
    assert action.outputs["exit-code"] == "0"
    assert _converted(checkout) == {*_NAMES}
    assert _passes(checkout / action.outputs["junit"])
    assert action.summary.read_text("utf-8").startswith("# onnx-act convert\n")
    # What was accepted is the next baseline, and is compared with.
    (checkout / "reports").mkdir()
    shutil.copy(checkout / action.outputs["report"], checkout / "reports" / "baseline.json")
    assert action.run(**given).returncode == 0
    document = json.loads((checkout / action.outputs["report"]).read_text("utf-8"))
    assert document["baseline"]["path"] == "reports/baseline.json"


def test_the_action_with_names_that_a_shell_does_not_take_kindly(checkout: Path) -> None:
    awkward = "a b;$(touch evil)'.onnx"
    shutil.copy(checkout / "models" / _NAMES[0], checkout / awkward)
    action = Action(checkout)
    options = "--no-validate --no-bench --swap 'gelu = quick_gelu' --where \"not name:head\""
    ran = action.run(models=f"{awkward}\n\n", options=options)
    assert ran.returncode == 0, ran.stderr
    assert _converted(checkout) == {awkward}
    assert not (checkout / "evil").exists()


def test_the_action_fails_as_the_program_does(checkout: Path) -> None:
    (checkout / "models" / "broken.onnx").write_bytes(b"no model")
    action = Action(checkout)
    ran = action.run(models="models/broken.onnx", options="--no-bench")
    assert ran.returncode == 3
    assert action.outputs["exit-code"] == "3"
    assert "FAILED" in action.summary.read_text("utf-8")
    assert not _passes(checkout / action.outputs["junit"])


def test_the_action_finds_models_in_folders_of_folders(checkout: Path) -> None:
    deep = checkout / "models" / "more" / "of" / "them" / "deep.onnx"
    deep.parent.mkdir(parents=True)
    shutil.copy(checkout / "models" / _NAMES[0], deep)
    action = Action(checkout)
    assert action.run(models="models/**/*.onnx", options="--no-bench --fuse").returncode == 0
    assert _converted(checkout) == {*_NAMES, "deep.onnx"}


@pytest.mark.parametrize("options", ["--no-bench --fuse 'portable", '--no-bench "--fuse'])
def test_the_action_with_a_quote_that_is_not_closed(checkout: Path, options: str) -> None:
    ran = Action(checkout).run(models="models/*.onnx", options=options)
    assert ran.returncode == 2
    assert "::error::options: a quote in them is not closed" in ran.stdout
    assert not (checkout / "converted").exists()


def test_the_action_keeps_a_baseline_that_its_report_would_overwrite(checkout: Path) -> None:
    action = Action(checkout)
    baseline = checkout / "onnx-act-reports" / "onnx-act.json"
    baseline.parent.mkdir()
    baseline.write_text('{"schema": "onnx-act/convert/1", "models": []}')
    given = {"models": "models/*.onnx", "baseline": "onnx-act-reports/onnx-act.json"}
    ran = action.run(**given)
    assert ran.returncode == 2
    assert "would overwrite the baseline" in ran.stderr
    assert baseline.read_text() == '{"schema": "onnx-act/convert/1", "models": []}'
