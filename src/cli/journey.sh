ask() { curl -s URL -H 'Authorization: KEY' -H 'Content-Type: application/json' -d "{\"query\": \"$(printf %s "$1" | sed 's/"/\\"/g')\"}"; }
pick() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
NEW=$(ask 'mutation { createFile(type: "mp4", name: "walk") { id presignedUrl } }')
FILE=$(printf %s "$NEW" | pick id)
curl -T film.mp4 "$(printf %s "$NEW" | pick presignedUrl)"
TAKE=$(ask "mutation { createSingleCamTake(sources: [{deviceLabel: \"phone\", fileId: \"$FILE\", format: MP4}]) { id } }" | pick id)
JOB=$(ask "mutation { createSingleCamJob(takeId: \"$TAKE\") { id } }" | pick id)
state() { ask "{ getJob(jobId: \"$JOB\") { state } }" | pick state; }
until state | grep -e FINISHED -e FAILED -e errors; do sleep 2; done
fbx() { ask "{ getJob(jobId: \"$JOB\") { outputs { key file { presignedUrl } } } }" | sed 's/.*"key":"fbx",//' | pick presignedUrl; }
if state | grep -q FINISHED; then curl -o walk.fbx "$(fbx)"; else echo 'There is no motion: the job did not finish'; fi
