"""A Slurm of one node on this machine, on loopback only, for as long as the tests run.

Needs root (to install and to start the daemons) and, once, a package source for ``slurm-wlm`` and ``munge``.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

PACKAGES = ("slurm-wlm", "munge")

CONFIGURATION = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/ctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def require_slurm() -> None:
    """Skip where Slurm cannot be had."""
    if os.geteuid():
        pytest.skip("a Slurm of our own needs root")
    if shutil.which("slurmctld") and shutil.which("munged"):
        return
    if not shutil.which("apt-get"):
        pytest.skip("Slurm is not installed and there is no apt-get to install it")
    command = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"Slurm cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


def write_configuration(folder: Path) -> None:
    for name in ("state", "spool", "log", "munge"):
        (folder / name).mkdir()
    (folder / "state").chmod(0o700)
    (folder / "munge").chmod(0o755)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    total = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) // 1024
    text = CONFIGURATION.format(
        host=output("hostname", "-s"),
        user=output("id", "-un"),
        folder=folder,
        cpus=os.cpu_count(),
        memory=int(0.9 * total),  # more than there is would make the node invalid
    )
    (folder / "slurm.conf").write_text(text.lstrip())


def munge_command(folder: Path) -> list[str]:
    places = [
        f"--{option}={folder / 'munge' / name}"
        for option, name in (
            ("socket", "sock"),
            ("pid-file", "pid"),
            ("log-file", "log"),
            ("seed-file", "seed"),
        )
    ]
    return ["munged", f"--key-file={folder / 'munge.key'}", *places, "--num-threads=2", "--force"]


def end(pid_file: Path) -> None:
    """End the daemon whose number stands in a file, if it still runs."""
    if not pid_file.is_file():
        return
    pid = int(pid_file.read_text())
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        limit = time.monotonic() + 5
        while time.monotonic() < limit and Path(f"/proc/{pid}").exists():
            time.sleep(0.05)


def wait_for_node() -> None:
    limit = time.monotonic() + 60
    state = ""
    while time.monotonic() < limit:
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False)
        state = done.stdout.strip() + done.stderr.strip()
        if state == "idle":
            return
        time.sleep(0.3)
    raise RuntimeError(f"the node is not ready: {state}")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Folder of a running Slurm; the commands find it through SLURM_CONF."""
    require_slurm()
    folder = tmp_path_factory.mktemp("slurm")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)  # munge wants to see its socket's folders
    write_configuration(folder)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        subprocess.run(munge_command(folder), check=True)
        subprocess.run(["slurmctld", "-f", str(folder / "slurm.conf"), "-c"], check=True)
        subprocess.run(["slurmd", "-f", str(folder / "slurm.conf"), "-c"], check=True)
        wait_for_node()
        yield folder
    finally:
        subprocess.run(["scancel", "--user", output("id", "-un")], check=False, capture_output=True)
        for name in ("slurmd.pid", "ctld.pid", "munge/pid"):
            end(folder / name)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
