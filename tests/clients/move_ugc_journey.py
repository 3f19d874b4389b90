"""Walks from a film to its motion with Move's own Python client, unmodified: every service, and every `expand` of it.

usage: move_ugc_journey.py URL KEY [account]

`account` adds what changes a whole Move account: the client's metadata and webhook endpoints.
Prints one line a check and ends with `ok`; any difference raises.
"""

import json
import sys

import requests
from move_ugc import MoveUgc
from move_ugc.gql_requests import file as file_queries
from move_ugc.gql_requests import job as job_queries
from move_ugc.gql_requests import take as take_queries
from move_ugc.gql_requests import volume as volume_queries
from move_ugc.schemas.commons import SortDirection
from move_ugc.schemas.job import ClipWindow, JobOptions
from move_ugc.schemas.sources import CameraSettings, SourceIn
from move_ugc.schemas.sync_method import ClapWindowInput, SyncMethodInput, TimecodeSyncInput
from move_ugc.schemas.volume import AreaType
from pydantic import ValidationError

url, key, *options = sys.argv[1:]
ugc = MoveUgc(api_key=key, endpoint_url=url)
# Each of these introspects the endpoint before its first call, and not again.
files, takes, jobs, volumes = ugc.files, ugc.takes, ugc.jobs, ugc.volumes


def check(what, condition):
    assert condition, what
    print(what, flush=True)


def expands(query, without=()):
    """Nothing, each field alone, and all of them."""
    fields = [field for field in query.expand if field not in without]
    return [None, *([field] for field in fields), fields]


def upload(name, film):
    file = files.create(file_type="mp4", name=name, metadata={"film": name})
    answer = requests.put(str(file.presigned_url), data=film, timeout=30)
    check(f"the bytes of {name} are put at its URL", answer.status_code == 200)
    return file.id


def finished(retrieve, id, what):
    entity = retrieve(id=id)
    seen = [entity.progress.percentage_complete]
    while entity.progress.state not in ("FINISHED", "FAILED"):
        entity = retrieve(id=id)
        seen.append(entity.progress.percentage_complete)
    check(f"{what} finishes", entity.progress.state == "FINISHED")
    check("and its progress only grows", seen == sorted(seen) and seen[-1] == 100)


def downloads(outputs, what):
    check(f"{what} has outputs", len(outputs) > 0)
    for output in outputs:
        answer = requests.get(str(output.file.presigned_url), timeout=30)
        check(f"its {output.format} can be downloaded", answer.status_code == 200 and answer.content)


def pages(listing, limit):
    """The ids of a whole listing. The client parses cursors; Move takes them as it gave them."""
    seen, token = [], None
    while True:
        page = listing(limit=limit, next_token=token, sort_by=SortDirection.DESC)
        seen += [item.id for item in page.items]
        if page.next_token is None:
            return seen
        token = json.dumps(page.next_token)


# Files.

film = b"a film of somebody who walks" * 1000
walk = upload("walk", film)
for expand in expands(file_queries.retrieve):
    file = files.retrieve(id=walk, expand=expand)
    check(f"a file is retrieved with expand={expand}", (file.id, file.type, file.name) == (walk, "mp4", "walk"))
check("its metadata comes back", file.metadata == {"film": "walk"})
check("its bytes come back", requests.get(str(file.presigned_url), timeout=30).content == film)
for expand in expands(file_queries.create):
    new = files.create(file_type="mov", expand=expand)
    check(f"a file is created with expand={expand}", new.name == "" and new.metadata == {})
header = {"Content-Type": "video/mp4"}
refused = requests.put(str(new.presigned_url), data=film, headers=header, timeout=30)
check("a header that was not signed is refused", (refused.status_code, "SignatureDoesNotMatch" in refused.text) == (403, True))
for expand in expands(file_queries.update):
    file = files.update(id=walk, name="stroll", expand=expand)
    check(f"a rename leaves a file's metadata alone, with expand={expand}", (file.name, file.metadata) == ("stroll", {"film": "walk"}))
check("an update replaces it", files.update(id=walk, metadata={"n": 2}).metadata == {"n": 2})

# Takes by one camera, and jobs on them.

source = SourceIn(device_label="phone", file_id=walk, format="mp4")
for expand in expands(take_queries.create):
    take = takes.create_singlecam(sources=[source], name="t", metadata={"scene": 3}, expand=expand)
    check(f"a take is created with expand={expand}", (take.name, take.metadata) == ("t", {"scene": 3}))
check("its source is the file", (take.sources[0].file.id, take.sources[0].format) == (walk, "MP4"))
for expand in expands(take_queries.retrieve):
    check(f"a take is retrieved with expand={expand}", takes.retrieve(id=take.id, expand=expand).id == take.id)
for expand in expands(take_queries.update):
    renamed = takes.update(id=take.id, name="u", expand=expand)
    check(f"a take is renamed with expand={expand}", (renamed.name, renamed.metadata) == ("u", {"scene": 3}))
for expand in expands(take_queries.list_query):
    listed = takes.list(limit=2, expand=expand).items
    check(f"takes are listed with expand={expand}", [item.id for item in listed][0] == take.id)
check("the pages of takes hold each once", len(set(pages(takes.list, 2))) == len(pages(takes.list, 100)))

for expand in expands(job_queries.create):
    job = jobs.create_singlecam(
        take_id=take.id,
        name="j",
        metadata={"shot": 12},
        options=JobOptions(trackFingers=True),
        clip_window=ClipWindow(start_time=0, end_time=2.5),
        outputs=["main_fbx", "render_video"],
        expand=expand,
    )
    check(f"a job is created with expand={expand}", (job.name, job.metadata) == ("j", {"shot": 12}))
check("its take is the take", job.take.id == take.id)
finished(jobs.retrieve, job.id, "a job")
for expand in expands(job_queries.retrieve):
    done = jobs.retrieve(id=job.id, expand=expand)
    check(f"a job is retrieved with expand={expand}", done.state == "FINISHED")
downloads(done.outputs, "a job")
output = files.retrieve(id=done.outputs[0].file.id)
check("an output is a file too", output.type == done.outputs[0].file.type)
for expand in expands(job_queries.update):
    check(f"a job is renamed with expand={expand}", jobs.update(id=job.id, name="k", expand=expand).name == "k")
for expand in expands(job_queries.list_query):
    listed = jobs.list(limit=1, take_id=take.id, expand=expand).items
    check(f"jobs of a take are listed with expand={expand}", [item.id for item in listed] == [job.id])

# A volume, and a take and a job by two cameras in it.

settings = ugc.camera_settings.list().items
rigs = ugc.rigs.list().items
check("the catalogue has lenses and rigs", len(settings) > 0 and len(rigs) > 0)
cameras = [
    SourceIn(
        device_label=label,
        file_id=upload(label, film),
        format="MP4",
        camera_settings=CameraSettings(lens=settings[0].lens),
    )
    for label in ("left", "right")
]
sync = SyncMethodInput(clap_window=ClapWindowInput(start_time=0, end_time=1.5))
for expand in expands(volume_queries.create):
    volume = volumes.create_human_volume(
        sources=cameras,
        human_height=1.82,
        area_type=AreaType.LARGE,
        sync_method=sync,
        clip_window=ClipWindow(start_time=0, end_time=10),
        metadata={"stage": "A"},
        expand=expand,
    )
    check(f"a volume is created with expand={expand}", (volume.human_height, volume.area_type) == (1.82, AreaType.LARGE))
check("it has both cameras", [item.device_label for item in volume.sources] == ["left", "right"])
finished(volumes.retrieve_human_volume, volume.id, "a volume")
for expand in expands(volume_queries.retrieve_human_volume):
    done = volumes.retrieve_human_volume(id=volume.id, expand=expand)
    check(f"a volume is retrieved with expand={expand}", done.metadata == {"stage": "A"})
downloads(done.outputs, "a volume")
for expand in expands(volume_queries.list_query):
    listed = volumes.list(limit=1, expand=expand).items
    check(f"volumes are listed with expand={expand}", [item.id for item in listed] == [volume.id])
check("the pages of volumes hold each once", len(set(pages(volumes.list, 2))) == len(pages(volumes.list, 100)))

sync = SyncMethodInput(timecode_sync=TimecodeSyncInput(use_timecode=True))
stage = {"sources": cameras, "volume_id": volume.id, "sync_method": sync}
for expand in expands(take_queries.create_multicam, without=["volume"]):
    take = takes.create_multicam(**stage, metadata={"scene": 4}, expand=expand)
    check(f"a take by two cameras is created with expand={expand}", take.metadata == {"scene": 4})
check("it has both films", [item.file.id for item in take.sources] == [item.file_id for item in cameras])
try:
    takes.create_multicam(**stage, expand=["volume"])
    raise AssertionError("this version of the client does read volumes in takes: check them")
except ValidationError as error:  # it does not ask for the `progress` that it requires
    missing = [item["loc"] for item in error.errors()]
    check("a take's volume has all that the client asked for", missing == [("volume", "progress")])
for expand in expands(job_queries.create_multicam):
    job = jobs.create_multicam(take_id=take.id, number_of_actors=1, rig=rigs[0].name, expand=expand)
    check(f"a job by two cameras is created with expand={expand}", job.metadata == {})
check("its rig is the rig", job.rig.name == rigs[0].name)
finished(jobs.retrieve, job.id, "a job by two cameras")
downloads(jobs.retrieve(id=job.id, expand=["outputs"]).outputs, "a job by two cameras")
listed = pages(jobs.list, 3)
check("the pages of jobs hold each once", len(set(listed)) == len(listed) and job.id in listed)

# The account, and links out of it.

client = ugc.client.retrieve()
check("the client is told", client.id.startswith("client-"))
code = files.generate_share_code(file_id=walk)
check("a share code leads to its file", code.file_id == walk and code.expires > code.created)
check("whoever has it can read the file", requests.get(str(code.url), timeout=30).content == film)
if "account" in options:
    check("the client's metadata is replaced", ugc.client.update(metadata={"a": 1}).metadata == {"a": 1})
    hook = {"uid": "hook-1", "url": "https://app.example.test/hook", "events": ["ugc.job.state.completed"]}
    endpoint = ugc.webhooks.upsert(**hook)
    check("a webhook endpoint is made, with a secret", endpoint.secret.get_secret_value().startswith("whsec_"))
    check("which is told once", ugc.webhooks.upsert(**hook, description="mine").secret is None)

for retrieve, kind in [
    (files.retrieve, "file"),
    (takes.retrieve, "take"),
    (jobs.retrieve, "job"),
    (volumes.retrieve_human_volume, "volume"),
]:
    try:
        retrieve(id=f"{kind}-00000000-0000-4000-8000-000000000000")
        raise AssertionError(f"a missing {kind} was found")
    except Exception as error:  # the client raises its transport's error
        check(f"a missing {kind} raises Move's error type", "MoveNotFoundError" in str(error))

print("ok")
