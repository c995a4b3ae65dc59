"""Files for real machines: they parse, fit the APIs' types, agree with one another, hold no secret
and are secure by default."""

import re
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from keepgain.cluster.cli.main import main
from keepgain.cluster.cli.manifest import KINDS as OFFERED
from keepgain.cluster.manifest import KINDS, Machines, render, write
from keepgain.core.errors import UserError
from tests.cluster.kubernetes_schemas import schema_of

VARIANTS = {
    "default": Machines(),
    "cpu": Machines(name="a", gpus=0, cpus=2, memory_gb=4, nodes=1),
    "large": Machines(
        name="team-7", gpus=8, nodes=40, image="example.org/team/keepgain:1.2@sha256", hours=72,
        partition="gpu-long,gpu", shared="/mnt/nfs/team_7", venv="/mnt/nfs/venv", storage_gb=9000,
    ),
}  # fmt: skip


def documents(machines: Machines) -> list[dict[str, Any]]:
    """All Kubernetes objects."""
    files = render("kuberay", machines)
    return [d for name, text in files.items() if name.endswith(".yaml")
            for d in yaml.safe_load_all(text)]  # fmt: skip


def pods(node: Any) -> Iterator[dict[str, Any]]:
    """All pod specs within a document."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for value in node.values():
            yield from pods(value)
    elif isinstance(node, list):
        for value in node:
            yield from pods(value)


def by_kind(machines: Machines) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in documents(machines):
        found.setdefault(one["kind"], []).append(one)
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kubernetes_object_fits_the_types_of_its_api(variant: str) -> None:
    found = documents(VARIANTS[variant])
    assert {d["kind"] for d in found} >= {"RayCluster", "RayJob", "StatefulSet", "Deployment"}
    for one in found:
        jsonschema.Draft202012Validator(schema_of(one)).validate(one)


@pytest.mark.parametrize(
    "breakage",
    [
        lambda d: d["spec"].update(authOption={"mode": "token"}),
        lambda d: d["spec"]["authOptions"].update(mode="disabled"),
        lambda d: d["spec"]["headGroupSpec"].pop("rayStartParams"),
        lambda d: d["spec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda d: next(pods(d)).update(automountServiceAccountToken=True),
        lambda d: next(pods(d))["containers"][0]["securityContext"].update(privileged=True),
        lambda d: next(pods(d))["containers"][0].pop("resources"),
        lambda d: next(pods(d))["containers"][0]["env"][0].update(value=1),
    ],
)  # fmt: skip
def test_the_schemas_refuse_what_the_api_would_refuse_or_we_would(breakage: Any) -> None:
    (cluster,) = by_kind(Machines())["RayCluster"]
    breakage(cluster)
    assert not jsonschema.Draft202012Validator(schema_of(cluster)).is_valid(cluster)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_objects_name_is_there(variant: str) -> None:
    machines = VARIANTS[variant]
    found = by_kind(machines)
    script = render("kuberay", machines)["make-secrets.sh"]
    secrets = dict(re.findall(r"^make_secret (\S+) (\S+)", script, re.MULTILINE))
    claims = {d["metadata"]["name"] for d in found["PersistentVolumeClaim"]}
    services = {d["metadata"]["name"]: d["spec"] for d in found["Service"]}
    everything = documents(machines)
    for pod in pods(everything):
        volumes = {v["name"]: v for v in pod.get("volumes", [])}
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
        for container in pod["containers"]:
            mounted = {m["name"] for m in container.get("volumeMounts", [])}
            assert mounted <= {*volumes, "data"}
            for variable in container.get("env", []):
                if "valueFrom" in variable:
                    reference = variable["valueFrom"]["secretKeyRef"]
                    assert secrets[reference["name"]] == reference["key"]
    for one in [*found["RayCluster"], *(j["spec"]["rayClusterSpec"] for j in found["RayJob"])]:
        options = one.get("spec", one)["authOptions"]
        assert secrets[options["secretName"]] == "auth_token"  # the key that KubeRay reads
    for workload in [*found["StatefulSet"], *found["Deployment"]]:
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        service = services[workload["metadata"]["name"]]
        assert service["selector"].items() <= labels.items()
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        ports = {p["containerPort"] for p in container["ports"]}
        assert {p["port"] for p in service["ports"]} <= ports
    (policy,) = found["NetworkPolicy"]
    covered = policy["spec"]["podSelector"]["matchLabels"]
    for template in templates(everything):
        assert covered.items() <= template["metadata"]["labels"].items()


def templates(node: Any) -> Iterator[dict[str, Any]]:
    """All pod templates."""
    if isinstance(node, dict):
        if "containers" in node.get("spec", {}):
            yield node
        for value in node.values():
            yield from templates(value)
    elif isinstance(node, list):
        for value in node:
            yield from templates(value)


def test_ray_keeps_its_token_its_workers_and_its_time_to_stop() -> None:
    machines = VARIANTS["large"]
    found = by_kind(machines)
    (cluster,), (job,) = found["RayCluster"], found["RayJob"]
    assert cluster["spec"] == job["spec"]["rayClusterSpec"]
    (group,) = cluster["spec"]["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 40
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (worker,) = group["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "8"
    for pod in pods(cluster):
        (container,) = pod["containers"]
        env = {e["name"]: e["value"] for e in container["env"]}
        assert 30 <= int(env["RAY_JOB_STOP_WAIT_TIME_S"]) < pod["terminationGracePeriodSeconds"]
        assert env["KEEPGAIN_WORK"] == machines.shared
        assert {"name": "shared", "mountPath": machines.shared} in container["volumeMounts"]
        assert env["KEEPGAIN_STORE"] == "http://team-7-mlflow:5000"


def test_without_gpus_nothing_asks_for_one() -> None:
    assert "nvidia" not in "".join(render("kuberay", VARIANTS["cpu"]).values())
    assert "gpus-per-node" not in render("slurm", VARIANTS["cpu"])["sweep.sbatch"]
    assert "NVIDIA" not in render("container", VARIANTS["cpu"])["Containerfile"]
    assert "NVIDIA" in render("container", VARIANTS["default"])["Containerfile"]


def test_every_readiness_probe_makes_a_real_call() -> None:
    seen = {}
    for one in documents(Machines()):
        for pod in pods(one):
            for container in pod["containers"]:
                seen[container["name"]] = container.get("readinessProbe")
    assert seen.pop("submitter") is None  # it serves nothing
    assert seen["postgres"]["exec"]["command"][-1] == "SELECT 1"
    assert "experiments/search" in seen["mlflow"]["httpGet"]["path"]
    (host,) = seen["mlflow"]["httpGet"]["httpHeaders"]
    assert host == {"name": "Host", "value": "keepgain-mlflow:5000"}
    assert seen["ray-head"]["httpGet"]["path"] == "/api/gcs_healthz"
    assert seen["ray-worker"]["httpGet"]["path"] == "/api/local_raylet_healthz"


@pytest.mark.parametrize(("kind", "variant"), list(product(KINDS, VARIANTS)))
def test_no_file_holds_a_secret_or_runs_as_root(kind: str, variant: str) -> None:
    for name, text in render(kind, VARIANTS[variant]).items():
        assert not re.search(r"[0-9a-f]{32}", text), name
        assert "kind: Secret" not in text and "privileged: true" not in text, name
        assert "RAY_AUTH_MODE=disabled" not in text and "mode: disabled" not in text
        assert not re.search(r"(PASSWORD|TOKEN)\s*[=:]\s*['\"]?[a-z0-9]{4,}", text), name


def scripts(variant: str) -> dict[str, str]:
    everything = {**render("kuberay", VARIANTS[variant]), **render("slurm", VARIANTS[variant])}
    return {name: text for name, text in everything.items() if text.startswith("#!")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_scripts_are_sound_shell(variant: str, tmp_path: Path) -> None:
    found = scripts(variant)
    assert set(found) == {"make-secrets.sh", "sweep.sbatch"}
    for name, text in found.items():
        (tmp_path / name).write_text(text)
        subprocess.run(["bash", "-n", tmp_path / name], check=True)
        assert "set -euo pipefail" in text and "umask 077" in text


@pytest.mark.parametrize("variant", VARIANTS)
def test_shellcheck_finds_nothing_in_scripts(variant: str, tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    for name, text in scripts(variant).items():
        (tmp_path / name).write_text(text)
        done = subprocess.run(
            ["shellcheck", "--severity=warning", tmp_path / name],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_the_sbatch_script_asks_slurm_for_what_was_given() -> None:
    text = render("slurm", VARIANTS["large"])["sweep.sbatch"]
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert asked.items() >= {
        "nodes": "40", "gpus-per-node": "8", "cpus-per-task": "8", "mem": "64G",
        "time": "72:00:00", "partition": "gpu-long,gpu", "job-name": "team-7",
        "ntasks-per-node": "1",
    }.items()  # fmt: skip
    body = [line for line in text.splitlines() if line and not line.startswith("#")]
    # Slurm reads #SBATCH lines only before the first command.
    assert text.index("#SBATCH --signal") < text.index(body[0])
    assert "--partition" not in render("slurm", VARIANTS["default"])["sweep.sbatch"]


def test_the_secrets_script_makes_each_secret_once(tmp_path: Path) -> None:
    """With a `kubectl` that keeps secrets as files: the script's own logic, no cluster."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        """#!/usr/bin/env bash
set -eu
[ "$1" = --namespace ] && shift 2
case "$1 $2" in
  "get secret") test -e "$KEPT/$3" ;;
  "create secret") cp "${5#--from-file=*=}" "$KEPT/$4" ;;
esac
"""
    )
    kubectl.chmod(0o755)
    kept = tmp_path / "kept"
    kept.mkdir()
    script = tmp_path / "make-secrets.sh"
    script.write_text(render("kuberay", Machines())["make-secrets.sh"])
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "KEPT": str(kept)}
    command = ["bash", script, "--namespace", "ml"]
    subprocess.run(command, env=env, check=True, capture_output=True)
    first = {p.name: p.read_text() for p in kept.iterdir()}
    assert set(first) == {"keepgain-ray-token", "keepgain-postgres"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", text) for text in first.values())
    assert len(set(first.values())) == 2
    again = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    assert again.stdout.count("is there already") == 2
    assert {p.name: p.read_text() for p in kept.iterdir()} == first


def test_the_container_file_ends_without_root_and_with_pinned_packages() -> None:
    text = render("container", Machines())["Containerfile"]
    instructions = [line.split() for line in text.splitlines() if re.match(r"[A-Z]+ ", line)]
    allowed = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "ARG", "USER", "CMD"}
    assert {words[0] for words in instructions} <= allowed
    users = [words[1] for words in instructions if words[0] == "USER"]
    assert users == ["1000:1000"]
    after = instructions[[w[0] for w in instructions].index("USER") :]
    assert not any("apt-get" in words or "pip" in words for words in after)
    installs = re.findall(r"pip install [^\n]*", text)
    assert installs and all("--constraint constraints.txt" in line for line in installs)
    root = Path(__file__).parents[2]
    copied = {word for words in instructions if words[0] == "COPY" for word in words[1:-1]}
    copied.discard("--from=build")
    assert all((root / name).exists() for name in copied - {"/opt/venv"})
    project = tomllib.loads((root / "pyproject.toml").read_text())
    packages = {p.split(".")[1] for p in project["tool"]["setuptools"]["packages"]}
    assert packages | {"pyproject.toml", project["project"]["readme"]} <= copied


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", "Team"), ("name", "a\nb"), ("name", "-a"), ("name", "a-"), ("name", ""),
        ("image", "a b"), ("image", "a\"b"), ("image", "$(id)"),
        ("shared", "relative"), ("shared", "/a/../etc"), ("shared", "/a b"), ("shared", "/a;id"),
        ("venv", "/$HOME"), ("partition", "a b"), ("partition", "a\n#SBATCH --x"),
        ("nodes", 0), ("cpus", -1), ("gpus", -1), ("memory_gb", 0), ("hours", 0),
        ("storage_gb", 0),
    ],
)  # fmt: skip
def test_values_that_could_break_a_file_are_refused(option: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"--{option.replace('_', '-')}"):
        Machines(**{option: value})


def test_a_file_of_another_content_is_never_overwritten(tmp_path: Path) -> None:
    files = render("slurm", Machines())
    (path,) = write(files, tmp_path / "job")
    assert stat.S_IMODE(path.stat().st_mode) & 0o100
    write(files, tmp_path / "job")
    path.write_text("mine")
    with pytest.raises(UserError, match="another content"):
        write({"new": "x", **files}, tmp_path / "job")
    assert path.read_text() == "mine" and not (tmp_path / "job" / "new").exists()


def test_a_folder_that_is_none_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "job" / "sweep.sbatch").mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "job"):
        assert main(["manifest", "slurm", "--to", str(folder)]) == 2
        error = capsys.readouterr().err
        assert f"--to {folder}" in error and error.count("\n") == 1


def test_the_command_prints_or_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert OFFERED == KINDS
    assert main(["manifest", "container", "--gpus", "0"]) == 0
    printed = capsys.readouterr().out
    assert "# ---- Containerfile" in printed and "NVIDIA" not in printed
    assert main(["manifest", "kuberay", "--name", "ml", "--to", str(tmp_path)]) == 0
    written = capsys.readouterr().out.splitlines()
    assert {Path(p).name for p in written} == {p.name for p in tmp_path.iterdir()}
    assert "name: ml" in (tmp_path / "raycluster.yaml").read_text()
    assert main(["manifest", "kuberay", "--name", "Not A Name"]) == 2
    assert "--name" in capsys.readouterr().err
