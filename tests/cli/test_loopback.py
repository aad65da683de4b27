"""The cluster that the command starts cannot be reached from elsewhere."""

import ipaddress
import sys

import pytest

CODE = """
import glob, os
import ray
from rllib_sami_cli.runner import Session, _start_ray

_start_ray(Session(["rllib"], ray={"num_cpus": 1}))
ray.get(ray.remote(lambda: None).remote())

children = {}
for path in glob.glob("/proc/[0-9]*/stat"):
    try:
        pid, rest = int(path.split("/")[2]), open(path).read().rpartition(")")[2].split()
    except OSError:
        continue
    children.setdefault(int(rest[1]), []).append(pid)
ours = [os.getpid()]
for pid in ours:
    ours += children.get(pid, [])
inodes = set()
for pid in ours:
    for path in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            inodes.add(os.readlink(path))
        except OSError:
            pass
for table in ("tcp", "tcp6"):
    for line in open(f"/proc/net/{table}").read().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            print("listens", fields[1].split(":")[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_loopback_only(fresh_python):
    found = [line.split()[1] for line in fresh_python(CODE).splitlines() if line.startswith("listens")]
    # Each word of four bytes is in the machine's order.
    raw = [b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)) for text in found]
    addresses = [ipaddress.ip_address(number) for number in raw]
    assert len(addresses) >= 4  # Ray's store, node, worker and driver
    assert all((getattr(address, "ipv4_mapped", None) or address).is_loopback for address in addresses), addresses
