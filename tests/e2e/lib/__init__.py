"""What the end-to-end tests share. A test usually needs only conftest.py's fixtures:

    def test_a_container_runs(container):
        c = container(args=["echo", "hello"])
        assert c.run().out == "hello\\n"

  proc.py       runs programs with every other descriptor closed, and with a time limit
  rootfs.py     root filesystems: busybox, nginx, redis (from the host's packages)
  config.py     a complete config.json, and how a test changes it
  container.py  one container: its bundle, its verbs, its end
  frozen.py     checkpoint and restore around a test
  inside.py     containers whose process does what a test tells it (agent.py is that process)
  console.py    terminals: --console-socket's receiver, and a program on a pty
  hosts.py      two hosts on one machine, and what moves between them
  ns.py         mount and network namespaces to run things in
  cgroup.py     the cgroups of a container, whatever the version
  host.py       what the host looks like, to see what a test left behind
  needs.py      skips, with the reason
"""
