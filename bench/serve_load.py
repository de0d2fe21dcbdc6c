"""How much of the engine's speed reaches 200 clients that stream over HTTP, and what does five minutes of them leave?

    python bench/serve_load.py [--clients 200] [--seconds 300] [--model nano]

Two arms, one after the other. In both the engine's process runs on core 0; everything else, the server and its clients
or the caller, on core 1.

    direct  one process asks the engine through its client, as many answers at once as there are clients
    served  `phi4mm serve`, and as many clients in another process, each with one streamed request after another

Beside the clients, a third process asks /health ten times a second. It fails on an error other than 429, on pages that
are not free at the end, on more open files than after the first tenth, and on 64 MB more memory than then. A table on
stderr, one JSON line last.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

TOKENS = 64  # most of an answer
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # of the engine, which has one core
GROWTH = 64 * 2**20  # bytes of memory that may be added after the first tenth
CLIENT = """{"model":"MODEL","messages":[{"role":"user","content":"CONTENT"}],"stream":true,"temperature":1,"seed":SEED,
"max_tokens":TOKENS,"stream_options":{"include_usage":true}}"""


def main() -> int:
    """Run both arms, or with --part one process of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--part", choices=("direct", "clients", "health"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part == "direct":
        print(json.dumps(asyncio.run(direct(args.model, args.clients, args.seconds))))
    elif args.part == "clients":
        print(json.dumps(asyncio.run(clients(args.port, args.model, args.clients, args.seconds))))
    elif args.part == "health":
        print(json.dumps(health(args.port, args.seconds)))
    else:
        return compare(args)
    return 0


def compare(args: argparse.Namespace) -> int:
    """Both arms, and what they show."""
    from measure import provenance

    alone = run_part(args, "direct").communicate()[0]
    engine = json.loads(alone.splitlines()[-1])
    served = serve(args)
    record = {
        "clients": args.clients,
        "seconds": args.seconds,
        "direct": engine,
        "served": served,
        "of_the_engine": round(served["tokens_per_second"] / engine["tokens_per_second"], 3),
    }
    faults = [name for name in ("errors", "pages_held", "files_added") if served[name]]
    faults += ["memory_added"] if served["memory_added"] > GROWTH else []
    print(json.dumps(record, indent=2), file=sys.stderr)
    print(json.dumps(record | {"faults": faults, "provenance": provenance()}))
    return 1 if faults else 0


def run_part(args: argparse.Namespace, part: str, port: int = 0) -> subprocess.Popen[str]:
    """This script as another process on core 1."""
    command = [sys.executable, __file__, "--part", part, "--port", str(port), "--model", args.model]
    command += ["--clients", str(args.clients), "--seconds", str(args.seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD)
    os.sched_setaffinity(process.pid, {1})
    return process


def serve(args: argparse.Namespace) -> dict[str, Any]:
    """The served arm."""
    command = [sys.executable, "-m", "phi4mm", "serve", args.model, "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD)
    assert server.stderr is not None
    port = next(int(found[1]) for line in server.stderr if (found := re.search(r" at http://[^ ]*:(\d+)", line)))
    drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
    try:
        while status(port) != 200:
            time.sleep(0.1)
        pin(server.pid)
        running = run_part(args, "clients", port), run_part(args, "health", port)
        time.sleep(args.seconds / 10)
        before = held(server.pid)
        answered, healthy = (json.loads(part.communicate()[0].splitlines()[-1]) for part in running)
        time.sleep(2)
        after = held(server.pid)
        left = {
            "pages_held": metric(port, "vllm:kv_cache_usage_perc"),
            "files_added": max(0, after["files"] - before["files"]),
            "memory_added": after["memory"] - before["memory"],
        }
        server.send_signal(signal.SIGTERM)
        return {**answered, **healthy, **left, "exit_status": server.wait(60)}
    finally:
        server.kill()
        drain.kill()


def pin(server: int) -> None:
    """The engine's process on core 0, the server and its other processes on core 1."""
    for process in (psutil.Process(server), *psutil.Process(server).children(recursive=True)):
        engine = process.pid != server and "phi4mm.server.decoding" not in process.cmdline()
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {0} if engine else {1})


def held(server: int) -> dict[str, int]:
    """Open files and resident bytes of the server and its processes."""
    processes = (psutil.Process(server), *psutil.Process(server).children(recursive=True))
    files = sum(process.num_fds() for process in processes) - len(psutil.Process(server).net_connections())
    return {"files": files, "memory": sum(process.memory_info().rss for process in processes)}


def status(port: int) -> int:
    """Of /health."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return int(answer.status)
    except OSError:
        return 0


def metric(port: int, name: str) -> float:
    """A figure of /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


async def direct(model: str, count: int, seconds: float) -> dict[str, Any]:
    """Answers of the engine's own client, `count` at once."""
    import phi4mm

    with phi4mm.load(model, engine="process") as loaded:
        for process in psutil.Process().children(recursive=True):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, {0})
        first: list[float] = []
        tokens, numbers, end = Counter[str](), itertools.count(), time.monotonic() + seconds

        async def one() -> None:
            while time.monotonic() < end:
                number, begun, seen = next(numbers), time.monotonic(), False
                stream = loaded.stream(content(number), max_tokens=TOKENS, temperature=1.0, seed=number)
                async for _ in stream:
                    if not seen:
                        first.append(time.monotonic() - begun)
                    seen = True
                tokens["completion"] += stream.reply.usage.completion_tokens
                tokens["answers"] += 1

        begun = time.monotonic()
        await asyncio.gather(*(one() for _ in range(count)))
        return figures(tokens, first, time.monotonic() - begun)


async def clients(port: int, model: str, count: int, seconds: float) -> dict[str, Any]:
    """Streamed requests, `count` at once, each over a connection of its own."""
    first: list[float] = []
    tokens, numbers, end = Counter[str](), itertools.count(), time.monotonic() + seconds
    errors: Counter[str] = Counter()

    async def one() -> None:
        while time.monotonic() < end:
            try:
                await ask(port, model, next(numbers), tokens, first)
            except (OSError, ValueError, asyncio.IncompleteReadError) as error:
                errors[str(error)[:80] or type(error).__name__] += 1

    begun = time.monotonic()
    await asyncio.gather(*(one() for _ in range(count)))
    return figures(tokens, first, time.monotonic() - begun) | {"errors": dict(errors), "refused": tokens["refused"]}


async def ask(port: int, model: str, number: int, tokens: Counter[str], first: list[float]) -> None:
    """One streamed chat request. Raises ValueError for an answer that is no stream of chunks with an end."""
    body = CLIENT.replace("MODEL", model).replace("CONTENT", content(number)).replace("SEED", str(number))
    body = body.replace("TOKENS", str(TOKENS))
    begun, seen, done = time.monotonic(), False, False
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
        answered = await reader.readline()
        if b" 429 " in answered:
            tokens["refused"] += 1
            await asyncio.sleep(1)
            return
        if b" 200 " not in answered:
            raise ValueError(answered.decode(errors="replace").strip())
        while line := await reader.readline():
            if line.startswith(b"data: [DONE]"):
                done = True
            elif line.startswith(b"data: ") and b'"error"' in line[:20]:
                raise ValueError(line.decode(errors="replace").strip())
            elif line.startswith(b"data: "):
                chunk = json.loads(line[6:])
                if not seen and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                    first.append(time.monotonic() - begun)
                    seen = True
                if usage := chunk.get("usage"):
                    tokens["completion"] += usage["completion_tokens"]
        if not done:
            raise ValueError("the stream ended without [DONE]")
        tokens["answers"] += 1
    finally:
        writer.close()


def health(port: int, seconds: float) -> dict[str, Any]:
    """Latency of /health over one connection, ten times a second."""
    connection, times = http.client.HTTPConnection("127.0.0.1", port, timeout=30), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        connection.request("GET", "/health")
        assert connection.getresponse().read() is not None
        times.append(time.monotonic() - begun)
        time.sleep(0.1)
    return {"health_p50_ms": at(times, 0.5, 1000), "health_p99_ms": at(times, 0.99, 1000)}


def content(number: int) -> str:
    """The question of a request; no two are alike."""
    return f"Hello, I am number {number}. Where is the nearest station?"


def figures(tokens: Counter[str], first: list[float], seconds: float) -> dict[str, Any]:
    """What an arm measured."""
    return {
        "answers": tokens["answers"],
        "tokens_per_second": round(tokens["completion"] / seconds, 1),
        "first_token_p50_s": at(first, 0.5),
        "first_token_p95_s": at(first, 0.95),
    }


def at(values: list[float], share: float, factor: float = 1.0) -> float:
    """The value below which a share of the values lies."""
    return round(factor * statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1], 3)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
