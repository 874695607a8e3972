#!/bin/bash
# What `rt` is for, in one run: an nginx in a container is frozen in the middle of a download, written to disk, gone; and made
# to run again under another name. The client notices a pause.
#
# As root on a Debian machine. Installs packages and, where the distribution's does not work, a criu; builds into build/;
# leaves nothing else behind: no container, network namespace or file.
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "$0")")")
build=${RT_BUILD:-$top/build}
work=$(mktemp -d /var/tmp/rt-quickstart-XXXXXX)
space=rt-quickstart-$$ # network namespace
link=rtq$(($$ % 100000))
host=198.18.77.1 guest=198.18.77.2 # of the range for benchmarks (RFC 2544)
rt=(env PATH="/usr/local/sbin:$PATH" "$build/rt" --root "$work/run")
client=

clean_up()
{
	[ -z "$client" ] || kill "$client" 2>/dev/null || true
	"${rt[@]}" delete --force web 2>/dev/null || true
	"${rt[@]}" delete --force web-again 2>/dev/null || true
	ip netns delete "$space" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT

say()
{
	printf '\n== %s\n' "$*"
}

install()
{
	"$top/tests/setup/install-packages" | tail -n 1
	"$top/tests/setup/install-packages" curl | tail -n 1
	"$top/tests/setup/criu.sh"
	[ -e "$build/build.ninja" ] || meson setup "$build" "$top" >/dev/null
	meson compile -C "$build" | tail -n 1
}

# The distribution's nginx with just the files it needs, and 64 MiB to download.
make_bundle()
{
	local root=$work/bundle/rootfs file
	mkdir -p "$root"/{proc,sys,dev,etc/nginx,usr/sbin,var/log/nginx,var/lib/nginx,run,srv,tmp}
	for file in /usr/sbin/nginx $(ldd /usr/sbin/nginx | grep -o '/[^ ]*'); do
		mkdir -p "$root$(dirname "$file")"
		cp -L "$file" "$root$file"
	done
	printf 'root:x:0:0:root:/:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\n' >"$root/etc/group"
	cat >"$root/etc/nginx/nginx.conf" <<-CONF
		user root;
		daemon off;
		worker_processes 1;
		error_log /var/log/nginx/error.log;
		pid /run/nginx.pid;
		events {}
		http { access_log off; server { listen 80; root /srv; limit_rate 8m; } }
	CONF
	head -c 64M /dev/urandom >"$root/srv/file"
	echo 'hello from the container' >"$root/srv/index.html"
	"${rt[@]}" spec --bundle "$work/bundle"
	/usr/bin/python3 - "$work/bundle/config.json" "/run/netns/$space" <<-PY
		import json, sys
		path, netns = sys.argv[1:]
		config = json.load(open(path))
		config["process"].update(terminal=False, args=["/usr/sbin/nginx"])
		config["process"]["capabilities"] = {kind: ["CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_KILL"]
		    for kind in ("bounding", "effective", "permitted")}
		config["root"]["readonly"] = False
		for namespace in config["linux"]["namespaces"]:
		    if namespace["type"] == "network":
		        namespace["path"] = netns
		json.dump(config, open(path, "w"), indent=1)
	PY
}

make_network()
{
	ip netns add "$space"
	ip link add "$link" type veth peer name eth0 netns "$space"
	ip addr add "$host/24" dev "$link"
	ip link set "$link" up
	ip -n "$space" addr add "$guest/24" dev eth0
	ip -n "$space" link set eth0 up
	ip -n "$space" link set lo up
}

ms()
{
	echo "$((($(date +%s%N) - $1) / 1000000)) ms"
}

say "installing and building"
install
say "a network namespace, and a bundle with an nginx"
make_network
make_bundle

say "the container 'web'"
"${rt[@]}" run --detach --bundle "$work/bundle" web </dev/null >/dev/null 2>&1
for _ in $(seq 50); do curl -s "http://$guest/" && break || sleep 0.1; done
"${rt[@]}" list
"${rt[@]}" checkpoint --check --tcp-established web

say "a download over one connection, at 8 MiB/s"
curl -s -o "$work/got" "http://$guest/file" &
client=$!
sleep 2
echo "$(stat -c %s "$work/got") bytes so far"

say "checkpoint: 'web' is frozen, written and gone"
began=$(date +%s%N)
"${rt[@]}" checkpoint --tcp-established --image-path "$work/images" web
dumped=$(ms "$began")
"${rt[@]}" list
"${rt[@]}" checkpoint inspect "$work/images" | sed -n 1,20p

say "restore: 'web-again' goes on where it stopped"
began2=$(date +%s%N)
"${rt[@]}" restore --detach --tcp-established --bundle "$work/bundle" --image-path "$work/images" web-again </dev/null >/dev/null 2>&1
restored=$(ms "$began2")
"${rt[@]}" list
wait "$client"
client=

say "the download ended; its digest is that of the file:"
cmp "$work/got" "$work/bundle/rootfs/srv/file" && echo "the same, $(stat -c %s "$work/got") bytes"
printf '\n'; printf '%-20s %s\n' "checkpoint took" "$dumped" "restore took" "$restored"
