"""URLs by which others were led to where they must not go, and addresses that nobody outside may have."""

from __future__ import annotations

# Each is refused with 400 before a name is resolved, where only `media.example` is allowed.
REFUSED = (
    *("http://127.0.0.1/a.png", "http://localhost/a.png", "http://[::1]/a.png", "http://0.0.0.0/a.png", "http://0/a"),
    *("http://2130706433/a.png", "http://0177.0.0.1/a.png", "http://0x7f000001/a.png", "http://127.1/a.png"),
    *("http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/", "http://[::ffff:7f00:1]/"),
    *("http://metadata.google.internal/", "http://router.local/", "http://192.168.0.1/", "http://10.0.0.1:8080/"),
    *("http://other.example/a.png", "http://media.example.other.example/", "http://amedia.example/"),
    *("http://media.example./a.png", "http://sub.media.example/", "http://media.example:22/", "http://media.example:/"),
    *("http://media.example@127.0.0.1/", "http://127.0.0.1\\@media.example/", "http://media.example\\@127.0.0.1/"),
    *("http://127.0.0.1#@media.example/", "http://127.0.0.1?@media.example/", "http://user:key@media.example/"),
    *("http:///media.example/", "http:/media.example/", "http:media.example/", "http://", "https://", "http:"),
    *(
        "http://media.example:99999/",
        "http://media.example:-1/",
        "http://media.example:80:80/",
        "http://%6dedia.example",
    ),
    *("http://media.example\t/a", "http://media.example/\r\nHost: 127.0.0.1", "http://media.example/a b", " http://a/"),
    *(
        "http://media\u3002example/",
        "http://\u24dcedia.example/",
        "http://med\u0131a.example/",
        "http://media.example/\u00e9",
    ),
    *("http://media.e\u017fample/", "ht\u017ftp://media.example/", "http://media.example/\0", "HTTP://LOCALHOST/"),
    *("ftp://media.example/a.png", "gopher://media.example/", "ws://media.example/", "blob:http://media.example/"),
    *("file:///etc/passwd", "file://media.example/etc/passwd", "FILE:///etc/passwd", "jar:http://media.example!/"),
    *("/etc/passwd", "~/.ssh/id_rsa", "../../etc/passwd", "C:\\a.png", "\\\\host\\share", "a.png", "", "javascript:1"),
    *("//media.example/a.png", "media.example/a.png", "http", "\ud800", "http://media.example/\ud800", "x" * 100_000),
)

# A name that is allowed but leads here is not connected to.
NOT_PUBLIC = (
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "fe80::1%2"),
    *("fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2001:0:0:0:0:0:80ff:fffe", "fec0::1", "100::1"),
)
PUBLIC = ("93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1")
