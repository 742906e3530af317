"""Where work runs: job scripts as text, local workers that listen on loopback only."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import dask
import pytest
import yaml

from edxdask.cluster import client_for, job_script
from edxdask.errors import EdxdaskError, MissingDependencyError, ParameterError

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"


def test_threads_need_no_client():
    with client_for("threads", workers=3) as client:
        assert client is None


@pytest.mark.parametrize("scheduler", ["sge", "", "Slurm"])
def test_an_unknown_scheduler_is_named(scheduler):
    with pytest.raises(ParameterError, match=r"scheduler=.* one of threads, local, slurm, pbs"):
        client_for(scheduler).__enter__()


@pytest.mark.parametrize("scheduler", ["threads", "local", "slurm"])
def test_no_workers_are_refused(scheduler):
    with pytest.raises(ParameterError, match="workers=0"):
        client_for(scheduler, workers=0).__enter__()


@pytest.mark.parametrize("scheduler", ["slurm", "pbs"])
def test_jobs_without_memory_are_answered_with_the_line_to_paste(scheduler):
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(ParameterError, match="memory='16GiB'"):
        client_for(scheduler, workers=2).__enter__()


def test_a_missing_package_is_answered_with_the_line_to_paste(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edxdask\[hpc\]'"):
        client_for("slurm", memory="1GiB").__enter__()


def test_tls_files_that_do_not_exist_are_named():
    with pytest.raises(EdxdaskError, match=r"TLS file not found: /nowhere/ca\.pem"):
        client_for("tls://127.0.0.1:1", tls_ca_file="/nowhere/ca.pem").__enter__()


@pytest.mark.parametrize(
    ("scheduler", "setting", "message"),
    [
        ("local", {"queue": "short"}, "queue='short': .*settings that exist.*'local' takes one of threads"),
        ("local", {"n_workers": 3}, "n_workers=3: expected only settings that exist"),
        ("local", {"threads": 0}, "threads=0: expected threads of one worker"),
        ("threads", {"walltime": "1:00"}, "walltime='1:00': expected only settings that exist"),
        ("threads", {"memory": "1GiB"}, "memory='1GiB': expected None for threads"),
        ("tcp://127.0.0.1:1", {"memory": "1GiB"}, "memory='1GiB': expected None for an address"),
        ("tls://127.0.0.1:1", {"tls_cafile": "a.pem"}, "tls_cafile='a.pem': .*that exist.*tls_ca_file"),
    ],
)  # fmt: skip
def test_settings_that_a_scheduler_would_not_use_are_refused(scheduler, setting, message):
    with pytest.raises(ParameterError, match=message):
        client_for(scheduler, **setting).__enter__()


def test_a_key_may_be_given_as_text_or_as_a_file_that_exists(tmp_path):
    from edxdask.cluster import _security

    pem = "-----BEGIN CERTIFICATE-----\n…"
    assert _security({"tls_ca_file": pem}).tls_ca_file == pem
    with pytest.raises(EdxdaskError, match=r"TLS file not found: /nowhere/key\.pem"):
        _security({"tls_client_key": "/nowhere/key.pem"})


@pytest.mark.cluster
def test_the_time_to_wait_is_no_setting_of_tls_and_says_when_nobody_comes():
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(EdxdaskError, match=r"0 of 2 workers came within 0\.2 s.*wait_s=3600"):
            client_for(address, workers=2, wait_s=0.2).__enter__()
        cluster.scale(1)
        with client_for(address, wait_s=30) as client:
            assert client.submit(lambda: 3).result() == 3


@pytest.mark.cluster
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes")
def test_local_workers_are_as_many_as_cores_that_may_be_used():
    import psutil

    own = psutil.Process().cpu_affinity()
    code = f"""import os
os.sched_setaffinity(0, [{own[0]}])
from edxdask.cluster import client_for
if __name__ == "__main__":
    with client_for("local", threads=2) as client:
        print(list(client.nthreads().values()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[2]"


def test_the_room_imports_no_distributed():
    code = "import sys, edxdask.cluster; sys.exit('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def home(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    pytest.importorskip("cryptography")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


KEYS_LEFT_OPEN = [  # by dask-jobqueue
    pytest.mark.filterwarnings("ignore:.*unclosed file.*:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*FileIO.*:pytest.PytestUnraisableExceptionWarning"),
]
ON_LOOPBACK = {"scheduler_options": {"host": "127.0.0.1"}}


def with_marks(test):
    for mark in KEYS_LEFT_OPEN:
        test = mark(test)
    return test


@with_marks
def test_a_slurm_job_says_all_that_it_needs(home):
    text = job_script("slurm", memory="12GiB", queue="short", account="p42", **ON_LOOPBACK)
    assert "#SBATCH -p short" in text
    assert "#SBATCH -A p42" in text
    assert "#SBATCH --mem=12G" in text
    assert "#SBATCH -t 24:00:00" in text  # not dask-jobqueue's 30 minutes
    assert "export NUMBA_NUM_THREADS=1" in text
    assert "export MALLOC_MMAP_THRESHOLD_=1048576" in text
    assert "export NUMBA_CACHE_DIR=${TMPDIR:-/tmp}" in text
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False" in text
    assert re.search(r"distributed\.cli\.dask_worker tls://127\.0\.0\.1:\d+", text)
    assert "--nthreads 1" in text
    assert "--memory-limit 12.00GiB" in text
    assert "--dashboard-address 127.0.0.1:0" in text
    assert str(home / ".edxdask" / "tls") in text  # keys where all nodes see them
    assert (home / ".edxdask" / "tls").stat().st_mode & 0o077 == 0


def test_job_queues_leave_ctrl_c_as_it_is():
    code = (
        "import signal; from edxdask.cluster import job_script\n"
        "try: job_script('slurm')\n"
        "except ValueError: pass\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    pytest.importorskip("dask_jobqueue")
    subprocess.run([sys.executable, "-c", code], check=True)


@with_marks
def test_a_pbs_job_says_all_that_it_needs(home):
    text = job_script("pbs", memory="12GiB", queue="short", walltime="02:00:00", cores=4, **ON_LOOPBACK)
    assert "#PBS -q short" in text
    assert "#PBS -l walltime=02:00:00" in text
    assert re.search(r"#PBS -l select=1:ncpus=4:mem=\d+GB", text)
    assert "export NUMBA_NUM_THREADS=1" in text
    assert "--nthreads 4" in text


@with_marks
@pytest.mark.parametrize(("scheduler", "queue"), [("slurm", "-p main"), ("pbs", "-q workq")])
def test_the_configuration_file_of_deploy_is_obeyed(home, scheduler, queue):
    settings = yaml.safe_load((DEPLOY / "jobqueue.yaml").read_text())
    with dask.config.set(dask.config.merge(dask.config.config, settings)):
        text = job_script(scheduler, **ON_LOOPBACK)
        given = job_script(scheduler, memory="3GiB", queue="short", **ON_LOOPBACK)
    assert queue in text
    assert "--nthreads 4" in text
    assert "--memory-limit 16.00GiB" in text
    assert "24:00:00" in text
    assert "export NUMBA_NUM_THREADS=1" in text  # ours stay
    assert "short" in given
    assert "--memory-limit 3.00GiB" in given
    if scheduler == "slurm":
        assert "#SBATCH --requeue" in text


def test_every_setting_of_the_configuration_file_is_one_that_jobqueue_knows():
    dask_jobqueue = pytest.importorskip("dask_jobqueue")
    settings = yaml.safe_load((DEPLOY / "jobqueue.yaml").read_text())
    known = yaml.safe_load((Path(dask_jobqueue.__file__).parent / "jobqueue.yaml").read_text())
    for scheduler, values in settings["jobqueue"].items():
        assert set(values) <= set(known["jobqueue"][scheduler])


def test_the_driver_script_is_sound_and_its_options_exist():
    script = DEPLOY / "slurm" / "driver.sbatch"
    text = script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "usage: sbatch driver.sbatch CUBE RESULT" in done.stderr
    (line,) = re.findall(r"^exec edxdask (.*)$", text, re.MULTILINE)
    verb, *words = line.split()
    command = [sys.executable, "-m", "edxdask", verb, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for option in (word for word in words if word.startswith("--")):
        assert option in shown


def listening(pid):
    """Addresses that a process listens on."""
    import psutil

    return {c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == "LISTEN"}


def memory_fractions(dask_worker):
    memory = dask_worker.memory_manager
    return memory.memory_target_fraction, memory.memory_spill_fraction, memory.memory_pause_fraction


@pytest.mark.cluster
def test_local_workers_listen_on_loopback_and_are_set_up():
    with client_for("local", workers=2, memory="700MiB") as client:
        client.wait_for_workers(2, timeout=240)
        pids = client.run(os.getpid)
        assert len(pids) == 2
        for pid in (*pids.values(), os.getpid()):
            assert listening(pid) <= {"127.0.0.1"}
        environment = client.run(lambda: dict(os.environ))
        for values in environment.values():
            assert values["NUMBA_NUM_THREADS"] == "1"
            assert values["MALLOC_MMAP_THRESHOLD_"] == "1048576"
        assert set(client.run(memory_fractions).values()) == {(False, False, False)}
        handlers = client.run(lambda: signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
        assert all(handlers.values())
        limits = {w["memory_limit"] for w in client.scheduler_info(n_workers=-1)["workers"].values()}
        assert limits == {700 * 2**20}
    assert client.status == "closed"
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
