"""The measurements. What is compared is measured in turns, as the machine's pace changes by the minute."""

import json
import os
import socket
import statistics
import time
import urllib.request

from .servers import KEY
from .wrk import CREATE, LIST, ONE_JOB, QUERY, TEN, TEN_JOBS, each_token_once, fixed, varied

TURNS = 5
CONNECTIONS = (1, 16, 64)
WHOLE, COVERED, FORWARD = "whole-answer hit", "covered hit", "forward"
LISTED, CREATED, TEN_COLD = "list page of 20 by the index", "create, audited", "ten jobs in one document, cold"
SAME = fixed(QUERY, ONE_JOB)
OTHERS = varied(QUERY, '"id": "job-@"')
# The floor of each mode that is not answered from memory is the one that forwards.
FORWARDS = {FORWARD, CREATED, TEN_COLD}
# What the log says of requests is written to the null device.
AT_INFO = ", log at info"


def modes(token):
    """The ways to be answered that take any number of requests, each with the script that asks so."""
    return {
        WHOLE: SAME,
        "whole-answer hit, remembered RS256": fixed(QUERY, ONE_JOB, authorization=f"Bearer {token}"),
        COVERED: varied(QUERY, f'{ONE_JOB}, "n": @'),
        FORWARD: OTHERS,
        LISTED: fixed(LIST),
        CREATED: fixed(CREATE),
        TEN_COLD: varied(TEN, TEN_JOBS),
    }


def is_forwarded(name):
    return name.removesuffix(AT_INFO) in FORWARDS


class Measures:
    """All measurements of one run, in the order in which they were made."""

    def __init__(self, lab, wrk):
        self.lab, self.wrk = lab, wrk
        self.jwks, self.tokens = lab.tokens(12_000)
        self.rows = []
        self.noise = []
        self.sizes = []
        self.peak = 0

    def measure(self, name, server, script, connections, seconds=None):
        """Measures a row of the table of loads."""
        got = self.wrk.ask(server, script, connections, seconds)
        self.rows.append((name, connections, got))
        print(f"{name:36} {connections:3} {got.rate:10,.0f}/s  p50 {got.p50:.3f} ms  p99 {got.p99:.2f} ms  "
              f"CPU {got.cpu:.1f} us", flush=True)
        return got

    def floors(self):
        """The floors, by what they do and by connections."""
        found = {"answer": {}, "forward": {}}
        for connections in CONNECTIONS:
            found["answer"][connections] = self.measure("floor: bare axum", self.lab.answer, SAME, connections)
            found["forward"][connections] = self.measure(
                "floor: bare axum + reqwest", self.lab.forward, OTHERS, connections)
        self.noise.append(found["answer"][64].cpu)
        return found

    def watch_floor(self):
        """Measures the floor once more: how much it varies is how much the machine does."""
        self.noise.append(self.wrk.ask(self.lab.answer, SAME, 64).cpu)

    def loads(self):
        """Each mode with a gateway of its own, so that none pays for what another left behind."""
        found = {}
        names = list(modes(self.tokens[0]))
        for name in [*names, WHOLE + AT_INFO, FORWARD + AT_INFO]:
            gateway, script = self.ready_for(name)
            for connections in CONNECTIONS:
                found[name, connections] = self.measure(name, gateway, script, connections)
            self.retire(gateway)
            self.watch_floor()
        for name, script in ((WHOLE, SAME), (FORWARD, OTHERS)):
            nginx = self.lab.nginx(caches=name == WHOLE)
            for connections in CONNECTIONS:
                self.measure(f"nginx: {name}", nginx, script, connections)
            nginx.stop()
        gateway = self.lab.gateway(jwks=self.jwks)
        tokens_file = self.lab.folder / "tokens"
        tokens_file.write_text("\n".join(self.tokens[1:]) + "\n")
        # No longer than there are tokens: each is asked with once.
        self.measure("first-seen RS256", gateway, each_token_once(tokens_file), 16, seconds=1)
        self.retire(gateway)
        return found

    def ready_for(self, name, folder="gateway"):
        """A gateway that answers in this mode, and the script that asks so."""
        script = modes(self.tokens[0])[name.removesuffix(AT_INFO)]
        gateway = self.lab.gateway(folder, jwks=self.jwks, log="info" if name.endswith(AT_INFO) else "warn")
        if name == LISTED:
            fill_index(gateway)
        return gateway, script

    def retire(self, gateway):
        self.peak = max(self.peak, gateway.memory("VmHWM"))
        gateway.stop()

    def against_floor(self, name):
        """The medians of what a mode takes of CPU against its floor, and of p99."""
        floor, asked = (self.lab.forward, OTHERS) if is_forwarded(name) else (self.lab.answer, SAME)
        gateway, script = self.ready_for(name)
        turns = [
            (self.wrk.ask(gateway, script, 64), self.wrk.ask(floor, asked, 64)) for _ in range(TURNS)
        ]
        gateway.stop()
        ours, theirs = zip(*turns)
        tails = [one.p99 / other.p99 for one, other in turns]
        return median_cpu(ours) / median_cpu(theirs), statistics.median(tails)

    def against(self, name, other):
        """The median of what a mode takes of CPU against another's."""
        ours, theirs = self.ready_for(name), self.ready_for(other, "other")
        ratio = self.in_turns(ours, theirs)
        ours[0].stop()
        theirs[0].stop()
        return ratio

    def token_against_key(self):
        gateway = self.lab.gateway(jwks=self.jwks)
        by_token = modes(self.tokens[0])["whole-answer hit, remembered RS256"]
        ratio = self.in_turns((gateway, by_token), (gateway, SAME))
        gateway.stop()
        return ratio

    def many_tenants_against_few(self):
        few, many = self.lab.gateway(), self.lab.gateway("tenants", tenants=10_000)
        self.sizes.append(("resident when idle, 10,000 tenants", f"{many.memory():.0f} MiB"))
        ratio = self.in_turns((many, SAME), (few, SAME))
        few.stop()
        many.stop()
        return ratio

    def in_turns(self, ours, theirs):
        """The median of CPU of one server and script against another's."""
        turns = [(self.wrk.ask(*ours, 64), self.wrk.ask(*theirs, 64)) for _ in range(TURNS)]
        ours, theirs = zip(*turns)
        return median_cpu(ours) / median_cpu(theirs)

    def many_jobs_against_few(self, many=1_000_000):
        """The same cache with few and with many jobs in it, and KiB a job; whole answers have next to no room."""
        gateway = self.lab.gateway("jobs", more="cache: { jobs: 8GiB, answers: 64KiB }\n")
        hits = varied(QUERY, '"id": "job-#", "n": @')
        of_known = [hits.replace("KNOWN", str(known)) for known in (10, many)]
        self.wrk.ask(gateway, varied(QUERY, '"id": "job-@"', 0), 1, seconds=1)
        few_hits = [self.wrk.ask(gateway, of_known[0], 64) for _ in range(3)]
        known = 0
        while known < many:
            got = self.wrk.ask(gateway, varied(QUERY, '"id": "job-@"', known), 64, seconds=10)
            known += int(got.rate * 10)
        memory = gateway.memory()
        self.sizes.append((f"resident with {many:,} jobs of 1.3 KB known", f"{memory:,.0f} MiB"))
        many_hits = [self.wrk.ask(gateway, of_known[1], 64) for _ in range(3)]
        gateway.stop()
        return median_cpu(many_hits) / median_cpu(few_hits), memory * 1024 / known

    def idle(self):
        """MiB of a gateway that was never asked."""
        gateway = self.lab.gateway(jwks=self.jwks)
        idle = gateway.memory()
        gateway.stop()
        self.sizes.append(("release binary", f"{os.path.getsize(self.lab.binary) / 2**20:.1f} MiB"))
        self.sizes.append(("resident when idle, 10 tenants", f"{idle:.1f} MiB"))
        return idle

    def start(self):
        """Milliseconds from start to ready, the median of five."""
        starts = []
        for n in range(TURNS):
            gateway = self.lab.gateway(f"start-{n}")
            starts.append(gateway.start_time * 1000)
            gateway.stop()
        start = statistics.median(starts)
        self.sizes.append(("start to ready, 10 tenants (median of 5)", f"{start:.0f} ms"))
        return start

    def connections(self, count=10_000):
        """MiB that so many connections take which were each used once."""
        gateway = self.lab.gateway("connections")
        before = gateway.memory()
        held = []
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", gateway.port)))
            if len(held) % 100 == 0:
                time.sleep(0.02)
        asked = b'{"query": "{ __typename }"}'
        head = f"POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: {KEY}\r\ncontent-type: application/json\r\n"
        for connection in held:
            connection.sendall(f"{head}content-length: {len(asked)}\r\n\r\n".encode() + asked)
        for connection in held:
            connection.recv(65536)
        more = gateway.memory() - before
        for connection in held:
            connection.close()
        gateway.stop()
        self.sizes.append((f"{count:,} connections open, each asked once", f"{more:.0f} MiB more"))


def fill_index(gateway):
    """Lists until a listing is answered by the index."""
    give_up = time.monotonic() + 120
    asked = json.dumps({"query": LIST}).encode()
    headers = {"authorization": KEY, "content-type": "application/json"}
    while time.monotonic() < give_up:
        urllib.request.urlopen(urllib.request.Request(gateway.url, asked, headers)).read()
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin}/metrics") as metrics:
            if b'way="index"' in metrics.read():
                return
        time.sleep(0.5)
    raise SystemExit("the index is not filled")


def median_cpu(figures):
    return statistics.median(got.cpu for got in figures)
