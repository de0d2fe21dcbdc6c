"""`phi4mm serve MODEL`: OpenAI's routes over HTTP."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from phi4mm.errors import ConfigError
from phi4mm.server.settings import read_settings, table


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `serve`: one flag for each setting."""
    parser.usage = "phi4mm serve MODEL [--host ADDRESS] [--port N] [options]"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="MODEL", help="nano, a folder, or a hub id such as owner/name")
    parser.add_argument("--config", metavar="FILE", help="settings in TOML, named as the flags, with _ for -")
    flags = []
    for each, help in table():
        flag = "--" + each.name.replace("_", "-")
        shown = each.name in ("host", "port")
        text = help if shown else argparse.SUPPRESS
        if isinstance(each.default, bool):
            parser.add_argument(flag, nargs="?", const="true", help=text)
        else:
            parser.add_argument(flag, action="append" if isinstance(each.default, tuple) else "store", help=text)
        flags += [] if shown else [flag]
    parser.epilog = (
        "every setting is a flag, a variable of the environment (PHI4MM_PORT) and an\nentry of the file; "
        "docs/serving.md tells them. More flags:\n" + _wrapped(flags)
    )


def run(args: argparse.Namespace) -> int:
    """Print the settings to stderr, and serve until a signal comes."""
    flags = {each.name: getattr(args, each.name) for each, _ in table()}
    settings, engine_args, sources = read_settings(flags, os.environ, Path(args.config) if args.config else None)
    try:
        from phi4mm.server.access_log import set_up_logging
        from phi4mm.server.lifecycle import bind, serve
    except ModuleNotFoundError as error:
        raise ConfigError(f"the server needs {error.name}; pip install 'phi4mm[serve]'") from None
    listener = bind(settings.host, settings.port)
    set_up_logging()
    for config in (settings, engine_args):
        for each in dataclasses.fields(config):
            value = "***" if each.name == "api_key" and settings.api_key else getattr(config, each.name)
            print(f"  {each.name} = {value!r} ({sources.get(each.name, 'default')})", file=sys.stderr)
    host, port = listener.getsockname()[:2]
    scheme, address = "https" if settings.ssl_certfile else "http", f"[{host}]" if ":" in host else host
    print(f"phi4mm serves {args.model} at {scheme}://{address}:{port}", file=sys.stderr, flush=True)
    serve(args.model, settings, engine_args, listener)
    return 0


def _wrapped(flags: list[str]) -> str:
    lines = [""]
    for flag in flags:
        if len(lines[-1]) + 1 + len(flag) > 79:
            lines.append("")
        lines[-1] += f" {flag}"
    return "\n".join(lines)
