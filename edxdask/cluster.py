"""Where work runs: the only module that makes a Client.

    with client_for("local", workers=4):
        result = edxdask.nmf(cube, phases=3)

Nothing listens beyond loopback unless a cluster spans nodes, and then only with TLS.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edxdask.budget import MMAP_BYTES, available_memory, parse_bytes
from edxdask.errors import EdxdaskError, ParameterError
from edxdask.optional import require

if TYPE_CHECKING:
    from distributed import Client

SCHEDULERS = ("threads", "local", "slurm", "pbs")
LOOPBACK = "127.0.0.1"
LOCAL_SETTINGS = ("threads",)
TLS_FILES = ("_ca_file", "_cert", "_key")
QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster"}
QUEUE_DEFAULTS = {"cores": 1, "processes": 1, "walltime": "24:00:00"}
SHIPPED = {"walltime": "00:30:00"}  # dask-jobqueue's own default, which would end a job after half an hour

# The allocator keeps freed chunks unless this is set; it is read once, before a worker starts.
# One numba thread per task: dask already fills the cores.
WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_MMAP_THRESHOLD_": str(MMAP_BYTES),
    "NUMBA_NUM_THREADS": "1",
}

# Photons are planned to fit, or are in our own cache: what dask would spill is needed again in the
# next round, and a worker that it pauses would wait for ever, as nothing it holds can be freed. Its profiler
# reads Python's frames a hundred times per second: 2 % of a core, and kernels have no frames. Every process
# checks 50 times per second whether it is late: half a percent of a core each, where twice is enough.
WORKER_SETTINGS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
}

# A terminal sends Ctrl-C to every process of the program; workers that died of it could not save states.
IGNORE_INTERRUPTS = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"

# A task is blamed for every worker that dies while it runs; where nodes are taken away, three die soon.
ALLOWED_FAILURES = 20


@contextmanager
def client_for(
    scheduler: str = "threads",
    *,
    workers: int | None = None,
    memory: str | float | None = None,
    wait_s: float = 600.0,
    **settings: Any,
) -> Iterator[Client | None]:
    """Give the Client of a scheduler, closed at the end; None for "threads", which need no Client.

    Parameters
    ----------
    scheduler : str
        "threads", "local", "slurm", "pbs", or the address of a running scheduler ("tls://…").
    workers : int, optional
        Worker processes or jobs. None: for "local" one per core this process may use, else one. With an
        address: how many of its workers must be there before work starts.
    memory : str or float, optional
        Memory of one worker, such as "2.5GiB". Not for "threads" or an address.
    wait_s : float
        Seconds to wait for the workers that work starts with.
    **settings : any
        "local": ``threads``, the threads of one worker. "slurm" and "pbs": settings of dask-jobqueue's
        cluster (``queue``, ``walltime``, ``account`` …), beside those of dask's configuration
        (``jobqueue.yaml``). An address: settings of ``distributed.security.Security``
        (``tls_ca_file``, ``tls_client_cert``, ``tls_client_key`` …).

    Yields
    ------
    distributed.Client or None
        The Client in force inside the block.

    Raises
    ------
    ParameterError
        If a setting is not one of the scheduler's.
    EdxdaskError
        If no worker comes within ``wait_s``.

    Examples
    --------
    >>> with client_for("threads") as client:
    ...     client is None
    True
    """
    if workers is not None and (isinstance(workers, bool) or workers < 1):
        raise ParameterError("workers", workers, "a number of at least 1")
    _check_settings(scheduler, memory, settings)
    if scheduler == "threads":
        yield None
        return
    import dask
    from distributed import Client

    before = dask.config.get("scheduler", None)  # a Client sets it, and it must not stay afterwards
    settled = {"distributed.scheduler.allowed-failures": ALLOWED_FAILURES, **WORKER_SETTINGS}
    with dask.config.set({"scheduler": before, **settled}):
        if "://" in scheduler:
            with Client(scheduler, security=_security(settings), set_as_default=True) as client:
                _await_workers(client, workers or 1, wait_s)
                yield client
            return
        with _cluster(scheduler, workers, memory, settings) as cluster, Client(cluster) as client:
            _await_workers(client, 1, wait_s)
            yield client


def _check_settings(scheduler: str, memory: str | float | None, settings: dict[str, Any]) -> None:
    """Refuse what the scheduler would not use, before anything starts."""
    address = "://" in scheduler
    if not address and scheduler not in SCHEDULERS:
        raise ParameterError("scheduler", scheduler, f"one of {', '.join(SCHEDULERS)}, or an address tls://…")
    if memory is not None and scheduler == "threads":
        raise ParameterError(
            "memory",
            memory,
            "None for threads, which share one memory",
            "Give the operation memory_limit='6GiB'.",
        )
    if memory is not None and address:
        raise ParameterError("memory", memory, "None for an address: its workers have a limit already")
    known = _security_settings() if address else {"threads": (), "local": LOCAL_SETTINGS}.get(scheduler)
    for name, value in settings.items():
        if known is not None and name not in known:
            kind = "an address" if address else f"scheduler={scheduler!r}"
            listed = f"one of {', '.join(known)}" if known else "nothing"
            raise ParameterError(name, value, f"only settings that exist: {kind} takes {listed} here")
    threads = settings.get("threads", 1)
    if scheduler == "local" and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
        raise ParameterError("threads", threads, "threads of one worker, at least 1", "threads=2")


def _security_settings() -> tuple[str, ...]:
    """Names that ``distributed.security.Security`` takes, except the one that is always set here."""
    from distributed.security import Security

    return tuple(name for name in Security.__slots__ if name != "require_encryption")


def _await_workers(client: Client, number: int, wait_s: float) -> None:
    """Wait until ``number`` workers are there."""
    try:
        client.wait_for_workers(number, timeout=wait_s)
    except TimeoutError as error:
        here = len(client.scheduler_info(n_workers=-1)["workers"])
        raise EdxdaskError(
            f"{here} of {number} workers came within {wait_s:g} s. See why they do not start (a full queue, "
            "a job that fails), or wait longer: client_for(..., wait_s=3600)."
        ) from error


def _cluster(
    scheduler: str, workers: int | None, memory: str | float | None, settings: dict[str, Any]
) -> Any:
    if scheduler == "local":
        from dask.system import CPU_COUNT  # cores that affinity and the control group leave to us

        return _local(workers or CPU_COUNT, memory, settings.get("threads", 1))
    return _queue(scheduler, workers or 1, memory, settings)


def _local(workers: int, memory: str | float | None, threads: int) -> Any:
    from distributed import LocalCluster

    limit = parse_bytes(memory, name="memory") if memory else int(0.9 * available_memory() / workers)
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        memory_limit=limit,
        host=LOOPBACK,
        dashboard_address=f"{LOOPBACK}:0",
        worker_dashboard_address=f"{LOOPBACK}:0",
        env=WORKER_ENVIRONMENT,
        preload=[IGNORE_INTERRUPTS],
    )


def _queue(scheduler: str, workers: int, memory: str | float | None, settings: dict[str, Any]) -> Any:
    cluster = _job_cluster(scheduler, memory, settings)
    # adapt, not scale: a job that is cancelled or dies is replaced
    cluster.adapt(minimum_jobs=workers, maximum_jobs=workers)
    return cluster


def job_script(scheduler: str, *, memory: str | float | None = None, **settings: Any) -> str:
    """Text of the job that ``client_for`` would submit for each worker; submits nothing.

    Parameters
    ----------
    scheduler : str
        "slurm" or "pbs".
    memory : str or float, optional
        Memory of one job, such as "16GiB". None: as dask's configuration says.
    **settings : any
        Settings of dask-jobqueue's cluster, as in ``client_for``.

    Returns
    -------
    str
        The script.
    """
    if scheduler not in QUEUES:
        raise ParameterError("scheduler", scheduler, f"one of {', '.join(QUEUES)}")
    with _job_cluster(scheduler, memory, settings) as cluster:
        return str(cluster.job_script())


def _job_cluster(scheduler: str, memory: str | float | None, settings: dict[str, Any]) -> Any:
    """Cluster without jobs; what ``settings`` and dask's configuration leave open is set here."""
    import dask

    with _interrupts_kept():
        jobqueue = require("dask_jobqueue", extra="hpc", purpose=f"scheduler={scheduler!r}")
    if settings.get("security", True) is True:
        require("cryptography", extra="hpc", purpose="TLS between the nodes")
    configured = dask.config.get(f"jobqueue.{scheduler}", {})
    options = dict(settings)
    if memory is not None:
        options["memory"] = memory
    if not (options.get("memory") or configured.get("memory")):
        raise ParameterError("memory", memory, "the memory of one job", "Give memory='16GiB'.")
    for key, value in QUEUE_DEFAULTS.items():
        if configured.get(key) in (None, SHIPPED.get(key)):
            options.setdefault(key, value)
    options.setdefault("security", True)
    if options["security"] is True and not configured.get("shared-temp-directory"):
        keys = Path(options.setdefault("shared_temp_directory", str(Path.home() / ".edxdask" / "tls")))
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    prologue = options.get("job_script_prologue", configured.get("job-script-prologue") or [])
    options["job_script_prologue"] = [*_job_environment(), *prologue]
    given = options.get("scheduler_options", configured.get("scheduler-options") or {})
    options["scheduler_options"] = {"dashboard_address": f"{LOOPBACK}:0", **given}
    extra = options.get("worker_extra_args", configured.get("worker-extra-args") or [])
    own = [] if "--dashboard-address" in extra else ["--dashboard-address", f"{LOOPBACK}:0"]
    options["worker_extra_args"] = [*own, *extra]
    return getattr(jobqueue, QUEUES[scheduler])(**options)


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Undo what importing dask-jobqueue does to Ctrl-C: it would end the program as if it had succeeded."""
    before = signal.getsignal(signal.SIGINT)
    yield
    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)


def _job_environment() -> list[str]:
    # compiled kernels per node: on a shared file system, their writers race
    folder = "export NUMBA_CACHE_DIR=${TMPDIR:-/tmp}/edxdask-numba-$USER"
    settings = {f"DASK_{key.upper().replace('.', '__')}": value for key, value in WORKER_SETTINGS.items()}
    return [*(f"export {name}={value}" for name, value in {**WORKER_ENVIRONMENT, **settings}.items()), folder]


def _is_pem(value: Any) -> bool:
    """Whether a TLS setting is a certificate or key itself, not the path of one."""
    return str(value).lstrip().startswith("-----BEGIN")


def _security(settings: dict[str, Any]) -> Any:
    from distributed.security import Security

    if not settings:
        return None
    missing = [
        str(value)
        for name, value in settings.items()
        if name.endswith(TLS_FILES) and value is not None and not _is_pem(value) and not Path(value).is_file()
    ]
    if missing:
        raise EdxdaskError(f"TLS file not found: {', '.join(missing)}")
    return Security(require_encryption=True, **settings)
