"""Load on a server of nano: many clients that stream at once, and /health meanwhile. Prints one JSON object last.

    python bench/serve_load.py --clients 200 --seconds 300

Each client sends one request after another and reads it to its end. A 429 is counted and sent again after a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from phi4mm import machine

ROOT = Path(__file__).parent.parent
BODY = {"model": "nano", "messages": [{"role": "user", "content": "Hello."}], "stream": True, "max_tokens": 64}
OPTIONS = {"temperature": 1, "stream_options": {"include_usage": True}}


@dataclass
class Counts:
    """What the clients saw."""

    first: list[float] = field(default_factory=list)  # seconds to the first token
    health: list[float] = field(default_factory=list)
    tokens: int = 0
    requests: int = 0
    refused: int = 0
    errors: list[str] = field(default_factory=list)


async def client(host: str, port: int, end: float, counts: Counts, number: int) -> None:
    """Ask until the time is over."""
    turn = 0
    while time.monotonic() < end:
        turn += 1
        body = json.dumps({**BODY, **OPTIONS, "seed": number * 100_000 + turn}).encode()
        begin = time.monotonic()
        reader, writer = await asyncio.open_connection(host, port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
        writer.write(f"{head}content-type: application/json\r\nconnection: close\r\n\r\n".encode() + body)
        status = (await reader.readline()).split()[1:2]
        last, seen = b"", False
        async for line in reader:
            if line.startswith(b"data: "):
                if not seen and b'"content":"' in line and b'"content":""' not in line:
                    counts.first.append(time.monotonic() - begin)
                    seen = True
                if b'"completion_tokens"' in line:
                    counts.tokens += int(re.findall(rb'"completion_tokens":(\d+)', line)[0])
                last = line
        writer.close()
        if status == [b"429"]:
            counts.refused += 1
            await asyncio.sleep(1)
        elif status != [b"200"] or last.strip() != b"data: [DONE]":
            counts.errors.append(f"{status} {last[:100]!r}")
        else:
            counts.requests += 1


async def health(host: str, port: int, end: float, counts: Counts) -> None:
    """Ask for the health ten times a second."""
    while time.monotonic() < end:
        begin = time.monotonic()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        if b" 200 " not in await reader.readline():
            counts.errors.append("health")
        counts.health.append(time.monotonic() - begin)
        writer.close()
        await asyncio.sleep(0.1)


async def load(host: str, port: int, clients: int, seconds: float) -> Counts:
    """All clients, for that time."""
    counts, end = Counts(), time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(host, port, end, counts, number))
        group.create_task(health(host, port, end, counts))
    return counts


def quantile(values: list[float], q: float) -> float | None:
    """That part of the values is at most this, in milliseconds."""
    return round(sorted(values)[min(len(values) - 1, int(q * len(values)))] * 1000, 1) if values else None


def main() -> int:
    """Start a server, load it, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    args = parser.parse_args()
    command = [sys.executable, "-m", "phi4mm", "serve", "nano", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    log = ROOT / "bench" / "serve_load.log"
    with log.open("w+") as stderr:
        server = subprocess.Popen(command, stderr=stderr, env=environment)
        try:
            while (
                not (found := re.search(r"serves nano at (\S+)", log.read_text())) or "is loaded" not in log.read_text()
            ):
                time.sleep(0.2)
            where = urlsplit(found[1])
            process = psutil.Process(server.pid)
            asyncio.run(load(str(where.hostname), where.port or 80, args.clients, min(5, args.seconds)))  # warm
            before, handles = process.memory_info().rss, process.num_fds()
            counts = asyncio.run(load(str(where.hostname), where.port or 80, args.clients, args.seconds))
            time.sleep(1)
            record = {
                "command": f"python bench/serve_load.py --clients {args.clients} --seconds {args.seconds:g}",
                "commit": machine.code_commit(),
                "cpu": machine.cpu_name(),
                "requests": counts.requests,
                "refused": counts.refused,
                "errors": len(counts.errors),
                "tokens_per_second": round(counts.tokens / args.seconds, 1),
                "first_token_ms": {"p50": quantile(counts.first, 0.5), "p95": quantile(counts.first, 0.95)},
                "health_ms": {"p50": quantile(counts.health, 0.5), "p99": quantile(counts.health, 0.99)},
                "server_bytes_grown": process.memory_info().rss - before,
                "handles_grown": process.num_fds() - handles,
            }
        finally:
            server.terminate()
            server.wait(60)
    log.unlink()
    print("\n".join(counts.errors[:5]), file=sys.stderr)
    print(json.dumps(record))
    return 1 if counts.errors else 0


if __name__ == "__main__":
    sys.exit(main())
