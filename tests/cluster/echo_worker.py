"""A worker that does as it is told; started by `tests.cluster.test_process` as a real process."""

import json
import os
import sys
import time

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


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
            case "print":
                print(message["text"], flush=True)
        reply = {"pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS"), **message}
        reply["env"] = {name: os.environ.get(name) for name in NAMES}
        reply["failed"] = message.get("fail") == rank
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
