"""Sends events as Svix does, signed by its own library: svix_sender.py URL SECRET.

Each line of the input is an event: its id, a blank, its body. Each is answered by a line with the status."""

import sys
import urllib.error
import urllib.request
from datetime import datetime, timezone

from svix.webhooks import Webhook

url, secret = sys.argv[1:]
for line in sys.stdin:
    event, body = line.rstrip("\n").split(" ", 1)
    now = datetime.now(timezone.utc)
    headers = {
        "svix-id": event,
        "svix-timestamp": str(int(now.timestamp())),
        "svix-signature": Webhook(secret).sign(event, now, body),
        "content-type": "application/json",
    }
    request = urllib.request.Request(url, data=body.encode(), headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    print(status, flush=True)
