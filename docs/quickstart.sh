#!/bin/bash
# What `rt` is for, in one run: two hosts, an nginx in a container on one of them, and clients. It is moved to the other host in the middle of a download, and
# then frozen there, written to disk, and made to run again. No request fails.
#
# As root on a Debian machine: installs packages and, where the distribution's does not work, a criu; builds into build/. The hosts are network namespaces with
# mount namespaces of their own, and all of it lives in tests/setup/sandbox: however this ends, nothing of it is left.
#
#     docs/quickstart.sh         both parts
#     docs/quickstart.sh move    the first one alone
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "$0")")")
build=${RT_BUILD:-$top/build}
work=/mnt # in the sandbox: a tmpfs
address=172.19.0.10

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
	ninja -C "$build" rt rt-migrate rt-netns | tail -n 1
}

# ---- two hosts ----

# make_host NAME NUMBER: a network with a bridge, whose uplink is at our switch, and a /run of its own
make_host()
{
	unshare --net --mount bash -c 'mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity' >"$work/$1.ready" &
	declare -g "host_$1=$!"
	until [ -s "$work/$1.ready" ]; do sleep 0.05; done
	ip link add "port-$1" type veth peer name uplink netns "$!"
	ip link set "port-$1" master switch up
	on "$1" bash -c "ip link set lo up; ip link add rt0 type bridge; ip addr add 172.19.0.$2/16 dev rt0; ip link set rt0 up; ip link set uplink master rt0 up"
}

# on NAME COMMAND...
on()
{
	local pid=host_$1
	shift
	nsenter --target "${!pid}" --net --mount env PATH="/usr/local/sbin:$build:$PATH" "$@"
}

rt_on()
{
	local name=$1
	shift
	on "$name" rt --root "$work/$name/run" "$@"
}

# ---- a container ----

# The distribution's nginx with just the files it needs, and 48 MiB to download.
make_rootfs()
{
	local root=$1 file
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
		http { access_log off; server { listen 80; root /srv; location /file { limit_rate 8m; } } }
	CONF
	head -c 48M /dev/urandom >"$root/srv/file"
	echo 'hello from the container' >"$root/srv/index.html"
}

# make_bundle NAME: rt-netns gives the container its address; each host has cgroups of its own
make_bundle()
{
	local bundle=$work/$1/bundles/web
	mkdir -p "$bundle"
	rt_on "$1" spec --bundle "$bundle"
	/usr/bin/python3 - "$bundle/config.json" "$build/rt-netns" "$address" "/quickstart-$1" <<-PY
		import json, sys
		path, netns, address, cgroup = sys.argv[1:]
		config = json.load(open(path))
		config["process"].update(terminal=False, args=["/usr/sbin/nginx"])
		config["process"]["capabilities"] = {kind: ["CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_KILL"]
		    for kind in ("bounding", "effective", "permitted")}
		config["root"]["readonly"] = False
		config["linux"]["cgroupsPath"] = cgroup
		hook = {"path": netns, "args": ["rt-netns", "hook", "--ip", address]}
		config["hooks"] = {"createRuntime": [hook], "poststop": [hook]}
		json.dump(config, open(path, "w"), indent=1)
	PY
}

# A certificate for host b, and a token that its sources must know.
make_secrets()
{
	cd "$work"
	printf 'cn = "host b"\nip_address = 172.19.0.2\ntls_www_server\nca\ncert_signing_key\nexpiration_days = 1\n' >b.template
	certtool --generate-privkey --key-type ecdsa --outfile b.key 2>/dev/null
	certtool --generate-self-signed --load-privkey b.key --template b.template --outfile b.pem 2>/dev/null
	(umask 077 && head -c 24 /dev/urandom | base64 >token)
	cd /
}

# ---- clients ----

start_clients()
{
	rm -f "$work/enough"
	curl -s -o "$work/got" "http://$address/file" &
	download=$!
	while [ ! -e "$work/enough" ]; do
		curl -s -o /dev/null -w '%{http_code} %{time_total}\n' --max-time 60 "http://$address/" || true
	done >"$work/requests" &
	requests=$!
	sleep 2
}

end_clients()
{
	sleep 1
	touch "$work/enough"
	wait "$requests"
	wait "$download"
	awk '$1 == 200 { fine++ } $2 > slowest { slowest = $2 } END { printf "%d requests meanwhile, %d failed, the slowest took %.0f ms\n", NR, NR - fine, slowest * 1000 }' \
		"$work/requests"
	cmp "$work/got" "$work/a/bundles/web/rootfs/srv/file" && echo "and the download, $(stat -c %s "$work/got") bytes over one connection, has arrived whole"
}

# ---- the parts ----

prepare()
{
	mount -t tmpfs tmpfs "$work"
	ip link add switch type bridge
	ip addr add 172.19.0.200/16 dev switch
	ip link set switch up
	make_host a 1
	make_host b 2
	make_bundle a
	make_bundle b # its root filesystem comes along
	make_rootfs "$work/a/bundles/web/rootfs"
	make_secrets
}

# A connection that nginx has not accepted yet can't be taken along: then nothing happens, it runs on, and the next try is a moment later.
again()
{
	local tries
	for tries in 1 2 3 4 5; do
		"$@" && return
		sleep 0.2
	done
	return 1
}

move()
{
	say "host a: a container with nginx, at $address"
	rt_on a run --detach --bundle "$work/a/bundles/web" web </dev/null >/dev/null 2>&1
	until curl -s "http://$address/"; do sleep 0.1; done
	rt_on a list
	say "host b: rt receive"
	rt_on b receive --listen 172.19.0.2:7443 --cert "$work/b.pem" --key "$work/b.key" --token-file "$work/token" --bundles "$work/b/bundles" \
		>"$work/receive.log" 2>&1 &
	until grep -q "listening on" "$work/receive.log"; do sleep 0.05; done
	cat "$work/receive.log"
	start_clients
	say "host a: rt migrate --rootfs copy --cacert b.pem --token-file token web https://172.19.0.2:7443"
	again rt_on a migrate --rootfs copy --cacert "$work/b.pem" --token-file "$work/token" web https://172.19.0.2:7443
	end_clients
	rt_on b list
}

ms()
{
	echo "$((($(date +%s%N) - $1) / 1000000)) ms"
}

freeze()
{
	local began
	start_clients
	say "host b: rt checkpoint: 'web' is written to disk, and gone"
	began=$(date +%s%N)
	again rt_on b checkpoint --tcp-established --image-path "$work/images" web
	ms "$began"
	rt_on b checkpoint inspect "$work/images" | sed -n 1,12p
	say "host b: rt restore: it goes on where it stopped"
	began=$(date +%s%N)
	rt_on b restore --detach --tcp-established --bundle "$work/b/bundles/web" --image-path "$work/images" web </dev/null >/dev/null 2>&1
	ms "$began"
	end_clients
}

case ${1-} in
--inside)
	prepare
	move
	[ "${2-}" = move ] || freeze
	rt_on b delete --force web
	;;
'' | move)
	say "installing and building"
	install
	exec "$top/tests/setup/sandbox" -- "$0" --inside "$@"
	;;
*)
	echo "usage: docs/quickstart.sh [move]" >&2
	exit 2
	;;
esac
