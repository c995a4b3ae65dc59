"""A worker that does as it is told; started by `tests.cluster.test_process` as a real process."""

import json
import os
import socket
import sys
import time

NAMES = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("GLOO_SOCKET_IFNAME", "CUDA_VISIBLE_DEVICES"),
)
PORT_TAKEN = 98


def main() -> None:
    replies = os.fdopen(int(os.environ["KEEPGAIN_REPLY_FD"]), "w", encoding="utf-8")
    for line in sys.stdin:
        message = json.loads(line)
        rank = int(os.environ.get("RANK", "0"))
        if message.get("unless") == rank:
            message = {**message, "do": "say", **message.get("then", {})}
        match message["do"]:
            case "exit":
                sys.exit(message["code"])
            case "kill":
                os.kill(os.getpid(), message["signal"])
            case "hang":
                time.sleep(600)
            case "work":
                until = time.monotonic() + message["seconds"]
                while time.monotonic() < until:
                    time.sleep(0.1)
                    replies.write("\n")
                    replies.flush()
            case "listen" if rank == 0:
                time.sleep(message.get("seconds", 0))
                listen()
            case "listen" if message.get("strangers_port") == os.environ["MASTER_PORT"]:
                sys.exit("who is there?")
            case "print":
                print(message["text"], flush=True)
        reply = {"pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS"), **message}
        reply["env"] = {name: os.environ.get(name) for name in NAMES}
        reply["failed"] = message.get("fail") == rank
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def listen() -> None:
    """As rank 0 of a process group does."""
    with socket.socket() as server:
        try:
            server.bind(("", int(os.environ["MASTER_PORT"])))
        except OSError:
            sys.exit(PORT_TAKEN)


if __name__ == "__main__":
    main()
