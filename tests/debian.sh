#!/bin/bash
# Run a tox environment in a Debian chroot, for an interpreter that this machine does not have:
#   tests/debian.sh py314 [arguments of tox]
# SUITE sets another Debian suite. MIRROR sets another mirror than that in apt's configuration.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=${1:?which tox environment: py314 or pypy311}
case $environment in
    py314) suite=${SUITE:-testing} packages='python3.14-venv python3.14-dev' ;;
    pypy311) suite=${SUITE:-trixie} packages='pypy3-venv pypy3-dev' ;;
    *) echo "$0: it is not known which Debian suite has $environment" >&2; exit 2 ;;
esac
[ "$(id -u)" = 0 ] || exec sudo --preserve-env tests/debian.sh "$@"
# The kernel ends the mounts and the processes of these namespaces, however this script ends.
if [ -z "${IN_NAMESPACES:-}" ]; then
    IN_NAMESPACES=1 exec unshare --mount --mount-proc --pid --fork --kill-child tests/debian.sh "$@"
fi
shift

root=$PWD/.chroot/$suite
if [ ! -e "$root/.complete" ]; then
    mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' \
        'Created-By: Packages' 'Label: Debian' | head -n 1)}
    rm -rf "$root"
    debootstrap --variant=minbase "$suite" "$root" "${mirror:?apt has no mirror of Debian: set MIRROR}"
    touch "$root/.complete"
fi

# The chroot reaches the package registries in the same way as this machine.
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-)' >"$root/etc/apt/apt.conf.d/50machine" || true
cp -L /etc/ssl/certs/ca-certificates.crt "$root/srv/ca.crt"
settings=(SSL_CERT_FILE=/srv/ca.crt PIP_CERT=/srv/ca.crt)
while IFS= read -r -d '' setting; do
    case $setting in
        ENGINEIO_GEVENT_*|TEST_WORKERS=*|*_proxy=*|*_PROXY=*|PIP_INDEX_URL=*|UV_*INDEX*=*)
            settings+=("$setting") ;;
    esac
done < <(env -0)

# The tests run in a copy of the checkout. It includes the JavaScript modules that npm installed.
rm -rf "$root/srv/checkout"
mkdir "$root/srv/checkout"
tar -c --exclude-vcs --exclude=./.chroot --exclude=./.venv --exclude=./.tox --exclude=__pycache__ . \
    | tar -x -C "$root/srv/checkout" --no-same-owner

cat >"$root/srv/run" <<'INSIDE'
set -euo pipefail
apt-get update -qq
# PyPI has no wheels of some dependencies for these interpreters: they need a compiler.
apt-get install -y -qq --no-install-recommends \
    build-essential libffi-dev nodejs procps python3-venv $packages >/dev/null
[ -e /srv/tools/bin/pip ] || python3 -m venv /srv/tools
pip --disable-pip-version-check --quiet install --upgrade 'tox>=4.40' 'tox-uv>=1.20'
cd /srv/checkout
tox run --workdir /srv/tox "$@"
INSIDE

mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
chroot "$root" env -i "${settings[@]}" packages="$packages" \
    HOME=/srv LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive UV_PYTHON_DOWNLOADS=never \
    PATH=/srv/tools/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    bash /srv/run -e "$environment" "$@"
