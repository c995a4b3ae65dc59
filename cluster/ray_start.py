"""`ray start` for nodes that all live on 127.0.0.1: run as `python -m keepgain.cluster.ray_start`.

Ray 2.60 replaces a loopback address by the machine's outer one ("make sure localhost isn't resolved
to the loopback ip") and then listens on every interface. It listens on loopback alone where a
node's address is 127.0.0.1, as it is on macOS and Windows; there it refuses a second node. Both
rules are lifted here, in the process of `ray start` alone. Drivers get 127.0.0.1 with
`LOOPBACK` in their environment, which is Ray's own switch.
"""

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray takes this machine for one of a single node, whose address is 127.0.0.1."""


def main() -> None:
    """`ray start` with the command line of this process."""
    from ray._private import ray_constants, services
    from ray.scripts.scripts import main as ray

    if not hasattr(services, "resolve_ip_for_localhost"):
        raise SystemExit("this version of Ray resolves addresses otherwise: not tested with it.")
    services.resolve_ip_for_localhost = lambda host: host
    ray_constants.ENABLE_RAY_CLUSTER = True
    ray()


if __name__ == "__main__":
    main()
