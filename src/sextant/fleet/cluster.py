"""Ray, behind a small door: places processes, ends them, and says when they ended."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sextant.errors import EngineError, missing_engine
from sextant.fleet import janitor
from sextant.fleet.host import Host, Orders
from sextant.fleet.member import MemberSpec

_LOOPBACK = "127.0.0.1"
_OBJECT_STORE_BYTES = 80 * 2**20  # Ray's least is 75 MiB; bodies never go through it
_LONGEST_DIRECTORY = 40  # Ray's sockets lie deep below, and a socket's path has 107 bytes

_LOCAL_ENV = {
    # One token a process, because Ray reads it once. It keeps other users of this computer out,
    # and spares the file that Ray would otherwise write into the home directory.
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    # Ray listens on all interfaces unless it takes this computer for one without a cluster.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_QUIET_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray prints notices about dead workers on stdout even without logs; this skips every line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

Ended = Callable[[dict[str, str]], None]


class Cluster:
    """A Ray cluster: one that was running, or one of our own that ends with us."""

    def __init__(self, ray: Any, host: str, office: _Office | None, started_ray: bool) -> None:
        self._ray = ray
        self._office = office
        self._started_ray = started_ray
        self._actor = ray.remote(Host)
        self.host = host
        self.node: str = ray.get_runtime_context().get_node_id()

    @classmethod
    def join(cls, address: str) -> Cluster:
        """Joins a running cluster.

        Raises:
            EngineError: there is none at that address, or Ray is not installed.
        """
        hint = "ray start --head starts one; without an address a local one is used"
        if not _answers(address):
            raise EngineError(f"no Ray cluster at {address}", hint=hint)
        ray = _import_ray(_QUIET_ENV)
        started_ray = not ray.is_initialized()
        if started_ray:
            try:
                _init(ray, address=address)
            except Exception as error:
                raise EngineError(f"no Ray cluster at {address}: {error}", hint=hint) from error
        return cls(ray, ray.util.get_node_ip_address(), None, started_ray)

    @classmethod
    def local(cls, cpus: int | None, env: Mapping[str, str]) -> Cluster:
        """Starts a cluster on this computer, or takes the one that this process already runs.

        Raises:
            EngineError: it does not start, or Ray is not installed.
        """
        ray = _import_ray({**_QUIET_ENV, **_LOCAL_ENV})
        if ray.is_initialized():
            return cls(ray, _LOOPBACK, None, False)
        office = _Office()
        try:
            with _environment({**env, janitor.MARK: office.mark}):
                _init(
                    ray,
                    address="local",
                    num_cpus=cpus,
                    include_dashboard=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(office.directory),
                )
            return cls(ray, _LOOPBACK, office, True)
        except BaseException as error:
            ray.shutdown()
            office.close()
            if isinstance(error, Exception):
                raise EngineError(f"Ray does not start: {error}") from error
            raise

    def start(self, spec: MemberSpec, orders: Orders, ended: Ended) -> Any:
        """Starts one host without waiting for it; `ended` is called once, from another thread.

        `ended` gets `{"end": "left" | "refused" | "failed" | "died", "why": ...}`.
        """
        options: dict[str, Any] = {"num_cpus": spec.cpus, "max_restarts": 0}
        if spec.memory_bytes is not None:
            options["memory"] = spec.memory_bytes
        actor = self._actor.options(**options).remote(orders)

        def done(future: Any) -> None:
            error = future.exception()
            ended(_how_it_died(error) if error else future.result())

        actor.serve.remote().future().add_done_callback(done)
        return actor

    def kill(self, actor: Any) -> None:
        """Ends a host's process at once."""
        self._ray.kill(actor, no_restart=True)

    def on_node(
        self, node: str, call: Callable[..., Any], *arguments: Any, timeout_s: float
    ) -> Any:
        """Runs a function on a node of the cluster and returns what it returns.

        Raises:
            EngineError: the node did not answer in time.
        """
        if node == self.node:
            return call(*arguments)
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        strategy = affinity(node, soft=False)
        task = self._ray.remote(call).options(num_cpus=0, scheduling_strategy=strategy)
        try:
            return self._ray.get(task.remote(*arguments), timeout=timeout_s)
        except self._ray.exceptions.RayError as error:
            raise EngineError(f"node {node[:8]} did not answer: {error}") from error

    def close(self) -> None:
        """Lets go of the cluster; a local one is ended and leaves nothing behind."""
        if self._started_ray:
            self._ray.shutdown()
        if self._office:
            self._office.close()


class _Office:
    """The directory of a local cluster, its mark, and the janitor that outlives us."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        parent = Path(tempfile.gettempdir())
        if len(str(parent)) > _LONGEST_DIRECTORY:
            parent = Path("/tmp")
        self.directory = Path(tempfile.mkdtemp(prefix="sextant-", dir=parent))
        self._janitor = subprocess.Popen(
            [sys.executable, "-I", "-S", janitor.__file__, self.mark, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C goes to the whole process group; the janitor must not hear it.
            start_new_session=True,
        )

    def close(self) -> None:
        """Lets the janitor work, and waits until it has."""
        assert self._janitor.stdin is not None
        self._janitor.stdin.close()
        try:
            self._janitor.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._janitor.kill()
            self._janitor.wait(timeout=1.0)
        shutil.rmtree(self.directory, ignore_errors=True)


class _environment:  # noqa: N801  reads as the statement it is
    """Sets variables for as long as the block runs; what is started in it inherits them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._env}
        os.environ.update(self._env)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _answers(address: str) -> bool:
    """Whether something listens there; asked first, because Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return True  # a name that only Ray can resolve, such as `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3.0).close()
    except OSError:
        return False
    return True


def _import_ray(env: Mapping[str, str]) -> Any:
    for name, value in env.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
            import ray.util.scheduling_strategies
    except ImportError as error:
        raise missing_engine("ray", "rag") from error
    return ray


def _init(ray: Any, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)


def _how_it_died(error: BaseException) -> dict[str, str]:
    text = str(error).strip()
    if "has died" in text or "died unexpectedly" in text or "was killed" in text:
        return {"end": "died", "why": "its process died"}
    return {"end": "died", "why": text.splitlines()[0][:300] if text else type(error).__name__}
