"""`phi4mm serve MODEL`: OpenAI's routes over HTTP."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import ssl
import sys
import textwrap
from pathlib import Path

from phi4mm.config.json_file import regular_file_bytes
from phi4mm.config.validate import shown_path
from phi4mm.errors import ConfigError
from phi4mm.server.settings import ServerSettings, read_settings, table


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
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        else:
            parser.add_argument(flag, action="append" if isinstance(each.default, tuple) else "store", help=text)
        flags += [] if shown else [flag]
    parser.epilog = (
        "every setting is a flag, a variable of the environment (PHI4MM_PORT) and an\nentry of the file; "
        "docs/serving.md tells them. More flags:\n"
        + textwrap.fill(" ".join(flags), 79, initial_indent=" ", subsequent_indent=" ", break_on_hyphens=False)
    )


def run(args: argparse.Namespace) -> int:
    """Print the settings to stderr, and serve until a signal comes."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server listens, and reads its keys again at it
    flags = {each.name: getattr(args, each.name) for each, _ in table()}
    settings, engine_args, sources = read_settings(flags, os.environ, Path(args.config) if args.config else None)
    from phi4mm.checkpoint.hub import resolve

    try:
        from phi4mm.server.access_log import set_up_logging
        from phi4mm.server.lifecycle import bind, serve
    except ModuleNotFoundError as error:
        raise ConfigError(f"the server needs {error.name}; type pip install '.[serve]' in the checkout") from None
    check_files(settings)
    folder = resolve(args.model)
    name = settings.served_model_name or (folder.resolve().name if Path(args.model).is_dir() else args.model)
    listener = bind(settings.host, settings.port)
    set_up_logging()
    for config in (settings, engine_args):
        for each in dataclasses.fields(config):
            value = "***" if each.name == "api_key" and settings.api_key else getattr(config, each.name)
            print(f"  {each.name} = {value!r} ({sources.get(each.name, 'default')})", file=sys.stderr)
    print(_memory_plan(folder, settings), file=sys.stderr)
    host, port = listener.getsockname()[:2]
    scheme, address = "https" if settings.ssl_certfile else "http", f"[{host}]" if ":" in host else host
    print(f"phi4mm serves {args.model} at {scheme}://{address}:{port}", file=sys.stderr, flush=True)
    serve(folder, name, settings, engine_args, listener)
    return 0


def check_files(settings: ServerSettings) -> None:
    """Raise ConfigError, with flag and path, for a file or folder that cannot be what its setting says."""
    from phi4mm.server.keys import Keys

    try:
        Keys(settings)
    except ConfigError as error:
        raise ConfigError(f"--api-keys: {error}") from None
    for flag, path in (("--ssl-certfile", settings.ssl_certfile), ("--ssl-keyfile", settings.ssl_keyfile)):
        if path:
            regular_file_bytes(Path(path), f"the file of {flag}", ConfigError)
    if settings.ssl_certfile:
        try:
            # A key with a passphrase is refused: nobody is there to type it.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, "")
        except OSError as error:
            paths = f"{shown_path(settings.ssl_certfile)} and {shown_path(settings.ssl_keyfile)}"
            raise ConfigError(
                f"--ssl-certfile and --ssl-keyfile: {paths} cannot be read as a certificate and its key without a"
                f" passphrase, both in PEM: {error!s:.200}"
            ) from None
    folders = [(f"--adapter {name:.60}", os.path.expanduser(folder)) for name, folder in settings.adapters.items()]
    for flag, folder in [*folders, ("--allowed-local-media-path", settings.allowed_local_media_path)]:
        if folder and not os.path.isdir(folder):
            raise ConfigError(f"{flag}: {shown_path(folder)} is no folder; make it first, or correct the path")


def _memory_plan(folder: Path, settings: ServerSettings) -> str:
    """What the weights will take, and a thousand tokens of keys and values, beside what is free."""
    from phi4mm.config.engine import EngineConfig
    from phi4mm.config.load import load_config
    from phi4mm.diagnostics.footprint import kv_cache_bytes, weight_bytes
    from phi4mm.inference.resolve import resolve_in
    from phi4mm.machine import memory

    config = load_config(folder)
    chosen = EngineConfig(settings.device, settings.dtype, quantize=settings.quantize or None)  # type: ignore[arg-type]
    resolved = resolve_in(folder, chosen)
    form = resolved.quantize or resolved.dtype
    weights, cache = weight_bytes(config)[form], kv_cache_bytes(config.text).get(resolved.dtype, 0)
    return (
        f"memory: {weights / 2**30:.2f} GiB of weights in {form}, {cache * 1000 / 2**20:.1f} MiB for each 1000 tokens "
        f"of keys and values; {memory().free / 2**30:.1f} GiB of main memory are free"
    )
