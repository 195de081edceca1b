#!/usr/bin/env bash
# What every host of a slice does when it starts: mounts the bucket, installs the uploaded code,
# runs it as the service `lengthwise`. launch/pod.sh hands it over as the startup script.
set -euo pipefail

attribute() { # a value that launch/pod.sh put beside this script
  curl --fail --silent --show-error --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/lengthwise-$1"
}

bucket=$(attribute bucket)
name=$(attribute name)
arguments=$(attribute arguments)
mount=/mnt/lengthwise
code=/opt/lengthwise

if ! command -v gcsfuse >/dev/null; then
  key=/usr/share/keyrings/cloud.google.asc
  curl --fail --silent --show-error --output "$key" \
    https://packages.cloud.google.com/apt/doc/apt-key.gpg
  echo "deb [signed-by=$key] https://packages.cloud.google.com/apt" \
    "gcsfuse-$(lsb_release --codename --short) main" >/etc/apt/sources.list.d/gcsfuse.list
  # Another apt may be at work while a machine starts.
  apt-get -o DPkg::Lock::Timeout=600 update
  apt-get -o DPkg::Lock::Timeout=600 install --yes gcsfuse
fi
mkdir -p "$mount"
# With streaming writes a file that is appended to can't be seen until it is closed, and a kill loses
# all of it: metrics.jsonl and the events.
mountpoint --quiet "$mount" ||
  gcsfuse --implicit-dirs --enable-streaming-writes=false "$bucket" "$mount"

if [[ ! -e $code/.installed ]]; then
  mkdir -p "$code"
  tar --extract --gzip --file="$mount/$name/source.tar.gz" --directory="$code"
  # The system's Python is older than 3.11.
  python3 -m pip install --quiet uv
  python3 -m uv venv --python 3.12 "$code/.venv"
  python3 -m uv pip install --python "$code/.venv/bin/python" \
    --requirement "$code/requirements.txt" 'jax[tpu]'
  touch "$code/.installed"
fi

# Status 2 is a mistake that the next start would meet again; after everything else (a crash, a host
# that is gone, a SIGTERM that was not the machine's end) the same command goes on from the last
# checkpoint.
cat >"$code/run.sh" <<RUN
#!/usr/bin/env bash
cd $code
exec launch/service.sh $mount/$name .venv/bin/python $arguments
RUN
chmod +x "$code/run.sh"
systemctl is-active --quiet lengthwise || systemd-run --unit=lengthwise \
  --property=Restart=on-failure --property=RestartSec=30 \
  --property=RestartPreventExitStatus=2 --property=TimeoutStopSec=120 "$code/run.sh"
