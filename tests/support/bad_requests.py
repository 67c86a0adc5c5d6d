"""Bad requests, each as it goes over the wire: its name, the status it is refused with, its bytes."""

from tests.support.server import API, TOKEN

MIB = 1024 * 1024
AUTH = f"?token={TOKEN}"
GOOD_SETTINGS = b'{"network":{"interface":"eth0","hostname":"box"},"app":{}}'


def head(method: str, path: str, *lines: str, host: str | None = "box.example") -> bytes:
    """A request's head; what a line holds beyond ASCII goes out as ISO 8859-1."""
    all_lines = [f"{method} {path} HTTP/1.1", *([f"Host: {host}"] if host is not None else []), *lines, "", ""]
    return "\r\n".join(all_lines).encode("latin-1")


def get(path: str = "/version", *lines: str, host: str | None = "box.example", method: str = "GET") -> bytes:
    """A request without a body, with good credentials."""
    return head(method, f"{API}{path}{AUTH}", *lines, host=host)


def post(path: str, body: bytes, content_type: str, *lines: str, auth: str = AUTH) -> bytes:
    """A request with a body of announced length."""
    lines = (f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *lines)
    return head("POST", f"{API}{path}{auth}", *lines) + body


def chunked(path: str, body: bytes, content_type: str, auth: str = AUTH) -> bytes:
    """The same in chunks; `body` is chunked already."""
    return head("POST", f"{API}{path}{auth}", f"Content-Type: {content_type}", "Transfer-Encoding: chunked") + body


def chunks(*pieces: bytes) -> bytes:
    """Encode pieces as chunks, the last one included."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def json_post(path: str, body: bytes) -> bytes:
    return post(path, body, "application/json")


def url_post(path: str, body: bytes, *lines: str) -> bytes:
    return post(path, body, "application/x-www-form-urlencoded", *lines)


def part(disposition: str, content: bytes = b"x", extra: str = "") -> bytes:
    """One part of a form with the boundary `b`."""
    return f"--b\r\nContent-Disposition: form-data; {disposition}{extra}\r\n\r\n".encode("latin-1") + content + b"\r\n"


def form(
    path: str, *parts: bytes, end: bytes = b"--b--\r\n", boundary: str = "; boundary=b", auth: str = AUTH
) -> bytes:
    return post(path, b"".join(parts) + end, "multipart/form-data" + boundary, auth=auth)


def settings_file(content: bytes) -> bytes:
    return form("/settings", part('name="settings"; filename="s.json"', content))


def network(**values: str) -> bytes:
    """Settings with these raw JSON values."""
    members = {"interface": '"eth0"', "hostname": '"box"'} | values
    return b'{"network":{' + ",".join(f'"{name}":{value}' for name, value in members.items()).encode() + b"}}"


HOSTS: list[tuple[str, bytes]] = [
    ("no host", get(host=None)),
    ("two hosts", get("/version", "Host: box.example")),
    ("no host in a POST", head("POST", f"{API}/setup{AUTH}", "Content-Length: 10", host=None) + b"newtoken=x"),
    *(
        (f"host {name!r}", get(host=name))
        for name in [
            "",
            "a..b",
            ".",
            "x" * 64 + ".example",
            "box.example/path",
            "user@box.example",
            "box.example:port",
            "box:",
            "box:123456",
            "[::1",
            "::1",
            "[zz::1]",
            "hö.example",
            "a b",
            "-a.example",
            "a, b",
            "a\tb",
            "%00",
            "a_*",
            "x." * 130 + "x",
            "127.0.0.1:8443:8443",
            "http://box",
        ]
    ),
]

LINES: list[tuple[str, int, bytes]] = [
    ("garbage", 400, b"GARBAGE\r\n\r\n"),
    ("one space", 400, b" \r\n\r\n"),
    ("three empty lines", 400, b"\r\n\r\n\r\n" + get()),
    ("no version", 400, b"GET /\r\n\r\n"),
    ("four words", 400, b"GET / / HTTP/1.1\r\nHost: box\r\n\r\n"),
    ("two blanks", 400, b"GET  / HTTP/1.1\r\nHost: box\r\n\r\n"),
    ("HTTP/2.0", 400, b"GET / HTTP/2.0\r\nHost: box\r\n\r\n"),
    ("HTTP/0.9", 400, b"GET / HTTP/0.9\r\nHost: box\r\n\r\n"),
    ("http in small letters", 400, b"GET / http/1.1\r\nHost: box\r\n\r\n"),
    ("HTTP/2 preface", 400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("method with a bracket", 400, b"GE(T / HTTP/1.1\r\nHost: box\r\n\r\n"),
    ("NUL in the target", 400, b"GET /\0 HTTP/1.1\r\nHost: box\r\n\r\n"),
    ("escape in the target", 400, b"GET /\x1b[2J HTTP/1.1\r\nHost: box\r\n\r\n"),
    ("raw UTF-8 in the target", 400, b"GET /\xc3\xb6 HTTP/1.1\r\nHost: box\r\n\r\n"),
    ("a request line of 10 MB", 414, b"GET /" + b"x" * (10 * MIB) + b" HTTP/1.1\r\nHost: box\r\n\r\n"),
    ("a header of 10 MB", 431, get("/version", "X: " + "x" * (10 * MIB))),
    ("10 MB of headers", 431, get("/version", *(f"X-{i}: {'x' * 1000}" for i in range(10 * 1024)))),
    ("600 headers", 431, get("/version", *(f"X{i}: 1" for i in range(600)))),
    ("a query of 15 KB too many", 414, head("GET", f"{API}/version?x={'x' * 17_000}")),
    ("header without a colon", 400, get("/version", "nothing")),
    ("header with a blank in its name", 400, get("/version", "Bad Name: x")),
    ("header with a blank before its colon", 400, get("/version", "Content-Length : 5")),
    ("header with an empty name", 400, get("/version", ": x")),
    ("header name in UTF-8", 400, get("/version", "Bäd: x")),
    (
        "continuation before any header",
        400,
        head("GET", f"{API}/version{AUTH}", host=None).replace(b"\r\n\r\n", b"\r\n x\r\nHost: box\r\n\r\n"),
    ),
    ("NUL in a header", 400, get("/version", "X: a\0b")),
    ("CR in a header", 400, get("/version", "X: a\rb")),
    ("LF in a header", 400, get("/version", "X: a\nb")),
    ("NUL in a header's name", 400, get("/version", "X\0: a")),
]

LENGTHS: list[tuple[str, int, bytes]] = [
    *(
        (
            f"Content-Length {value[:20]!r}",
            400,
            head("POST", f"{API}/backup{AUTH}", f"Content-Length: {value}") + b"x" * 5,
        )
        for value in ["", "-1", "+5", "5, 5", "0x5", "5.0", "five", "5 5", "٥".encode().decode("latin-1"), "9" * 5000]
    ),
    ("two lengths", 400, head("POST", f"{API}/backup{AUTH}", "Content-Length: 5", "Content-Length: 6") + b"x" * 5),
    (
        "the same length twice",
        400,
        head("POST", f"{API}/backup{AUTH}", "Content-Length: 5", "Content-Length: 5") + b"x" * 5,
    ),
    (
        "a length and chunks",
        400,
        head("POST", f"{API}/backup{AUTH}", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    ),
    (
        "chunks and a length",
        400,
        head("POST", f"{API}/backup{AUTH}", "Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
    ),
    ("chunked twice", 400, head("POST", f"{API}/backup{AUTH}", "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n"),
    ("gzip, chunked", 400, head("POST", f"{API}/backup{AUTH}", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    ("xchunked", 400, head("POST", f"{API}/backup{AUTH}", "Transfer-Encoding: xchunked") + b"0\r\n\r\n"),
    ("a chunk's size that is no number", 400, chunked("/backup", b"zz\r\nab\r\n0\r\n\r\n", "application/json")),
    ("a negative chunk", 400, chunked("/backup", b"-1\r\nab\r\n0\r\n\r\n", "application/json")),
    ("a chunk without its line end", 400, chunked("/backup", b"2\r\nabX\r\n0\r\n\r\n", "application/json")),
    ("a chunk's size without end", 400, chunked("/backup", b"1" * 5000, "application/json")),
    ("NUL in a chunk's extension", 400, chunked("/backup", b"2;\0\r\nab\r\n0\r\n\r\n", "application/json")),
    ("trailers without end", 400, chunked("/backup", b"0\r\n" + b"X: y\r\n" * 20_000, "application/json")),
    ("an endless chunk", 413, chunked("/settings", b"ffffffffffffffff\r\n" + b" " * (2 * MIB), "application/json")),
    ("JSON in chunks beyond the limit", 413, chunked("/settings", chunks(*[b" " * 60_000] * 20), "application/json")),
    (
        "small chunks beyond the limit at once",
        413,
        chunked("/backup", chunks(*[b"x" * 1000] * 80), "application/x-www-form-urlencoded"),
    ),
    ("urlencoded beyond the limit", 413, url_post("/backup", b"action=" + b"x" * 70_000)),
    ("JSON beyond the limit", 413, json_post("/settings", b" " * (MIB + 1))),
    ("a form beyond the limit", 413, form("/settings", *[part(f'name="f{i}"', b"x" * 8000) for i in range(300)])),
    ("an upload beyond the limit", 413, form("/update", part('name="update"; filename="p"', b"x" * MIB))),
    (
        "an upload in chunks beyond the limit",
        413,
        chunked(
            "/update",
            chunks(part('name="update"; filename="p"', b""), *[b"x" * 50_000] * 30),
            "multipart/form-data; boundary=b",
        ),
    ),
    (
        "a length of 10^18",
        413,
        head(
            "POST",
            f"{API}/update{AUTH}",
            "Content-Type: multipart/form-data; boundary=b",
            "Content-Length: " + "9" * 18,
        ),
    ),
    (
        "a body for a GET beyond the limit",
        413,
        head("GET", f"{API}/version{AUTH}", "Content-Length: 70000") + b"x" * 70_000,
    ),
]

FORMS: list[tuple[str, int, bytes]] = [
    ("no end", 400, form("/update", part('name="update"; filename="p"'), end=b"")),
    ("no end of the only part", 400, form("/update", part('name="update"; filename="p"', b"x" * 9000)[:-2], end=b"")),
    (
        "two files of one name",
        400,
        form("/update", part('name="update"; filename="p"'), part('name="update"; filename="q"')),
    ),
    ("two texts of one name", 400, form("/backup", part('name="action"', b"START"), part('name="action"', b"STOP"))),
    ("another boundary", 400, form("/update", part('name="update"; filename="p"'), boundary="; boundary=other")),
    ("no boundary", 400, form("/update", part('name="update"; filename="p"'), boundary="")),
    ("an empty boundary", 400, form("/update", part('name="update"; filename="p"'), boundary='; boundary=""')),
    (
        "a boundary of 300",
        400,
        form("/update", part('name="update"; filename="p"'), boundary="; boundary=" + "x" * 300),
    ),
    ("only an end", 400, form("/update")),
    ("nothing at all", 400, form("/update", end=b"")),
    ("a text before the first boundary", 400, form("/update", b"hello", part('name="update"; filename="p"'))),
    ("an unexpected file", 400, form("/update", part('name="other"; filename="p"'))),
    (
        "an unexpected file beside the right one",
        400,
        form("/update", part('name="update"; filename="p"'), part('name="x"; filename="q"')),
    ),
    ("a text where a file is wanted", 400, form("/update", part('name="update"'))),
    ("an empty file", 400, form("/update", part('name="update"; filename="p"', b""))),
    ("no file", 400, form("/update", part('name="x"', b"y"))),
    ("a part without a disposition", 400, form("/update", b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n")),
    (
        "a part that is no form data",
        400,
        form("/update", b'--b\r\nContent-Disposition: attachment; name="update"\r\n\r\nx\r\n'),
    ),
    ("a part without a name", 400, form("/update", part('filename="p"'))),
    ("a part with an empty name", 400, form("/update", part('name=""; filename="p"'))),
    ("`..` as a file's part name", 400, form("/update", part('name="../../etc/x"; filename="p"'))),
    ("NUL in a part's name", 400, form("/update", part('name="up\0date"; filename="p"'))),
    ("NUL in a file's name", 400, form("/update", part('name="update"; filename="p\0"'))),
    ("control characters in a part's name", 400, form("/update", part('name="\x1b[2J\x07"; filename="p"'))),
    ("a part's name not in UTF-8", 400, form("/update", part('name="\xff"; filename="p"'))),
    ("a line end within a part's name", 400, form("/update", part('name="a\r\nb"; filename="p"'))),
    (
        "a part's header of 5000",
        400,
        form("/update", part('name="update"; filename="p"', extra="\r\nX-Y: " + "y" * 5000)),
    ),
    ("20 headers in a part", 400, form("/update", part('name="update"; filename="p"', extra="\r\nX-Y: y" * 20))),
    ("a part's header without a colon", 400, form("/update", part('name="update"; filename="p"', extra="\r\nnothing"))),
    ("50 parts", 400, form("/backup", *[part(f'name="f{i}"') for i in range(50)])),
    ("a text of 9000", 400, form("/backup", part('name="action"', b"S" * 9000))),
    ("a text not in UTF-8", 400, form("/backup", part('name="action"', b"\xff\xfe"))),
    ("an upload as plain text", 415, post("/update", b"x", "text/plain")),
    ("an upload as JSON", 400, json_post("/update", b'{"update":"x"}')),
    ("an upload urlencoded", 400, url_post("/update", b"update=x")),
    ("an empty upload", 400, url_post("/update", b"")),
    ("JSON where a form is wanted", 400, json_post("/backup", b'{"action":"START"}')),
    ("a form that is no UTF-8", 400, url_post("/backup", b"action=%ff")),
    ("NUL in a form", 400, url_post("/backup", b"action=%00")),
    ("a field twice", 400, url_post("/backup", b"action=START&action=STOP")),
    ("200 fields", 400, url_post("/backup", b"&".join([b"a=b"] * 200))),
    ("an unknown action", 400, url_post("/backup", b"action=PAUSE")),
    ("no action", 400, url_post("/backup", b"")),
    (
        "a `..` in a restored archive's name",
        400,
        form("/backup/restore", part('name="archive"; filename="../../x"', b"no tar")),
    ),
    (
        "certificates that are none",
        400,
        form("/certs", part('name="public"; filename="a"'), part('name="private"; filename="a"', b"")),
    ),
    ("a licence without content", 400, form("/license", part('name="license"; filename="l"', b""))),
    *(
        (f"new token {value[:12]!r}", 400, url_post("/setup", b"newtoken=" + value))
        for value in [b"", b"a+b", b"%09", b"%7f", b"%C3%B6", b"x" * 256, b"%0aroot"]
    ),
]

VALUES: list[tuple[str, int, bytes]] = [
    *(
        (f"settings {number}", 400, settings_file(content))
        for number, content in enumerate(
            [
                b"",
                b"null",
                b"[]",
                b'"x"',
                b"1",
                b"{",
                b"{}",
                b'{"network":[]}',
                b'{"network":null}',
                b'{"network":"eth0"}',
                b"\xff\xfe{}",
                b'{"network":{"hostname":"b\xf6x"}}',
                b"[" * 100_000,
                b'{"a":' * 100_000,
                b'{"network":' + b'{"a":' * 950 + b"1" + b"}" * 950 + b"}",
            ]
        )
    ),
    *(
        (f"settings with {name}={value}", 400, settings_file(network(**{name: value})))
        for name, value in [
            ("interface", "1"),
            ("interface", "null"),
            ("interface", '""'),
            ("interface", '"../etc"'),
            ("interface", '"e"'),
            ("interface", '"eth0\\u0000"'),
            ("interface", '"éth0"'),
            ("interface", '"eth0 up"'),
            ("hostname", "true"),
            ("hostname", '["box"]'),
            ("hostname", '{"a":1}'),
            ("hostname", '"bücher"'),
            ("hostname", '"a\\nb"'),
            ("hostname", '"' + "x" * 300 + '"'),
            ("hostname", '"$(reboot)"'),
            ("hostname", '"\\ud800"'),
            ("ip_address", "10"),
            ("ip_address", '"10.0.0.1; reboot"'),
            ("netmask", "24"),
            ("gateway", '"\\u202e"'),
            ("dns1", "[1]"),
            ("ntpserver", '"a b"'),
        ]
    ),
    ("JSON settings of a wrong type", 400, json_post("/settings", network(hostname="7"))),
    ("no JSON settings", 400, json_post("/settings", b"")),
    *(
        (f"storage {number}", 400, json_post("/storage", b'{"storage":' + content + b"}"))
        for number, content in enumerate(
            [
                b"1",
                b"{}",
                b'{"type":1}',
                b'{"type":"tape"}',
                b'{"type":["local"]}',
                b'{"type":"local","x":"y"}',
                b'{"type":"nbd","export_name":"abc","ip":"10.0.0.1","port":true}',
                b'{"type":"nbd","export_name":"abc","ip":"10.0.0.1","port":70000}',
                b'{"type":"nbd","export_name":"abc","ip":"10.0.0.1","port":1e2}',
                b'{"type":"nfs","mount_options":"rw","ip":"10.0.0.1","share":"/a b"}',
                '{"type":"iscsi","target":"iqn.a","ip":"10.0.0.1","username":"user","password":"pässword"}'.encode(),
            ]
        )
    ),
]

PATHS: list[tuple[str, int, bytes]] = [
    ("no such endpoint, no credentials", 404, head("GET", f"{API}/nothing")),
    ("no such endpoint, POST", 404, head("POST", f"{API}/nothing", "Content-Length: 5") + b"abcde"),
    ("the prefix alone", 404, head("GET", API)),
    ("`//version`", 404, get("//version")),
    ("`version/`", 404, get("/version/")),
    ("`../admin/version`", 404, get("/../admin/version")),
    ("`%2e%2e`", 404, get("/%2e%2e/admin/version")),
    ("`..` encoded with its slash", 404, get("/..%2f..%2fetc%2fpasswd")),
    ("NUL in the path", 400, get("/version%00")),
    ("a line end in the path", 400, get("/version%0d%0aX-Injected:%20yes")),
    ("an escape in the path", 400, get("/%1b%5b2J")),
    ("a path that is no UTF-8", 400, get("/%ff%fe")),
    ("an overlong slash", 400, get("/..%c0%af")),
    ("a broken percent sign", 404, get("/version%zz")),
    ("no slash at the start", 400, head("GET", f"version{AUTH}")),
    ("an asterisk", 400, head("OPTIONS", "*")),
    ("an authority", 400, head("CONNECT", "box.example:443")),
    ("another scheme", 400, head("GET", f"ftp://box.example{API}/version{AUTH}")),
    ("an absolute target to nowhere", 404, head("GET", f"https://box.example{API}/nothing")),
    ("120 parameters", 400, head("GET", f"{API}/version{AUTH}" + "&a=b" * 120)),
    ("a parameter that is no UTF-8", 400, head("GET", f"{API}/version{AUTH}&x=%ff")),
    ("NUL in a parameter", 400, head("GET", f"{API}/version{AUTH}&x=%00")),
    *(
        (f"{method} with good credentials", 400, get("/version", method=method))
        for method in ["HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "BREW", "get", "POST", "CONNECT"]
    ),
    *(
        (f"{method} without credentials", 403, head(method, f"{API}/version"))
        for method in ["HEAD", "OPTIONS", "TRACE", "PUT", "BREW", "POST", "GET"]
    ),
    ("GET where only POST goes", 400, get("/setup")),
]

FILE = part('name="update"; filename="p"', b"x" * 1000)

CREDENTIALS: list[tuple[str, int, bytes]] = [
    ("after the file", 403, form("/update", FILE, part('name="token"', TOKEN.encode()), auth="")),
    ("none in a form", 403, form("/update", FILE, auth="")),
    ("none in a form's text", 403, form("/backup", part('name="action"', b"START"), auth="")),
    (
        "none in 100 KB of texts",
        403,
        form("/update", *[part(f'name="f{i}"', b"x" * 5000) for i in range(20)], FILE, auth=""),
    ),
    ("wrong ones in a form", 403, form("/update", part('name="token"', b"wrong"), FILE, auth="")),
    (
        "a wrong hash before a right token",
        403,
        form("/update", part('name="hash"', b"x"), part('name="token"', TOKEN.encode()), FILE, auth=""),
    ),
    ("none in JSON", 403, post("/settings", GOOD_SETTINGS, "application/json", auth="")),
    ("none in plain text", 403, post("/settings", GOOD_SETTINGS, "text/plain", auth="")),
    ("none in a urlencoded form", 403, post("/backup", b"action=START", "application/x-www-form-urlencoded", auth="")),
    (
        "wrong ones in a urlencoded form",
        403,
        post("/backup", b"token=x&action=START", "application/x-www-form-urlencoded", auth=""),
    ),
    ("an empty body", 403, post("/update", b"", "multipart/form-data; boundary=b", auth="")),
    (
        "wrong ones and a body in chunks",
        403,
        chunked("/settings", chunks(GOOD_SETTINGS, b" ", b" "), "application/json", auth="?token=x"),
    ),
    ("wrong ones and bad chunks", 403, chunked("/settings", b"zz\r\n", "application/json", auth="?token=x")),
    ("Basic", 403, head("GET", f"{API}/version", "Authorization: Basic eTp5")),
    ("a garbled header", 403, head("GET", f"{API}/version", "Authorization: HMAC-SHA256 \xff=")),
    (
        "Expect and wrong credentials",
        403,
        head(
            "POST",
            f"{API}/update?token=x",
            "Content-Type: multipart/form-data; boundary=b",
            "Content-Length: 5000",
            "Expect: 100-continue",
        ),
    ),
    (
        "Expect and a length beyond the limit",
        413,
        head(
            "POST",
            f"{API}/update{AUTH}",
            "Content-Type: multipart/form-data; boundary=b",
            "Content-Length: 99999999",
            "Expect: 100-continue",
        ),
    ),
    (
        "Expect and no such endpoint",
        404,
        head("POST", f"{API}/nothing", "Content-Length: 5000", "Expect: 100-continue"),
    ),
    (
        "X-Forwarded-For from nobody trusted",
        403,
        head("GET", f"{API}/version", "X-Forwarded-For: 127.0.0.1, \xff, ::1%x"),
    ),
]

TABLE = [(name, 400, data) for name, data in HOSTS] + LINES + LENGTHS + FORMS + VALUES + PATHS + CREDENTIALS
