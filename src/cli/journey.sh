ask() { curl -s URL -H 'Authorization: KEY' -H 'Content-Type: application/json' -d "{\"query\": \"${1//\"/\\\"}\"}"; }
pick() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
NEW=$(ask 'mutation { createFile(type: "mp4", name: "walk") { id presignedUrl } }')
FILE=$(echo "$NEW" | pick id)
curl -T film.mp4 "$(echo "$NEW" | pick presignedUrl)"
TAKE=$(ask "mutation { createSingleCamTake(sources: [{deviceLabel: \"phone\", fileId: \"$FILE\", format: MP4}]) { id } }" | pick id)
JOB=$(ask "mutation { createSingleCamJob(takeId: \"$TAKE\") { id } }" | pick id)
until ask "{ getJob(jobId: \"$JOB\") { id state } }" | grep -e FINISHED -e FAILED; do sleep 2; done
curl -o walk.fbx "$(ask "{ getJob(jobId: \"$JOB\") { outputs { file { presignedUrl } } } }" | pick presignedUrl)"
