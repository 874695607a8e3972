"""A container that runs while its memory is still on its way: nobody may take what is not there for zeros."""

import threading

from lib import proc
from lib.hosts import Churn


def test_nobody_dumps_what_has_not_arrived(hosts):
    one = Churn(hosts.a, "private", 48)
    there = hosts.b.put_bundle(one.container)
    for host in hosts.made:
        host.receive()
    one.start()
    moves = []
    moving = threading.Thread(target=lambda: moves.append(hosts.migrate(one.container, "--mode", "post-copy", "--bandwidth", "8M")))
    moving.start()
    try:
        proc.eventually(lambda: hosts.b.ids() == ["web"] and there.rt("state", "web", ok=None).out.count('"running"'), what="it to run on the other host")
        refused = there.rt("checkpoint", "--image-path", there.dir + "/images", "web", ok=False)
        assert "its memory has not all arrived yet" in refused.err and refused.err.count("\n") == 1
    finally:
        moving.join()
    # On its way back it is waited for.
    back = hosts.migrate(moves[0].container).container
    one.is_right(back)
