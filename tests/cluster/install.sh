#!/bin/sh
# What tests/cluster needs on Debian: real ssh, pdsh, MPI and SLURM. Nothing is started.
set -eu
missing=""
for package in iproute2 openssh-server openssh-client pdsh openmpi-bin libopenmpi-dev slurm-wlm munge; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" ||
    missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "tests/cluster needs:$missing; they come by apt-get, as root. Tests without them are skipped." >&2
  exit 0
fi
# services that packages start when they are installed are of no use here
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
short="-o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=1"
# shellcheck disable=SC2086 # names and options without spaces
if ! { apt-get $short update -qq && apt-get $short install -y -qq --no-install-recommends $missing; }; then
  echo "tests/cluster: apt-get could not install$missing. Tests without them are skipped." >&2
fi
