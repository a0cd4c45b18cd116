"""kill -9 of a worker in the middle of a sweep under submitit and under Ray, and the same command again.

    python benchmarks/cluster.py --rounds 3        # needs pip install -e '.[slurm,ray]'

submitit starts its jobs as it does on Slurm, but on this machine (submitit_local); Ray starts a cluster of one machine.
The worker that is killed is one that trains: a run of its own is in progress. Counted after the sweep has ended by
itself, then after the same command: finished runs, runs that were made twice, files that differ from those of a sweep
that nobody disturbed, locks that are held, temporary files.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kills import finished_runs, held_locks, records, temporary_files
from provenance import write

JOBS = 4
GRID = ["-m", "+norm=raw,unit", f"seed=range(0,{JOBS // 2})", "data=digits", "arch=cnn", "logger=none"]
TRAINER = ["trainer.progress=none", "trainer.max_epochs=12", "trainer.threads=1"]
LAUNCHERS = {
    "submitit": (["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"], "submitit.core._submit"),
    "Ray": (["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"], "ray::"),
}
MOST_SECONDS = 300


def command(launcher: list[str]) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "normlab", *GRID, *TRAINER, *launcher]
    return subprocess.Popen(line, stdout=Path("out").open("ab"), stderr=Path("err").open("ab"), start_new_session=True)


def workers(word: str) -> list[int]:
    """Processes whose command line has a word, and that work: those with the most processor time first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            ticks = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if word in line and "IDLE" not in line:
            found.append((int(ticks[11]), int(folder.name)))
    return [number for _, number in sorted(found, reverse=True)]


def finish(process: subprocess.Popen[bytes]) -> str:
    """How it ended: its status, or that it had to be ended."""
    try:
        return str(process.wait(MOST_SECONDS))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"none after {MOST_SECONDS} s"


def disturbed(
    launcher: list[str], word: str, expected: dict[str, object], chance: random.Random
) -> dict[str, str | int]:
    process = command(launcher)
    until = time.monotonic() + MOST_SECONDS
    while not (running := list(Path("runs").glob("*.partial"))) and process.poll() is None:
        if time.monotonic() > until:
            raise TimeoutError("no run has begun")
        time.sleep(0.1)
    time.sleep(chance.uniform(0, 2))
    killed = workers(word)[:1]
    for number in killed:
        os.kill(number, signal.SIGKILL)
    status = finish(process)
    done = finished_runs()
    again = finish(command(launcher))
    return {
        "runs in progress at the kill": len(running),
        "workers killed": len(killed),
        "status of the sweep": status,
        "finished then": len(done),
        "status of the same command": again,
        "finished at the end": len(finished_runs()),
        "made twice": sum(finished_runs().get(path) != moment for path, moment in done.items()),
        "different": sum(records().get(key) != value for key, value in expected.items()),
        "held locks": held_locks(),
        "temporary files": len([path for path in temporary_files() if Path(path).name != ".submitit"]),  # its logs
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    chance, rows = random.Random(0), list[dict[str, str | int]]()
    os.environ["NORMLAB_CACHE"] = tempfile.mkdtemp()
    for name, (launcher, word) in LAUNCHERS.items():
        for number in range(-1, rounds):
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                if number < 0:
                    status = finish(command(launcher))
                    expected = records()
                    assert (status, len(expected)) == ("0", JOBS), Path("err").read_text()[-3000:]
                else:
                    rows.append({"launcher": name, "round": number + 1, **disturbed(launcher, word, expected, chance)})
                    print(rows[-1], flush=True)
                    print(Path("err").read_text()[-600:], file=sys.stderr)
                os.chdir("/")
    shutil.rmtree(os.environ["NORMLAB_CACHE"])
    conditions = (
        f"{JOBS} runs of a cnn on digits, 12 epochs; a worker that trains is killed, then the same command runs"
    )
    write("cluster", f"python benchmarks/cluster.py --rounds {rounds}", rows, conditions, "reliability")


if __name__ == "__main__":
    main()
