#!/usr/bin/env bash
# A run on a Cloud TPU slice: queued, mounted, started, watched, deleted. See docs/pods.md.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: launch/pod.sh COMMAND --name=NAME --type=v5e-16|v5p:4x4x4|v6e-16|... --zone=ZONE
                     --project=PROJECT --bucket=BUCKET [--spot] [--dry_run] [-- ARGUMENTS]

  create   uploads the committed code, then queues the slice, whose hosts run
           python main.py --workdir=BUCKET/NAME/run ARGUMENTS
  watch    creates a preempted slice again, until the run is done or has failed
  status   state of the queued resource
  log      last lines of every host
  delete   gives the slice back; the bucket keeps the run

--dry_run prints the commands and runs none.
USAGE
}

fail() { # one line, as main.py does
  echo "error: $1" >&2
  exit 2
}

run() { # a command, or with --dry_run its text
  if [[ $dry_run == 1 ]]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command=${1:-}
shift || true
name='' type='' zone='' project='' bucket='' spot=0 dry_run=0
while (($#)); do
  case $1 in
    --name=*) name=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --bucket=*) bucket=${1#*=} ;;
    --spot) spot=1 ;;
    --dry_run) dry_run=1 ;;
    --)
      shift
      break
      ;;
    *) fail "unknown argument $1; see launch/pod.sh help" ;;
  esac
  shift
done
arguments=("$@")

case $command in
  create | watch | status | log | delete) ;;
  help | --help)
    usage
    exit 0
    ;;
  *) fail "unknown command '$command'; choose create, watch, status, log or delete" ;;
esac
for field in name type zone project bucket; do
  [[ -n ${!field} ]] || fail "--$field is missing; see launch/pod.sh help"
done
[[ ${arguments[*]} != *'|'* ]] || fail "arguments can't hold |, which parts gcloud's metadata"
[[ $bucket != gs://* ]] || fail "--bucket=$bucket: give its name without gs://"

# A slice has several names: v5litepod-16, v5e-16 and v5e:4x4 are one. Topologies count chips, the
# types of v4 and v5p count cores, two a chip.
if [[ $type =~ ^(v4|v5e|v5p|v6e):([0-9]+)x([0-9]+)(x([0-9]+))?$ ]]; then
  count=$((BASH_REMATCH[2] * BASH_REMATCH[3] * ${BASH_REMATCH[5]:-1}))
  case ${BASH_REMATCH[1]} in v4 | v5p) count=$((count * 2)) ;; esac
  type=${BASH_REMATCH[1]}-$count
fi
# Accelerator types and software versions as Cloud TPU names them.
case $type in
  v4-*) accelerator=$type runtime=tpu-ubuntu2204-base ;;
  v5e-* | v5litepod-*) accelerator=v5litepod-${type#*-} runtime=v2-alpha-tpuv5-lite ;;
  v5p-*) accelerator=$type runtime=v2-alpha-tpuv5 ;;
  v6e-*) accelerator=$type runtime=v2-alpha-tpuv6e ;;
  tpu7x*) fail "--type=$type: Google gives TPU7x through GKE alone, which this script doesn't use" ;;
  *) fail "--type=$type is unknown; choose v4-N, v5e-N, v5p-N, v6e-N, or a topology as v5e:4x4" ;;
esac
place=("--zone=$zone" "--project=$project")

queue() {
  local flags=() line
  line=$(printf '%q ' "${arguments[@]}")
  [[ $spot == 0 ]] || flags+=(--spot)
  # ^|^: the values may hold commas.
  run gcloud compute tpus queued-resources create "$name" "--node-id=$name" \
    "--accelerator-type=$accelerator" "--runtime-version=$runtime" "${place[@]}" "${flags[@]}" \
    --scopes=https://www.googleapis.com/auth/cloud-platform \
    "--metadata=^|^lengthwise-bucket=$bucket|lengthwise-name=$name|lengthwise-arguments=$line" \
    "--metadata-from-file=startup-script=$here/startup.sh"
}

remove() {
  run gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force --quiet
}

exists() { # an object of the run
  gcloud storage ls "gs://$bucket/$name/$1" >/dev/null 2>&1
}

state() {
  gcloud compute tpus queued-resources describe "$name" "${place[@]}" '--format=value(state.state)'
}

upload() {
  local archive=${TMPDIR:-/tmp}/lengthwise-$name.tar.gz left
  left=$(git -C "$here/.." status --porcelain | cut -c4-)
  [[ -z $left ]] ||
    echo "note: only what is committed is uploaded; left behind: ${left//$'\n'/, }" >&2
  run git -C "$here/.." archive --format=tar.gz "--output=$archive" HEAD
  run gcloud storage cp "$archive" "gs://$bucket/$name/source.tar.gz"
  [[ $dry_run == 1 ]] || rm -f "$archive"
}

case $command in
  create)
    ((${#arguments[@]})) || fail "no arguments of main.py; give them after --"
    upload
    queue
    ;;
  watch)
    ((${#arguments[@]})) || fail "no arguments of main.py; give those of create after --"
    if [[ $dry_run == 1 ]]; then # what follows a preemption
      remove
      queue
      exit 0
    fi
    lost=0 # whether a slice was taken that is not queued anew
    while true; do
      if exists "done"; then
        echo "done: gs://$bucket/$name/run"
        exit 0
      elif exists failed; then
        fail "the run can't go on: launch/pod.sh log has its last lines"
      fi
      now=$(state) || now='state unknown' # gcloud says why; the next answer may come
      echo "$(date -u +%FT%TZ) $name: $now"
      case $now in
        SUSPENDED | FAILED) # a preempted slice never comes back: it is asked for anew
          lost=1
          if remove && queue; then lost=0; fi
          ;;
        'state unknown') # perhaps removed and not queued, where that had no answer
          if [[ $lost == 1 ]] && queue; then lost=0; fi
          ;;
      esac
      sleep 60
    done
    ;;
  status)
    run gcloud compute tpus queued-resources describe "$name" "${place[@]}" \
      '--format=value(state.state)'
    ;;
  log)
    run gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker=all \
      '--command=sudo journalctl --unit=lengthwise --lines=40 --no-pager'
    ;;
  delete) remove ;;
esac
