"""A real Slurm on this machine, for tests: munged, slurmctld and slurmd in a private folder, on ports of their own.

It needs Debian's packages slurm-wlm and munge, and root, as slurmd does. All is torn down by `Cluster.stop`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from launch import environment

DAEMONS = ("munged", "slurmctld", "slurmd")

# The node claims more CPUs than the machine has (config_overrides), so that all tests' jobs run at once. A requeued
# job may start once its old credential has expired: 121 s by default, here 6. Whatever is not named here needs cgroups.
SLURM_CONF = """\
ClusterName=lsweep
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmdPort={slurmd}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
GresTypes=gpu
ReturnToService=2
SlurmdParameters=config_overrides
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=4096 Gres=gpu:a100:4 Feature=a100,nvlink State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=300 State=UP
"""
# Character devices that every machine has; nothing here opens them.
GRES_CONF = "Name=gpu Type=a100 Count=4 File=/dev/tty[0-3]\n"


def missing() -> str:
    """What this machine lacks for a Slurm of its own, or ""."""
    absent = [name for name in (*DAEMONS, "sbatch") if _program(name) is None]
    if absent:
        return f"no {', '.join(absent)} (Debian's slurm-wlm and munge)"
    return "" if os.getuid() == 0 else "slurmd needs root"


class Cluster:
    """A running Slurm with one node of 64 pretended CPUs and four pretended GPUs.

    Attributes:
        folder: its configuration, sockets and logs.
        env: what Slurm's commands need to find it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = environment(SLURM_CONF=str(folder / "slurm.conf"))
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self, patience: float = 60) -> None:
        """Start the daemons and wait until the node is idle. Raises RuntimeError with their logs."""
        try:
            self._configure()
            self._spawn("munged", "--foreground", "--force", *self._munge_files())
            self._until(lambda: (self.folder / "munge.socket").exists(), patience)
            self._spawn("slurmctld", "-D", "-i")
            self._spawn("slurmd", "-D", "-N", _host())
            self._until(lambda: self._sinfo() == "idle", patience)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all jobs and daemons."""
        if self._daemons and self._sinfo():
            self.run("scancel", "--full", "--signal=KILL", "--user=root", check=False)
            self.run("scancel", "--user=root", check=False)
            with contextlib.suppress(RuntimeError):
                self._until(lambda: not self.run("squeue", "-h", check=False).strip(), 20)
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()

    def run(self, *command: str, check: bool = True, cwd: Path | None = None, timeout: float = 60) -> str:
        """Run one of Slurm's commands and return what it prints."""
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, cwd=cwd, env=self.env, check=False
        )
        if check and ran.returncode:
            raise RuntimeError(f"{' '.join(command)}: status {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def logs(self) -> str:
        """The last lines of the daemons' logs."""
        texts = []
        for name in DAEMONS:
            with contextlib.suppress(OSError):
                tail = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-25:]
                texts.append(f"---- {name}\n" + "\n".join(tail))
        return "\n".join(texts)

    def _configure(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        slurmctld, slurmd = _free_ports(2)
        text = SLURM_CONF.format(host=_host(), folder=self.folder, slurmctld=slurmctld, slurmd=slurmd)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(GRES_CONF)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")

    def _munge_files(self) -> list[str]:
        names = {
            "key-file": "key",
            "socket": "socket",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        return [f"--{option}={self.folder}/munge.{suffix}" for option, suffix in names.items()]

    def _spawn(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as out:
            self._daemons.append(
                subprocess.Popen(
                    [str(_program(name)), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=self.env,
                    cwd=self.folder,
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
            )

    def _sinfo(self) -> str:
        return self.run("sinfo", "-h", "-o", "%T", check=False).strip()

    def _until(self, met: Callable[[], bool], patience: float) -> None:
        end = time.monotonic() + patience
        while not met():
            dead = [d.args for d in self._daemons if d.poll() is not None]
            if dead or time.monotonic() > end:
                raise RuntimeError(f"Slurm: {dead or 'no answer'}\n{self.logs()}")
            time.sleep(0.2)


def _end_with_parent() -> None:
    """Let the kernel end this process when the tests' process is gone, killed perhaps."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for it in sockets:
            it.bind(("127.0.0.1", 0))
        return [it.getsockname()[1] for it in sockets]
