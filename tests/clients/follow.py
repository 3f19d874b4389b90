"""Follows a job that runs with Python's gql over a WebSocket, until the job is over: follow.py URL KEY JOB."""

import asyncio
import sys

from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport

url, key, job = sys.argv[1:]
query = gql("subscription ($id: ID!) { jobUpdated(jobId: $id) { state } }")


async def follow():
    transport = WebsocketsTransport(
        url=url.replace("http", "ws"),
        headers={"Authorization": key},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    async with Client(transport=transport) as session:
        results = session.subscribe(query, variable_values={"id": job})
        return [result["jobUpdated"]["state"] async for result in results]


states = asyncio.run(follow())
assert states == ["RUNNING", "FINISHED"], states
print("ok")
