"""
GET version, authenticated by hash, over TLS: our server beside FastAPI on uvicorn, in the same run.

FastAPI makes the same HMAC check and serves the same JSON with the same certificate, without an access log
(ours writes its own). Each round loads one server and then the other with wrk over keep-alive connections.
Needs wrk, openssl and, unless --fastapi-python names an interpreter that has them, a package index to install
fastapi and uvicorn[standard] from. All on the loopback interface; nothing is pinned to a core.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.compare import Server, Wrk, fastapi, install_fastapi, tell, tell_ratios
from bench.measure import API, TOKEN, Unusable, appliance, authenticated, fetch, load, make_certificate

PATH = f"{API}/version"

FASTAPI = """
import hashlib, hmac, json, os
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

KEY = hashlib.sha256(os.environ["BENCH_TOKEN"].encode()).hexdigest().encode()
VERSION = json.loads(os.environ["BENCH_REPLY"])
app = FastAPI()


@app.get("/api/v1/admin/version")
async def version(request: Request, hash: str = ""):
    expected = hmac.new(KEY, (request.method + request.url.path).encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), hash.encode()):
        return JSONResponse({"Status": "403 Forbidden", "Error-Message": "Authentication error"}, 403)
    return VERSION
"""


def main() -> int:
    """Run the comparison and print it; 1 where it falls short of --require, 2 where it cannot be made."""
    options = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-request-") as folder, ExitStack() as servers:
            return compare(options, Path(folder), servers)
    except (Unusable, OSError, subprocess.SubprocessError) as error:
        print(f"cannot be measured: {error}", file=sys.stderr)
        return 2


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each loading both (default 5)")
    parser.add_argument("--seconds", type=int, default=5, help="length of one load (default 5)")
    parser.add_argument("--connections", type=int, default=32, help="keep-alive connections (default 32)")
    parser.add_argument("--fastapi-python", help="a Python that has fastapi and uvicorn[standard]")
    parser.add_argument("--only", choices=["appliance", "fastapi"], help="load one server, compare nothing")
    parser.add_argument("--require", type=float, default=0.0, help="fail below this ratio of the rates")
    return parser.parse_args()


def compare(options: argparse.Namespace, folder: Path, servers: ExitStack) -> int:
    certificate = make_certificate(folder)
    reply = b'{"version":"1.0.0"}'
    loaded = []
    if options.only != "fastapi":
        pid, port = servers.enter_context(appliance(folder, certificate))
        reply = check(port, certificate, None)
        loaded.append(Server("appliance", pid, port))
    if options.only != "appliance":
        python = options.fastapi_python or install_fastapi(folder)
        env = {"BENCH_TOKEN": TOKEN, "BENCH_REPLY": reply.decode()}
        pid, port = servers.enter_context(fastapi(python, folder, certificate, FASTAPI, env))
        check(port, certificate, reply)
        loaded.append(Server("fastapi", pid, port))
    before = load()
    wrk = Wrk(folder, options.connections, options.seconds, {})
    rounds = wrk.in_turn(loaded, authenticated("GET", PATH), options.rounds)
    print(f"reply {reply.decode()}, {options.connections} connections, {options.seconds} s a load")
    for server in loaded:
        tell(server.name, rounds[server.name])
    print(f"load before {before}, after {load()}")
    if len(loaded) < 2:
        return 0
    return 0 if tell_ratios(rounds["appliance"], rounds["fastapi"]) >= options.require else 1


def check(port: int, certificate: Path, expected: bytes | None) -> bytes:
    """That the server answers right to good and bad credentials; its reply, compact."""
    status, body = fetch(port, certificate, "GET", authenticated("GET", PATH))
    refused, _ = fetch(port, certificate, "GET", f"{PATH}?hash={'0' * 64}")
    if (status, refused) != (200, 403):
        raise Unusable(f"port {port} answers {status} and {refused} where 200 and 403 were expected")
    if expected is not None and json.loads(body) != json.loads(expected):
        raise Unusable(f"port {port} serves {body!r}, not {expected!r}")
    return body


if __name__ == "__main__":
    sys.exit(main())
