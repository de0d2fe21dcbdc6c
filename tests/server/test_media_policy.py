"""The media policy reaches only what is allowed, within its bounds, and tells nobody what is elsewhere."""

from __future__ import annotations

import asyncio
import gzip
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from phi4mm.errors import ConfigError
from phi4mm.protocol.messages import Audio, Image, Message
from phi4mm.server import fetching
from phi4mm.server.fetching import is_public
from phi4mm.server.media_error import MediaError
from phi4mm.server.media_policy import MediaPolicy
from tests.server.corpus.urls import NOT_PUBLIC, PUBLIC, REFUSED
from tests.server.network import ADDRESS, Network, answer

UNREACHABLE = "image 1: it cannot be fetched from its host; send the data as a data URI"
BODY = b"\x89PNG whatever"
POLICY = MediaPolicy(("media.example", "second.example"), max_item_bytes=1000, max_total_bytes=3000)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network(monkeypatch)
    found.pages["/good"] = answer(BODY)
    return found


def resolved(policy: MediaPolicy, *parts: Any) -> list[Any]:
    """The sources of the parts of one message."""
    (message,) = asyncio.run(policy.resolve([Message.user(*parts)]))
    return [part if isinstance(part, str) else part.source for part in message.parts]


def refusal(policy: MediaPolicy, *parts: Any) -> tuple[int, str]:
    with pytest.raises(MediaError) as caught:
        resolved(policy, *parts)
    assert caught.value.__cause__ is None
    return caught.value.status, str(caught.value)


def get(network: Network, url: str, policy: MediaPolicy = POLICY) -> Any:
    """What the policy makes of a URL: its bytes, or the status and text of the refusal."""
    try:
        (message,) = asyncio.run(network.run(policy.resolve([Message.user(Image(url))])))
        return message.parts[0].source
    except MediaError as error:
        status, text = error.status, str(error)
    assert ADDRESS not in text and "127.0.0.1" not in text and len(text) < 200
    return status, text


def test_inline_data_alone_are_taken_by_default() -> None:
    """A server that fetches or opens what a client names is the client's hand inside the network."""
    uri = "data:image/png;base64,AAAA"
    assert resolved(MediaPolicy(), "text", Image(b"abc"), Image(uri), Audio(b"d")) == ["text", b"abc", uri, b"d"]
    for source in ("http://media.example/good", "https://media.example/", "file:a.png", 7, Path("/etc/passwd")):
        status, text = refusal(MediaPolicy(), Image(source))
        assert (status, text[:9]) == (400, "image 1: ")


def test_an_allowed_url_is_fetched_from_the_address_that_was_checked(network: Network) -> None:
    """The name is resolved once, the answer is not unpacked, and the host is told its own name."""
    network.pages["/good?size=1"] = answer(BODY)
    assert get(network, "HTTP://Media.Example/good?size=1#part") == BODY
    assert (network.resolved, network.reached) == (["media.example"], [(ADDRESS, 80, None)])
    head = network.requests[0].lower()
    assert head.startswith("get /good?size=1 http/1.1\r\nhost: media.example\r\n")
    assert "\r\naccept-encoding: identity\r\n" in head


@pytest.mark.parametrize("url", REFUSED, ids=lambda url: repr(url)[:40])
def test_no_hostile_url_reaches_anything(network: Network, url: str) -> None:
    """Each of these led another server to where it must not go."""
    status, text = get(network, url, MediaPolicy(("media.example",), Path("/usr/share")))
    assert status in (400, 422)
    assert (network.resolved, network.reached, network.requests) == ([], [], [])
    assert "passwd" not in text and "/usr" not in text


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_name_that_leads_inside_is_not_followed(network: Network, address: str) -> None:
    """Whoever owns an allowed name can point it anywhere, also beside a public address."""
    assert not is_public(address)
    for addresses in ([address], [ADDRESS, address], [address, ADDRESS]):
        network.names["media.example"] = [addresses]
        assert get(network, "http://media.example/good") == (422, UNREACHABLE)
    assert network.reached == []


def test_public_addresses_are_known_as_such() -> None:
    """Refusing all would be safe, and of no use."""
    assert [address for address in PUBLIC if not is_public(address)] == []


def test_a_name_that_changes_its_address_is_asked_once(network: Network) -> None:
    """DNS rebinding: public when it is checked, private when it is connected to."""
    network.names["media.example"] = [[ADDRESS], ["127.0.0.1"]]
    assert get(network, "http://media.example/good") == BODY
    assert network.reached == [(ADDRESS, 80, None)]
    assert get(network, "http://media.example/good")[0] == 422
    assert network.reached == [(ADDRESS, 80, None)]


def test_the_next_address_is_tried_where_one_does_not_answer(network: Network) -> None:
    """A host with a dead address of IPv6 is common."""
    network.names["media.example"] = [["2606:4700::1111", ADDRESS]]
    assert get(network, "http://media.example/good") == BODY
    assert [address for address, _, _ in network.reached] == ["2606:4700::1111", ADDRESS]


@pytest.mark.parametrize(
    "location",
    [*REFUSED[:60], "http://127.0.0.1/good", "http://second.example:8080/good", "http://inside.example/good"],
    ids=lambda url: repr(url)[:40],
)
def test_a_redirect_is_checked_like_the_first_url(network: Network, location: str) -> None:
    """An open redirect of an allowed host led others inside."""
    network.names["inside.example"] = [["10.0.0.1"]]
    policy = MediaPolicy(("media.example", "inside.example"), max_redirects=1)
    location = location.encode("ascii", "ignore").decode().replace("\r\n", " ").replace("\0", "")
    network.pages["/go"] = answer(b"", f"Location: {location}", status="302 Found")
    found = get(network, "http://media.example/go", policy)
    assert found[0] == 422
    assert {address for address, _, _ in network.reached} == {ADDRESS}
    assert {head.split()[4] for head in network.requests} == {"media.example"}


def test_redirects_are_followed_as_far_as_allowed(network: Network) -> None:
    """Image hosts redirect once or twice; a loop must end."""
    network.names["second.example"] = [[ADDRESS]]
    network.pages["/relative"] = answer(b"", "Location: good", status="301 Moved")
    network.pages["/other"] = answer(b"", "Location: http://second.example/relative", status="307 Temporary")
    network.pages["/loop"] = answer(b"", "Location: /loop", status="302 Found")
    assert get(network, "http://media.example/other") == BODY
    assert [head.split()[4] for head in network.requests] == ["media.example", "second.example", "second.example"]
    assert get(network, "http://media.example/loop") == (422, "image 1: its URL redirects more than 3 times")
    assert len(network.requests) == 3 + 4
    assert get(network, "http://media.example/other", MediaPolicy(POLICY.allowed_domains, max_redirects=1))[0] == 422


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(bytes(500))
        await writer.drain()


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: " + b"y" * 1000 + b"\r\n")
        await writer.drain()


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.02)
        await writer.drain()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert await reader.read() == b""  # until the client leaves


HALF = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"


@pytest.mark.parametrize(
    ("page", "status", "told"),
    [
        (endless, 413, "has more than the 1000 bytes"),
        (endless_headers, 422, "cannot be fetched"),
        (slow, 422, "took more than 0.3 seconds"),
        (silent, 422, "took more than 0.3 seconds"),
        (answer(bytes(1001)), 413, "has more than the 1000 bytes"),
        (answer(b"", "Content-Length: 99999999999999999999"), 413, "has more than"),
        (answer(b"abc", "Content-Length: 9"), 422, "cannot be fetched"),
        (answer(b"abc", "Content-Length: -1"), 422, "cannot be fetched"),
        (answer(b"abc", "Content-Length: 3", "Content-Length: 5"), 422, "cannot be fetched"),
        (HALF, 422, "cannot be fetched"),
        (HALF[:-8] + b"FFFFFFFFFFFFFFFFFFFFF\r\nabc", 422, "cannot be fetched"),
        (answer(gzip.compress(bytes(10**7)), "Content-Encoding: gzip", "Connection: close"), 422, "compressed"),
        (answer(b"x", "Transfer-Encoding: gzip, chunked"), 422, "cannot be fetched"),
        (answer(b"no", status="404 Not Found"), 422, "status 404"),
        (answer(b"no", status="403 Forbidden"), 422, "status 403"),
        (answer(b"no", status="500 Oops"), 422, "status 500"),
        (answer(b"", status="204 No Content"), 422, "status 204"),
        (answer(b"", "Content-Length: 0", status="302 Found"), 422, "status 302"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 422, "cannot be fetched"),
        (b"", 422, "cannot be fetched"),
        (b"\0" * 100_000, 422, "cannot be fetched"),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)[:30]),
)
def test_an_answer_that_is_no_media_item_ends_in_time(network: Network, page: Any, status: int, told: str) -> None:
    """A host may be hostile, slow or broken; memory and time stay bounded."""
    network.pages["/odd"] = page
    seconds = 0.3 if "0.3 seconds" in told else 20
    policy = MediaPolicy(("media.example",), max_item_bytes=1000, fetch_seconds=seconds)
    found = get(network, "http://media.example/odd", policy)
    assert (found[0], told in found[1]) == (status, True), found
    assert get(network, "http://media.example/good") == BODY


def test_bodies_of_unknown_length_are_read_to_their_end(network: Network) -> None:
    """HTTP/1.0, and chunks."""
    network.pages["/old"] = b"HTTP/1.0 200 OK\r\n\r\n" + BODY
    network.pages["/chunks"] = HALF + b"de\r\n2\r\nfg\r\n0\r\n\r\n"
    assert get(network, "http://media.example/old") == BODY
    assert get(network, "http://media.example/chunks") == b"abcdefg"


def test_a4_a_client_that_leaves_ends_the_fetch_for_it(network: Network) -> None:
    """Otherwise clients that come and go leave connections behind."""
    network.pages["/silent"] = silent

    async def leave() -> None:
        task = asyncio.create_task(POLICY.resolve([Message.user(Image("http://media.example/silent"))]))
        while not network.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            while not network.served:
                await asyncio.sleep(0.01)

    asyncio.run(network.run(leave()))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of media.example that signs itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    names = ("-subj", "/CN=media.example", "-addext", "subjectAltName=DNS:media.example")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    try:
        subprocess.run([*command, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("the program openssl, which makes a certificate, is not installed")
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_tls_is_checked_for_the_name_and_not_for_the_address(
    network: Network, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the address in place of the name, every certificate would be wrong, or none checked."""
    network.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    network.tls.load_cert_chain(certificate)
    network.names["second.example"] = [[ADDRESS]]
    assert get(network, "https://media.example/good")[0] == 422  # nobody vouches for it
    assert network.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    fetching._tls.cache_clear()
    try:
        assert get(network, "https://media.example/good") == BODY
        assert get(network, "https://second.example/good")[0] == 422  # the certificate is of another name
    finally:
        fetching._tls.cache_clear()
    assert network.reached[1:] == [(ADDRESS, 443, "media.example"), (ADDRESS, 443, "second.example")]
    assert len(network.requests) == 1


@pytest.fixture
def local(tmp_path: Path) -> MediaPolicy:
    """A folder with good files, and with all that leads out of it."""
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").write_bytes(BODY)
    (folder / "sub" / "b c.png").write_bytes(b"second")
    (folder / "large").write_bytes(bytes(1001))
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "media2").mkdir()
    (tmp_path / "media2" / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "out").symlink_to(tmp_path)
    (folder / "within").symlink_to(folder / "a.png")
    os.mkfifo(folder / "pipe")
    return MediaPolicy(local_folder=folder, max_item_bytes=1000)


def test_files_below_the_folder_are_read(local: MediaPolicy) -> None:
    """By the path within the folder, or as the absolute path that users of vLLM write."""
    assert local.local_folder is not None
    urls = ("file:a.png", "file://a.png", f"file://{local.local_folder}/a.png", "FILE:a%2Epng")
    assert resolved(local, *map(Image, urls)) == [BODY] * 4
    assert resolved(local, Audio("file:sub/b%20c.png")) == [b"second"]
    assert refusal(local, Image("file:large"))[0] == 413


def test_nothing_outside_the_folder_can_be_told_from_what_is_missing(local: MediaPolicy) -> None:
    """Not by its data, and not by the words of the refusal."""
    assert local.local_folder is not None
    above = local.local_folder.parent
    names = (
        *(
            "",
            "missing",
            "link",
            "within",
            "out/secret",
            "pipe",
            "sub",
            "../secret",
            "sub/../../secret",
            "%2e%2e/secret",
        ),
        *("sub/%2e%2e/%2e%2e/secret", "..%2fsecret", "/etc/passwd", f"{above}/secret", f"{above}/media2/secret"),
        *(f"{local.local_folder}/../secret", f"{local.local_folder}", "a.png/", "./a.png", "sub//b c.png", "a.png%00"),
        *("localhost/etc/passwd", "/dev/zero", "/proc/self/environ", "x" * 5000, "a" + "/a" * 5000, "\ud800", "%ff"),
    )
    texts = {refusal(local, Image(f"{head}{name}")) for name in names for head in ("file:", "file://")}
    assert texts == {(422, "image 1: there is no such file in the folder of local media")}


def test_the_number_and_the_size_of_media_are_bounded() -> None:
    """Of each and of all, counted over the whole conversation."""
    policy = MediaPolicy(max_items=2, max_item_bytes=10, max_total_bytes=15)
    assert resolved(policy, Image(b"x" * 10), Audio(b"x" * 5)) == [b"x" * 10, b"x" * 5]
    assert refusal(policy, Image(b""), Image(b""), Audio(b"")) == (
        400,
        "the request has 3 images and audio clips; expected at most 2",
    )
    status, text = refusal(policy, Audio(b"x" * 11))
    assert (status, text[:24]) == (413, "audio 1: it has 11 bytes")
    assert refusal(policy, Image("data:image/png;base64," + "A" * 16))[0] == 413
    assert refusal(policy, Image(b"x" * 9), Image(b"x" * 7))[1].startswith("image 2: it has 7 bytes")
    with pytest.raises(MediaError, match="audio 2"):
        asyncio.run(policy.resolve([Message.user(Audio(b"x" * 9)), Message.user(Audio(b"x" * 7))]))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"allowed_domains": ("*",)}, r"allowed domain '\*'; expected a host"),
        ({"allowed_domains": ("http://a.example",)}, "expected a host"),
        ({"allowed_domains": ("A.example",)}, "in small letters"),
        ({"local_folder": Path("/nowhere")}, "'/nowhere' is no folder"),
        ({"max_items": 1000}, "max_items is 1000; expected a whole number from 0 to 128"),
        ({"fetch_seconds": 0}, "fetch_seconds is 0; expected a number above 0"),
        ({"max_item_bytes": 2**31}, "max_item_bytes"),
    ],
)
def test_an_impossible_policy_is_refused_at_the_start(wrong: dict[str, Any], told: str) -> None:
    """A domain with a misspelling would allow nothing, or something else."""
    with pytest.raises(ConfigError, match=told):
        MediaPolicy(**wrong)
