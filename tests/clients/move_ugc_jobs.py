"""Drives Move's own Python client, unmodified, against a gateway.

usage: move_ugc_jobs.py URL KEY SINGLECAM_TAKE MULTICAM_TAKE

Prints one line a check and ends with `ok`; any difference raises.
"""

import json
import sys

from move_ugc import MoveUgc
from move_ugc.schemas.commons import SortDirection
from move_ugc.schemas.job import ClipWindow, JobOptions

url, key, singlecam_take, multicam_take = sys.argv[1:]
ugc = MoveUgc(api_key=key, endpoint_url=url)


def check(what, condition):
    assert condition, what
    print(what, flush=True)


plain = ugc.jobs.create_singlecam(take_id=singlecam_take)
check("a singlecam job is created with the client's defaults", plain.id.startswith("job-"))
check("its metadata is the empty object that the client sends", plain.metadata == {})

full = ugc.jobs.create_singlecam(
    take_id=singlecam_take,
    name="walk",
    metadata={"shot": 12, "nested": {"a": [1, 2.5, None]}},
    options=JobOptions(trackFingers=True),
    clip_window=ClipWindow(start_time=0, end_time=2.5),
    outputs=["main_fbx", "render_video"],
    expand=["client", "take", "outputs", "inputs"],
)
check("metadata comes back as it was sent", full.metadata["nested"] == {"a": [1, 2.5, None]})
check("the client is policy's, not the Move account's", "move.ai" not in str(full.client.portal))
check("the take is expanded", full.take.id == singlecam_take)

multi = ugc.jobs.create_multicam(
    take_id=multicam_take, number_of_actors=2, rig="move_mo", metadata={"kind": "multi"}
)
check("a multicam job is created", multi.metadata == {"kind": "multi"})

for expand in (None, ["client"], ["take"], ["outputs"], ["rig"], ["inputs"],
               ["client", "take", "outputs", "rig", "inputs"]):
    job = ugc.jobs.retrieve(id=full.id, expand=expand)
    check(f"retrieve works with expand={expand}", job.id == full.id and job.name == "walk")

renamed = ugc.jobs.update(id=full.id, name="run")
check("a rename leaves the metadata alone", renamed.name == "run" and renamed.metadata["shot"] == 12)
changed = ugc.jobs.update(id=full.id, metadata={"shot": 13}, expand=["client", "take", "outputs"])
check("an update replaces the metadata", changed.metadata == {"shot": 13})

created = [ugc.jobs.create_singlecam(take_id=singlecam_take, metadata={"n": n}).id for n in range(7)]
seen, token, pages = [], None, 0
while True:
    page = ugc.jobs.list(limit=3, next_token=token, sort_by=SortDirection.DESC)
    seen += [job.id for job in page.items]
    pages += 1
    token = page.next_token  # parsed by the client: it goes back as an object
    if token is None:
        break
    check(f"page {pages} gives an object as its cursor", isinstance(token, dict))
check("paging with the parsed cursor gives every job once", len(seen) == len(set(seen)))
check("all jobs are there", set(created + [plain.id, full.id, multi.id]) <= set(seen))

try:
    ugc.jobs.retrieve(id="job-00000000-0000-4000-8000-000000000000")
    raise AssertionError("a missing job was found")
except Exception as error:  # the client raises its transport's error
    check("a missing job raises Move's error type", "MoveNotFoundError" in str(error))

print(json.dumps({"jobs": len(seen)}))
print("ok")
