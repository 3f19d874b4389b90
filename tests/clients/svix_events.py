"""Sends an event signed by Svix' own library: svix_events.py URL SECRET BODY. Says `ok` if it is taken once, and not
where anything of it was changed."""

import sys
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

from svix.webhooks import Webhook

url, secret, body = sys.argv[1:]


def status(event: str, at: datetime, sent: str, signature: str) -> int:
    headers = {
        "svix-id": event,
        "svix-timestamp": str(int(at.timestamp())),
        "svix-signature": signature,
        "content-type": "application/json",
    }
    request = urllib.request.Request(url, data=sent.encode(), headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


now = datetime.now(timezone.utc)
signature = Webhook(secret).sign("msg_1", now, body)
old = now - timedelta(minutes=6)
assert status("msg_2", now, body, signature) == 401
assert status("msg_1", now, body + " ", signature) == 401
assert status("msg_1", old, body, Webhook(secret).sign("msg_1", old, body)) == 401
assert status("msg_1", now, body, signature) == 204
assert status("msg_1", now, body, signature) == 204
print("ok")
