"""A Ray cluster of two nodes on loopback, as a process: prints its address; a line on stdin removes the second node.

It ends when its stdin is closed, by whoever started it or by his death.
"""

import sys

from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
try:
    second = cluster.add_node(num_cpus=1)
    print(cluster.address, flush=True)
    if sys.stdin.readline():
        cluster.remove_node(second, allow_graceful=False)
        print("removed", flush=True)
        sys.stdin.readline()
finally:
    cluster.shutdown()
