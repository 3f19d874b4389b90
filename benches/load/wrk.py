"""Asks a server with wrk, and reads what it says."""

import dataclasses
import json
import re
import shutil
import subprocess

from .servers import KEY

QUERY = (
    "query($id: ID!) { getJob(jobId: $id) { id state name created metadata client { id name } take { id } "
    "progress { percentageComplete } outputs { key file { type presignedUrl } } } }"
)
LIST = "{ listJobs(first: 20) { items { id state } after } }"
JOB = "{ id state name created metadata client { id name } take { id } }"
TEN = (
    "query(" + ", ".join(f"$i{n}: ID!" for n in range(10)) + ") { "
    + " ".join(f"j{n}: getJob(jobId: $i{n}) {JOB}" for n in range(10)) + " }"
)
TEN_JOBS = ", ".join(f'"i{n}": "job-@-{n}"' for n in range(10))
CREATE = 'mutation { createSingleCamJob(takeId: "take-1") { id state } }'
ONE_JOB = '"id": "job-1"'
UNITS = {"us": 0.001, "ms": 1, "s": 1000}


@dataclasses.dataclass
class Figures:
    """Requests a second, p50 and p99 in ms, CPU of the server in us per request."""

    rate: float
    p50: float
    p99: float
    cpu: float


class Wrk:
    """wrk on the second core, one thread."""

    def __init__(self, folder, seconds):
        if not shutil.which("wrk"):
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "wrk"], check=True)
        self.path = folder / "request.lua"
        self.seconds = seconds
        self.counted = 0

    def ask(self, server, script, connections, seconds=None):
        """Asks for so long; without `seconds`, a second before that, which does not count."""
        if seconds is None:
            self.run(server, script, connections, 1)
        before = server.cpu()
        out = self.run(server, script, connections, seconds or self.seconds)
        spent = server.cpu() - before
        if "Non-2xx or 3xx responses" in out or "Socket errors" in out:
            raise SystemExit(f"errors under load:\n{out}")
        count = int(re.search(r"(\d+) requests in", out)[1])
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
        times = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+\w+)$", out, re.M))
        return Figures(rate, milliseconds(times["50"]), milliseconds(times["99"]), spent / 1000 / count)

    def run(self, server, script, connections, seconds):
        self.path.write_text(self.fresh(script))
        command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
                   "-s", str(self.path), server.url]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def fresh(self, script):
        """A script that counts on from where no other run will get to."""
        self.counted += 10**7
        return script.replace("COUNTED", str(self.counted))


def milliseconds(time):
    return float(re.match(r"[\d.]+", time)[0]) * UNITS[re.search(r"[a-z]+$", time)[0]]


def lua(setup, request, authorization=KEY):
    return (
        'wrk.method = "POST"\nwrk.headers["Host"] = "127.0.0.1"\nwrk.headers["content-type"] = "application/json"\n'
        f'wrk.headers["authorization"] = "{authorization}"\nlocal n = 0\n{setup}\n'
        f"request = function()\n  n = n + 1\n  return {request}\nend\n"
    )


def body(query, variables=""):
    return json.dumps('{"query": ' + json.dumps(query) + ', "variables": {' + variables + "}}")


def fixed(query, variables="", **options):
    """Always the same question."""
    return lua(f"local whole = wrk.format(nil, nil, nil, {body(query, variables)})", "whole", **options)


def varied(query, variables, start="COUNTED"):
    """Where `@` is in the variables goes the request's number, which no other request has; where `#` is, one
    of the known jobs' numbers."""
    text = body(query, variables).replace("@", '" .. n .. "').replace("#", '" .. math.random(0, KNOWN - 1) .. "')
    return lua(f"n = {start}", f"wrk.format(nil, nil, nil, {text})")


def each_token_once(tokens_file):
    several = (
        f'local tokens = {{}}\nfor line in io.lines("{tokens_file}") do tokens[#tokens + 1] = line end\n'
        f"local asked = {body(QUERY, ONE_JOB)}"
    )
    head = '["content-type"] = "application/json", ["authorization"] = "Bearer " .. tokens[(n - 1) % #tokens + 1]'
    return lua(several, f"wrk.format(nil, nil, {{{head}}}, asked)")
