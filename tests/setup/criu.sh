#!/bin/sh
# criu.sh: sees to it that `criu` works on this machine's kernel.
#
# A criu that passes `criu check`, and can dump sockets on this kernel, is kept, whichever it is. Debian 12's 3.17.1 does not
# understand kernels from 6.16 on; 4.1.1 passes its own check there but fails on every socket that is not a unix one
# (getsockopt of SO_PASSCRED is refused since 6.16), so such a kernel needs 4.2. Otherwise the source that Debian has in
# unstable is built and installed below /usr/local, where it comes first in PATH.
set -eu

here=$(dirname "$(readlink -f "$0")")
cache=${RT_TEST_CACHE:-/var/cache/rt-tests}
built=$cache/criu-built/criu

# at_least 6.16 VERSION: whether a version is that or later.
at_least()
{
	[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

works()
{
	"$1" check >/dev/null 2>&1 || return 1
	version=$("$1" --version | sed -n 's/^Version: *//p')
	at_least 4.0 "$version" || return 1 # what rt wants; Debian 12's own passes its check on Debian 12's kernel
	at_least 6.16 "$(uname -r)" || return 0
	at_least 4.2 "$version"
}

current=$(command -v criu || true)
if [ -n "$current" ] && works "$current"; then
	echo "criu: $current works ($("$current" --version | head -n 1))"
	exit 0
fi

if [ ! -x "$built" ]; then
	echo "criu: ${current:-none} does not work here, building Debian unstable's (about a minute)"
	tree=$(mktemp -d)
	trap 'rm -rf "$tree"' EXIT
	"$here/apt-source" criu "$tree" sid
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
