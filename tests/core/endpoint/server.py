"""A real HTTP server on the loopback that answers as an OpenAI-compatible endpoint does, or as a
broken one; each request takes the next planned reply, the last one for ever."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What one request gets."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """None: an answer, `says` of the last message."""
    cut: int | None = None
    """The connection is closed after so many bytes of the body."""
    drip_seconds: float = 0.0
    """Between two bytes."""
    late_seconds: float = 0.0
    usage: bool = True
    finish: str = "stop"


OK = Reply()


@dataclass
class Server:
    """Where it is and what it was asked."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    plan: list[Reply] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    says: Callable[[str], str] = str.upper
    lock: threading.Lock = field(default_factory=threading.Lock)


def body_of(text: str, reply: Reply, question: str) -> bytes:
    """Three tokens a word, of the question and of the answer."""
    answer: dict[str, Any] = {
        "choices": [{"message": {"content": text}, "finish_reason": reply.finish}]
    }
    if reply.usage:
        counts = {"prompt": question, "completion": text}
        answer["usage"] = {f"{k}_tokens": 3 * len(t.split()) for k, t in counts.items()}
    return json.dumps(answer).encode()


@contextmanager
def serving(*plan: Reply, says: Callable[[str], str] = str.upper) -> Iterator[Server]:
    """Runs until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.asked.append(asked)
                server.headers.append({"path": self.path, **dict(self.headers)})
                server.times.append(time.monotonic())
                reply = server.plan.pop(0) if len(server.plan) > 1 else server.plan[0]
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                self.reply(reply, asked["messages"][-1]["content"])
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has gone, as a timeout lets it
            finally:
                with server.lock:
                    server.at_once -= 1

        def reply(self, reply: Reply, question: str) -> None:
            time.sleep(reply.late_seconds)
            body = reply.body
            if body is None:
                body = body_of(server.says(question), reply, question)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if reply.cut is not None:
                self.wfile.write(body[: reply.cut])
                self.close_connection = True
            elif reply.drip_seconds:
                for i in range(len(body)):
                    self.wfile.write(body[i : i + 1])
                    time.sleep(reply.drip_seconds)
            else:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_port}/v1", plan=list(plan) or [OK], says=says)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
