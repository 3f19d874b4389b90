"""The processes that are measured, each on one core: gateways, floor servers and the upstream."""

import atexit
import contextlib
import glob
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORTS = iter(range(20_000, 32_000))
KEY = "key-of-the-bench-tenant-0001"

DEFAULTS = """\
rate_limit:
  queries: { rate: 1000000/s, burst: 1000000 }
  mutations: { rate: 1000000/s, burst: 1000000 }
  max_in_flight: 100000
cache: { get_job: { unfinished: 1h, finished: 1h } }
operations: ['*']
takes: { unclaimed: use }
"""


# The peer: the same key map, limits, cache and record, by a server that knows nothing of GraphQL.
NGINX = """\
daemon off; master_process off; worker_rlimit_nofile 20000; error_log stderr crit; pid FOLDER/nginx.pid;
events { worker_connections 10000; }
http {
  access_log off; client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi; uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
  client_body_buffer_size 64k; client_body_in_single_buffer on; keepalive_requests 100000000;
  map $http_authorization $tenant { default ""; "KEY" tenant-0; }
  limit_req_zone $tenant zone=tenants:1m rate=1000000r/s;
  limit_req_status 429;
  proxy_cache_path FOLDER/cache keys_zone=answers:16m max_size=64m;
  log_format record escape=json '{"time":"$time_iso8601","tenant":"$tenant","status":$status,"bytes":$bytes_sent,'
    '"took":$request_time,"upstream":"$upstream_response_time","cache":"$upstream_cache_status"}';
  upstream move { server UPSTREAM; keepalive 64; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:PORT;
    access_log FOLDER/access.jsonl record buffer=64k flush=1s;
    location / {
      if ($tenant = "") { return 401; }
      limit_req zone=tenants burst=100000 nodelay;
      proxy_pass http://move; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Authorization bench;
      CACHE
    }
  }
}
"""
CACHE = 'proxy_cache answers; proxy_cache_methods POST; proxy_cache_valid 200 1h; proxy_cache_key "$tenant$request_body";'


def free_port():
    """A port that nobody has, below those that the system gives to outgoing connections."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise SystemExit("no port is free")


def build():
    """The paths of the gateway and of the floor servers, built as they ship unless `BIN` and `FLOOR` name them."""
    if "BIN" in os.environ and "FLOOR" in os.environ:
        return os.environ["BIN"], os.environ["FLOOR"]
    out = subprocess.run(
        ["cargo", "build", "--profile", "dist", "--locked", "--bin", "jobs-gateway", "--bench", "floor",
         "--message-format=json"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout
    made = [json.loads(line) for line in out.splitlines() if '"executable":"' in line]
    by_name = {one["target"]["name"]: one["executable"] for one in made}
    return by_name["jobs-gateway"], by_name["floor"]


class Server:
    """A process on one core that listens on a port. It ends with the run at the latest."""

    def __init__(self, core, command, port, **options):
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options,
        )
        self.folder = None
        atexit.register(self.stop)
        self.port = port
        self.url = f"http://127.0.0.1:{port}/graphql"
        give_up = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return
            if time.monotonic() > give_up or self.process.poll() is not None:
                raise SystemExit(f"{command[0]} does not start")
            time.sleep(0.01)

    def cpu(self):
        """Nanoseconds on a processor so far, all threads together."""
        total = 0
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(pathlib.Path(path).read_text().split()[0])
        return total

    def memory(self, key="VmRSS"):
        """MiB, by a line of /proc/PID/status."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        self.process.kill()
        self.process.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


class Lab:
    """What all measurements share: the binaries, an upstream, and the floor servers before it."""

    def __init__(self):
        self.binary, self.floor = build()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        port = free_port()
        self.upstream = Server(1, [self.floor, "upstream", f"127.0.0.1:{port}"], port)
        self.answer = self.floor_server("answer")
        self.forward = self.floor_server("forward", self.upstream.url)

    def floor_server(self, *words):
        port = free_port()
        return Server(0, [self.floor, words[0], f"127.0.0.1:{port}", *words[1:]], port)

    def nginx(self, caches):
        """Starts the peer, with a cache or without."""
        if not shutil.which("nginx"):
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"], check=True)
        folder = self.folder / f"nginx-{caches}"
        folder.mkdir()
        port = free_port()
        upstream = self.upstream.url.split("/")[2]
        text = NGINX.replace("CACHE", CACHE if caches else "").replace("FOLDER", str(folder)).replace("KEY", KEY)
        text = text.replace("UPSTREAM", upstream).replace("PORT", str(port))
        (folder / "nginx.conf").write_text(text)
        return Server(0, ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port)

    def tokens(self, count):
        """The file of an issuer's keys, and so many tokens of its."""
        made = subprocess.run([self.floor, "tokens", str(count)], check=True, stdout=subprocess.PIPE, text=True)
        jwks, *tokens = made.stdout.splitlines()
        path = self.folder / "jwks.json"
        path.write_text(jwks)
        return path, tokens

    def gateway(self, name="gateway", **options):
        """Starts a gateway that is configured by `options`; `start_time` tells how long that took, in seconds."""
        folder = self.folder / name
        port, admin = free_port(), free_port()
        write_policies(folder, options.pop("tenants", 10), bool(options.get("jwks")))
        write_config(folder, port, admin, self.upstream.url, **options)
        began = time.monotonic()
        env = {**os.environ, "MOVE_API_KEY": "bench"}
        command = [self.binary, "serve", "--config", str(folder / "gateway.yaml")]
        gateway = Server(0, command, port, env=env)
        gateway.folder, gateway.admin = folder, admin
        while not is_ready(admin):
            time.sleep(0.001)
        gateway.start_time = time.monotonic() - began
        return gateway


def is_ready(admin):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz").status == 200
    return False


def write_policies(folder, tenants, has_issuer):
    policies = folder / "policies"
    shutil.rmtree(policies, ignore_errors=True)
    policies.mkdir(parents=True)
    (policies / "defaults.yaml").write_text(DEFAULTS)
    for n in range(tenants):
        key = KEY if n == 0 else f"key-of-tenant-{n}-0001"
        issuers = ", issuers: [bench]" if has_issuer and n == 0 else ""
        sha256 = hashlib.sha256(key.encode()).hexdigest()
        (policies / f"tenant-{n}.yaml").write_text(
            f"tenant: tenant-{n}\nauth: {{ api_keys: [{{ id: key-0, sha256: {sha256} }}]{issuers} }}\n"
        )


def write_config(folder, port, admin, upstream, jwks=None, more="", log="warn"):
    issuers = (
        "issuers: [{ name: bench, issuer: 'https://sso.example.test/', audiences: [jobs-gateway], "
        f"algorithms: [RS256], jwks: '{jwks}', tenant_claim: team }}]\n" if jwks else ""
    )
    (folder / "gateway.yaml").write_text(
        f"server: {{ listen: '127.0.0.1:{port}', max_requests: 100000 }}\n"
        f"admin: {{ listen: '127.0.0.1:{admin}' }}\npolicies: ./policies\n"
        f"upstream: {{ url: '{upstream}', api_key: '${{MOVE_API_KEY}}' }}\n"
        "index: { file: ./index.redb }\n"
        "audit: { sinks: [{ file: ./audit/audit.jsonl, rotate: 64GiB, keep: 3 }] }\n"
        f"telemetry: {{ log: {{ level: {log} }} }}\n{issuers}{more}"
    )
