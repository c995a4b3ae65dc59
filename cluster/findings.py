"""Judges what nodes said of themselves: what is seen, on which node, and its fix in one line."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from keepgain.cluster.doctor import HERE, FolderFacts, Listening, NodeFacts
from keepgain.core.units import human_bytes

Level = Literal["ok", "warning", "error"]
Facts = Sequence[NodeFacts]

GIB = 1 << 30
NEEDED = ("ray", "torch", "transformers", "peft")
"""Packages without which no trial runs."""
NUMERICS = ("torch", "transformers", "peft", "deepspeed", "tokenizers", "numpy")
"""Packages whose versions change figures."""
DISK = {"work": (2 * GIB, 20 * GIB), "tmp": (1 * GIB, 5 * GIB)}
"""Free bytes below which there is an error, a warning."""
RAY_FULL = 0.95
"""Share of a full disk from which Ray refuses to spill and to start tasks (its default)."""
OPEN_FILES = (1024, 4096)
SHM = 1 * GIB
"""Needed without a cluster; with one, Ray's object store."""
CLOCK = (60.0, 2.0)
"""Seconds apart from which there is an error, a warning."""
STALE_SECONDS = 600.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    level: Level
    node: str
    seen: str
    fix: str = ""
    """One line; empty where nothing is to be done."""


@dataclass(frozen=True)
class Needs:
    """What the sweep asks of the nodes."""

    compiler: bool = False
    """It uses DeepSpeed or torch.compile."""
    mlflow: str | None = None
    """URL of its server, without passwords."""


def judge(facts: Facts, needs: Needs) -> list[Finding]:
    """All findings, check by check."""
    checks: tuple[Callable[[Facts, Needs], Iterable[Finding]], ...] = (
        python, packages, gpus, storage, mlflow, token, ports, disk, shared_memory, open_files,
        compiler, locks, clock,
    )  # fmt: skip
    return [finding for check in checks for finding in check(facts, needs)]


def python(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """Ray needs the same Python everywhere, to the minor version."""
    first = facts[0].python
    for node in facts:
        seen = f"{node.python} on {node.system}"
        if node.python.split(".")[:2] != first.split(".")[:2]:
            yield Finding("python", "error", node.node, seen, f"Install Python {first} there.")
        elif node.python != first:
            yield Finding("python", "warning", node.node, seen, f"Use {first} there as well.")
        else:
            yield Finding("python", "ok", node.node, seen)


def packages(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """The versions that most nodes have are the expected ones, the driver's where it is a tie."""
    faulty: set[str] = set()
    for name in facts[0].packages:
        have = [f.packages.get(name) for f in facts]
        known = Counter(v for v in have if v is not None)
        expected = max(known, key=lambda v: (known[v], v == have[0]), default=None)
        for node, version in zip(facts, have, strict=True):
            if version == expected and (version is not None or name not in NEEDED):
                continue
            faulty.add(node.node)
            wanted = name if expected is None else f"{name}=={expected}"
            seen = f"{name} {version or 'is missing'}" + (
                f", elsewhere {expected}" if expected else ""
            )
            error = name in NEEDED or (name in NUMERICS and version is not None)
            fix = f"pip install {wanted} there, or use one image for all nodes."
            if name == "keepgain" and version is None:
                fix = "`sweep submit` sends it along; or install it in the image."
            yield Finding("packages", "error" if error else "warning", node.node, seen, fix)
    for node in facts:
        if node.node not in faulty:
            there = sum(v is not None for v in node.packages.values())
            yield Finding("packages", "ok", node.node, f"{there} of ours, the same everywhere")


def gpus(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """GPUs and driver; Ray must count as many as there are."""
    drivers = {g.get("driver") for f in facts for g in f.gpus if g.get("driver")}
    for node in facts:
        if not node.gpus:
            yield Finding("gpus", "ok", node.node, "none")
            continue
        names = ", ".join(f"{n} x {g}" for g, n in Counter(g["name"] for g in node.gpus).items())
        seen = f"{names}, driver {node.gpus[0].get('driver') or 'unknown'}"
        if any(not g.get("driver") for g in node.gpus):
            fix = "Run `nvidia-smi` there; a driver that was updated needs a reboot."
            yield Finding("gpus", "error", node.node, seen, fix)
        elif node.ray_gpus is not None and node.ray_gpus != len(node.gpus):
            seen += f"; Ray counts {node.ray_gpus:g}"
            fix = "Start Ray there with --num-gpus, or without CUDA_VISIBLE_DEVICES."
            yield Finding("gpus", "warning", node.node, seen, fix)
        elif len(drivers) > 1:
            fix = "Install one driver version on all nodes."
            yield Finding("gpus", "warning", node.node, seen, fix)
        else:
            yield Finding("gpus", "ok", node.node, seen)


def storage(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """Every node reads what the driver wrote, and the driver what every node wrote."""
    for node in facts:
        work, canary = node.folders["work"], node.canary
        if canary is None:
            why = "is not there" if not work.exists else "cannot be written"
            if not work.exists and work.writable and len(facts) == 1:
                yield Finding("storage", "ok", node.node, f"{work.path} will be made")
                continue
            fix = "Make it, on storage that all nodes share, with yourself as its owner."
            yield Finding("storage", "error", node.node, f"{work.path} {why}", fix)
            continue
        mount = f"Mount the same storage at {work.path} there."
        if canary.read is not None:
            seen = f"the driver's file in {work.path} is not seen ({canary.read})"
            yield Finding("storage", "error", node.node, seen, mount)
        elif canary.write is not None:
            fix = "Give the user that Ray runs as there the right to write to it."
            seen = f"{work.path} cannot be written ({canary.write})"
            yield Finding("storage", "error", node.node, seen, fix)
        elif not canary.seen_by_driver:
            seen = f"what it wrote to {work.path} is not seen by the driver"
            yield Finding("storage", "error", node.node, seen, mount)
        else:
            how = "is shared" if len(facts) > 1 else "can be written"
            yield Finding("storage", "ok", node.node, f"{work.path} {how}")


def mlflow(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """The server answers a real question by the name that the sweep knows it by."""
    if needs.mlflow is None:
        seen = "no server: the driver alone writes to the store"
        yield Finding("mlflow", "ok", facts[0].node, seen)
        return
    host = urlsplit(needs.mlflow).hostname or ""
    loopback = host == "localhost" or host.startswith("127.") or host == "::1"
    for node in facts:
        answer = node.mlflow
        if answer is None:
            continue
        if answer.status == 200:
            yield Finding("mlflow", "ok", node.node, f"{needs.mlflow} answers")
        elif answer.status == 403:
            refused = "Invalid Host" in answer.said or "rebinding" in answer.said
            seen = f"{needs.mlflow} says 403" + (f": it does not serve '{host}'" if refused else "")
            fix = (
                f"Start the server with `--allowed-hosts {host}`."
                if refused
                else "The user may not read: ask who runs it."
            )
            yield Finding("mlflow", "error", node.node, seen, fix)
        elif answer.status == 401:
            fix = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            yield Finding("mlflow", "error", node.node, f"{needs.mlflow} says 401", fix)
        elif answer.status is None and loopback and not node.is_driver:
            fix = "Give the server's real host name, not the loopback."
            yield Finding("mlflow", "error", node.node, f"{needs.mlflow} is another machine", fix)
        else:
            said = answer.status or answer.said
            fix = "Start the server; open its port to the nodes; check the name."
            yield Finding("mlflow", "error", node.node, f"{needs.mlflow}: {said}", fix)


def token(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """Ray's token is used, there, and its owner's alone."""
    for node in facts:
        alone, found = node.node == HERE, node.token
        if not alone and node.auth_mode != "token":
            seen = f"RAY_AUTH_MODE is {node.auth_mode or 'not set'}: whoever reaches Ray runs code"
            fix = "Set RAY_AUTH_MODE=token there before Ray starts (`cluster up` does)."
            yield Finding("token", "error", node.node, seen, fix)
        elif not alone and not found.in_environment and found.mode is None:
            fix = "`ray get-auth-token --generate`, and copy the file to every node."
            yield Finding("token", "error", node.node, f"no token: {found.path} is missing", fix)
        elif found.mode is not None and found.mode & 0o077:
            seen = f"{found.path} has mode {found.mode:04o}: others can read it"
            fix = f"chmod 600 {found.path} (`sweep doctor --fix` does it on this machine)."
            yield Finding("token", "error", node.node, seen, fix)
        elif alone:
            yield Finding("token", "ok", node.node, "a local Ray gets a token of its own")
        else:
            yield Finding("token", "ok", node.node, "RAY_AUTH_MODE=token, the token is private")


def ports(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """Ports of Ray and MLflow that others can reach."""
    for node in facts:
        ours = {name: _of(node.listening, name) for name in ("ray", "mlflow")}
        if not any(ours.values()):
            yield Finding("ports", "ok", node.node, "none of Ray or MLflow beyond the loopback")
        if ours["mlflow"]:
            fix = "Bind it to 127.0.0.1, behind a proxy that asks who it is: it asks nobody."
            yield Finding("ports", "warning", node.node, f"MLflow: {_ports(ours['mlflow'])}", fix)
        if ours["ray"]:
            seen = f"Ray: {_ports(ours['ray'])}"
            if node.node == HERE:
                fix = "Bind it to the loopback, or see that its RAY_AUTH_MODE is token."
                yield Finding("ports", "warning", node.node, seen, fix)
            elif node.auth_mode != "token":
                fix = "Set RAY_AUTH_MODE=token, and keep the ports inside a private network."
                yield Finding("ports", "error", node.node, seen, fix)
            elif len(facts) > 1:
                seen += "; nodes need them, and tokens pass in clear"
                yield Finding("ports", "ok", node.node, seen)
            else:
                fix = "Keep them inside a private network: tokens pass in clear."
                yield Finding("ports", "warning", node.node, seen, fix)


def disk(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """Room for checkpoints, and for what Ray spills."""
    for node in facts:
        for label, folder in node.folders.items():
            least, better = DISK[label]
            seen = f"{human_bytes(folder.free_bytes)} free at {folder.path}"
            if folder.free_bytes < least:
                level: Level = "error"
            elif folder.free_bytes < better or (label == "tmp" and _is_full(folder)):
                level = "warning"
            else:
                yield Finding("disk", "ok", node.node, seen)
                continue
            fix = "Free some, or move it: --store for the record, `ray start --temp-dir` for Ray."
            if _is_full(folder):
                seen += f", {100 - 100 * folder.free_bytes / folder.total_bytes:.0f} % full"
            yield Finding("disk", level, node.node, seen, fix)


def shared_memory(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """Ray's objects lie in /dev/shm, else on a slow disk."""
    for node in facts:
        need = min(node.object_store_bytes or SHM, node.memory_bytes)
        if node.shm_bytes is None:
            yield Finding("shm", "warning", node.node, "no /dev/shm", "Mount a tmpfs there.")
        elif node.shm_bytes < need:
            seen = f"/dev/shm has {human_bytes(node.shm_bytes)}, {human_bytes(need)} are used"
            fix = f"Containers: `--shm-size {need / GIB:.0f}g`, or a volume in memory."
            yield Finding("shm", "warning", node.node, seen, fix)
        else:
            yield Finding("shm", "ok", node.node, f"{human_bytes(node.shm_bytes)} at /dev/shm")


def open_files(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """Ray holds a file for each connection between workers."""
    for node in facts:
        least, better = OPEN_FILES
        seen = f"ulimit -n is {node.open_files}"
        if 0 <= node.open_files < better:
            level: Level = "error" if node.open_files < least else "warning"
            fix = "`ulimit -n 65536` before Ray starts, or LimitNOFILE in its unit."
            yield Finding("open files", level, node.node, seen, fix)
        else:
            yield Finding("open files", "ok", node.node, seen)


def compiler(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """DeepSpeed compiles its optimizers when they are first used."""
    for node in facts:
        missing = [name for name, path in node.tools.items() if path is None]
        if not missing:
            yield Finding("compiler", "ok", node.node, "g++ and ninja")
        elif needs.compiler:
            fix = "Install g++ (`apt-get install g++`) and `pip install ninja` there."
            yield Finding("compiler", "error", node.node, f"no {' and no '.join(missing)}", fix)
        else:
            seen = f"no {' and no '.join(missing)}: only DeepSpeed and compile need them"
            yield Finding("compiler", "ok", node.node, seen)


def locks(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """A killed build leaves its lock, and the next one waits for it without end."""
    for node in facts:
        for lock in node.locks:
            if lock.age_seconds > STALE_SECONDS:
                seen = f"{lock.path} is {lock.age_seconds / 3600:.1f} h old"
                fix = f"If nothing is being built there: rm {lock.path}"
                yield Finding("locks", "warning", node.node, seen, fix)


def clock(facts: Facts, needs: Needs) -> Iterator[Finding]:
    """Times of the record come from several machines."""
    for node in facts:
        if node.is_driver:
            continue
        apart, error = abs(node.clock_offset), node.clock_error
        side = "ahead of" if node.clock_offset > 0 else "behind"
        seen = f"{apart:.3f} s {side} the driver (to within {error:.3f} s)"
        sure = apart - error
        if sure > CLOCK[1]:
            level: Level = "error" if sure > CLOCK[0] else "warning"
            fix = "Let chrony or systemd-timesyncd set the clock there."
            yield Finding("clock", level, node.node, seen, fix)
        else:
            yield Finding("clock", "ok", node.node, seen)


def _of(sockets: Sequence[Listening], name: str) -> list[Listening]:
    """Sockets of Ray's or MLflow's programs."""
    signs = {"ray": ("ray::", "raylet", "gcs_server", "/ray/"), "mlflow": ("mlflow",)}[name]
    return [s for s in sockets if any(sign in (s.program or "") for sign in signs)]


def _ports(sockets: Sequence[Listening]) -> str:
    found = [f"{s.port}" for s in sockets]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return f"port{'s' * (len(found) > 1)} {', '.join(found[:8])}{more} beyond the loopback"


def _is_full(folder: FolderFacts) -> bool:
    return folder.free_bytes < (1 - RAY_FULL) * folder.total_bytes
