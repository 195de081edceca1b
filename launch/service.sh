#!/usr/bin/env bash
# What the service of a host runs: main.py, until the run is done, can't go on, or gets nowhere.
# usage: launch/service.sh DIRECTORY PYTHON ARGUMENTS...
# DIRECTORY, in the mounted bucket, has the work directory as run/, and `done` or `failed` at the end.
set -uo pipefail

directory=$1 python=$2
shift 2
most=5 # starts without a new checkpoint

give_up() { # for all hosts: status 2 is not started again
  echo "error: $1; to try again, delete $directory/failed" >&2
  touch "$directory/failed"
  exit 2
}

# One host's mistake ends the others with another status: they must not come back.
[[ ! -e $directory/failed ]] || exit 2

# A checkpoint becomes valid when its folder is renamed, and a flat bucket renames no folders.
probe=$directory/probe-$HOSTNAME
rm -rf "$probe"
mkdir -p "$probe/before"
touch "$probe/before/file"
mv "$probe/before" "$probe/after" ||
  give_up "folders can't be renamed here; make the bucket with a hierarchical namespace"
rm -rf "$probe"

newest=none
for checkpoint in "$directory"/run/checkpoints/*; do
  step=${checkpoint##*/}
  [[ $step =~ ^[0-9]+$ ]] || continue
  if [[ $newest == none ]] || ((step > newest)); then newest=$step; fi
done
record=$directory/starts-$HOSTNAME
read -r before starts 2>/dev/null <"$record" || before='' starts=0
if [[ $newest == "$before" ]]; then starts=$((starts + 1)); else starts=1; fi
if ((starts > most)); then
  rm -f "$record"
  give_up "$most starts without a checkpoint after $newest; the log above says why they ended"
fi
echo "$newest $starts" >"$record"

"$python" main.py --distributed "--workdir=$directory/run" "$@"
status=$?
case $status in
  0) touch "$directory/done" ;;
  2) touch "$directory/failed" ;;
esac
exit $status
