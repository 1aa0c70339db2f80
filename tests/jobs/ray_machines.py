"""A Ray cluster on this machine for tests; `python ray_machines.py PORT`: a head without room for jobs and two nodes, a CPU each.

PORT: of the client server. It says where it is, and at the end of its input it is gone with all its processes.
"""

import sys

from ray.cluster_utils import Cluster


def main(port: int) -> None:
    small = {"num_gpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    head = {**small, "num_cpus": 0, "ray_client_server_port": port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **small)
        print(cluster.address, flush=True)
        sys.stdin.read()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
