"""A driver whose head falls silent: told, asked to end, and ended if it does not."""

import socket
import subprocess
import sys

import pytest

DRIVER = """
import signal, sys, threading, time
from keepgain.cluster import head_watch
head_watch.EVERY_SECONDS, head_watch.LOST_SECONDS, head_watch.END_SECONDS = 0.1, 0.3, 0.5
if sys.argv[2] == "orderly":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
args = (sys.argv[1], threading.Event(), lambda text: print(text, flush=True))
threading.Thread(target=head_watch._watch, args=args, daemon=True).start()
print("watching", flush=True)
time.sleep(60)
"""


@pytest.mark.fault("P8")
@pytest.mark.parametrize(("driver", "code"), [("orderly", 130), ("stuck", 1)])
def test_a_silent_head_ends_the_driver_with_a_message(driver: str, code: int) -> None:
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        address = f"127.0.0.1:{head.getsockname()[1]}"
        command = [sys.executable, "-c", DRIVER, address, driver]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "watching\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.5)  # five times what is too long
            head.close()
            assert process.wait(30) == code
            said = process.stdout.read()
    assert address in said and "the same command continues" in said
