#!/bin/sh
# criu.sh: sees to it that `criu` works on this machine's kernel.
#
# A criu that passes `criu check` is kept, whichever it is. Otherwise (Debian 12's 3.17.1 does
# not understand kernels from 6.16 on, and Debian 13 has none in some architectures) 4.1.1 is
# built from Debian 13's source and installed below /usr/local, where it comes first in PATH.
set -eu

here=$(dirname "$(readlink -f "$0")")
cache=${RT_TEST_CACHE:-/var/cache/rt-tests}
built=$cache/criu-4.1.1/criu

works()
{
	"$1" check >/dev/null 2>&1
}

current=$(command -v criu || true)
if [ -n "$current" ] && works "$current"; then
	echo "criu: $current works ($("$current" --version | head -n 1))"
	exit 0
fi

if [ ! -x "$built" ]; then
	echo "criu: ${current:-none} does not work here, building 4.1.1 (about a minute)"
	tree=$(mktemp -d)
	trap 'rm -rf "$tree"' EXIT
	"$here/apt-source" criu "$tree"
	if ! make -C "$tree" -j"$(nproc)" criu >"$tree/build.log" 2>&1; then
		tail -n 30 "$tree/build.log" >&2
		exit 1
	fi
	mkdir -p "$(dirname "$built")"
	cp "$tree/criu/criu" "$built.new"
	mv "$built.new" "$built"
fi
install -D -m 755 "$built" /usr/local/sbin/criu
if ! works /usr/local/sbin/criu; then
	echo "criu: the one just built does not pass 'criu check' either:" >&2
	/usr/local/sbin/criu check >&2 || true
	exit 1
fi
echo "criu: installed /usr/local/sbin/criu"
