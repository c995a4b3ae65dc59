"""An MLflow server that tests may stop, kill and start again at the same address."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from keepgain.core.launch import free_port
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.server import ServerSettings, start_server

SWEEP = "tickets-7f3a2c"


@dataclass
class Server:
    """On a backend; its clients know the address, whether it is up or not."""

    backend: StoreLocation
    folder: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        self.process, _ = start_server(
            ServerSettings(
                self.backend,
                self.folder / "server.log",
                port=self.port,
                artifacts=(self.folder / "artifacts").as_uri(),
            )
        )

    def client(self) -> StoreLocation:
        return resolve_store(f"http://127.0.0.1:{self.port}", create=True, cwd=self.folder)

    def kill(self) -> None:
        """SIGKILL, to its workers as well."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()
        self.process = None

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def end(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGCONT)
            self.kill()


def await_true(condition: object, seconds: float, what: str) -> None:
    """Until a function says True."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
