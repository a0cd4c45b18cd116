"""Faults of the machine, one after the other: what the command says, how it ends, and what is left behind.

    python benchmarks/faults.py

Full and read-only disks are small file systems in memory, for which the script requires the right to mount them. Each
command runs in a process that is forked from one with all imports.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from kills import FOLDER, QUICK, finish, main_command, make_images, records, start, tables, temporary_files, tree
from provenance import write

from normlab.config import ROOT

RUN = ["+norm=unit", *QUICK, "trainer.max_epochs=6"]
SWEEP = ["-m", "+norm=unit", "seed=range(0,4)", *QUICK, "arch.width=128", "trainer.max_epochs=2"]
MOUNT_NAMESPACE = 0x20000


def run(*more: str) -> Callable[[], None]:
    return main_command(*RUN, *more)


def sweep(*more: str) -> Callable[[], None]:
    return main_command(*SWEEP, *more)


def mounted(options: str, call: Callable[[], object], place: str = "runs") -> Callable[[], None]:
    """The call with a file system in memory at a path, which ends with the process."""

    def inside() -> None:
        library = ctypes.CDLL(None, use_errno=True)
        if library.unshare(MOUNT_NAMESPACE):
            raise PermissionError("unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        kept = Path(tempfile.mkdtemp())
        Path(place).mkdir(exist_ok=True)
        if place != "/dev/shm":
            shutil.copytree(place, kept, dirs_exist_ok=True)
        first = ",".join(part for part in options.split(",") if part != "ro")
        subprocess.run(["mount", "-t", "tmpfs", "-o", first or "rw", "tmpfs", place], check=True)
        shutil.copytree(kept, place, dirs_exist_ok=True)
        shutil.rmtree(kept)
        if "ro" in options.split(","):
            subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        try:
            call()
        finally:
            os.sync()
            Path("left").write_text("\n".join(temporary_files()))
            if place != "/dev/shm":
                shutil.copytree(place, "copy", dirs_exist_ok=True)

    return inside


def limited(kind: int, amount: int, call: Callable[[], object]) -> Callable[[], None]:
    def inside() -> None:
        resource.setrlimit(kind, (amount, resource.getrlimit(kind)[1]))
        call()

    return inside


def memory_limited(call: Callable[[], object]) -> Callable[[], None]:
    def inside() -> None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limited(resource.RLIMIT_AS, size + 30 * 2**20, call)()

    return inside


def with_environment(changes: dict[str, str | None], call: Callable[[], object]) -> Callable[[], None]:
    def inside() -> None:
        for name, value in changes.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        call()

    return inside


def to(path: str, number: int, call: Callable[[], object]) -> Callable[[], None]:
    def inside() -> None:
        os.dup2(os.open(path, os.O_WRONLY), number)
        call()

    return inside


def to_a_reader_who_left(call: Callable[[], object]) -> Callable[[], None]:
    def inside() -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        call()

    return inside


def signalled(number: int, seconds: float, call: Callable[[], object]) -> Callable[[], None]:
    def inside() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Timer(seconds, os.kill, (os.getpid(), number)).start()
        call()

    return inside


def with_clock_that_jumps_back(call: Callable[[], object]) -> Callable[[], None]:
    def inside() -> None:
        real, begun = time.time, time.perf_counter()
        time.time = lambda: real() - 3600 * (time.perf_counter() - begun > 1)
        call()

    return inside


def with_silent_wandb(call: Callable[[], object]) -> Callable[[], None]:
    """A server that takes connections and never answers."""

    def inside() -> None:
        server = socket.create_server(("127.0.0.1", 0), backlog=100)
        kept = []

        def accept() -> None:
            while True:
                kept.append(server.accept())

        threading.Thread(target=accept, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with_environment({"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": address}, call)()

    return inside


def with_wandb_that(act: Callable[..., object], call: Callable[[], object]) -> Callable[[], None]:
    def inside() -> None:
        import wandb

        wandb.init = act
        call()

    return inside


def out_of_luck(**_: object) -> None:
    raise RuntimeError("out of luck")


def leave(**_: object) -> None:
    sys.exit(3)


def copy_results() -> None:
    shutil.copytree(ROOT / "results" / "input_ranges", "results/input_ranges")
    tables()


Fault = tuple[str, str, Callable[[], object], Callable[[], None], tuple[int, ...]]  # ..., before, and statuses


def faults() -> list[Fault]:
    nothing, once = lambda: None, run()
    no_home = {"HOME": None, "XDG_CACHE_HOME": None, "NORMLAB_CACHE": None}
    lost_home = {**no_home, "HOME": "/proc/none"}
    large = run("arch.width=512", "data.limit=1000")
    wandb = ["logger=wandb", "logger.mode=online"]
    return [
        ("full disk: runs/ of 16 kB", "run", nothing, mounted("size=16k", run()), (1,)),
        ("full disk: runs/ of 4 kB", "run", nothing, mounted("size=4k", run()), (1, 2)),
        ("full disk: runs/ has room for 2 of 4", "sweep", nothing, mounted("size=4m", sweep()), (1,)),
        ("full disk: results/", "tables", copy_results, mounted("size=300k", tables, "results"), (1,)),
        ("full disk: cache", "run", make_images, mounted("size=4k", main_command(*FOLDER), "cache"), (0,)),
        ("largest file of 6 kB (ulimit -f)", "run", nothing, limited(resource.RLIMIT_FSIZE, 6_000, run()), (1,)),
        ("read-only runs/", "run", nothing, mounted("ro", run()), (2,)),
        ("read-only runs/", "sweep", nothing, mounted("ro", sweep()), (2,)),
        ("read-only results/", "tables", copy_results, mounted("ro", tables, "results"), (1,)),
        (
            "no home",
            "run",
            nothing,
            with_environment(no_home, run()),
            (0,),
        ),
        (
            "home that is not there",
            "run",
            nothing,
            with_environment(lost_home, run()),
            (0,),
        ),
        ("read-only /dev/shm", "run", nothing, mounted("ro,size=4k", run(), "/dev/shm"), (0,)),
        (
            "30 MB of memory more (ulimit -v)",
            "run",
            nothing,
            memory_limited(large),
            (1, 2),
        ),
        ("7 open files (ulimit -n)", "run", nothing, limited(resource.RLIMIT_NOFILE, 7, run()), (1, 2)),
        ("standard output full", "sweep", nothing, to("/dev/full", 1, sweep()), (0,)),
        ("error stream full", "run", nothing, to("/dev/full", 2, run("trainer.progress=lines")), (0,)),
        ("the reader left", "run", nothing, to_a_reader_who_left(run("trainer.progress=lines")), (0,)),
        ("the clock jumps back by an hour", "sweep", nothing, with_clock_that_jumps_back(sweep()), (0,)),
        ("W&B online, a server that never answers", "run", nothing, with_silent_wandb(run(*wandb)), (0,)),
        ("W&B raises", "run", nothing, with_wandb_that(out_of_luck, run(*wandb)), (0,)),
        ("W&B calls sys.exit", "sweep", nothing, with_wandb_that(leave, sweep(*wandb)), (0,)),
        *(
            (f"{name} after {seconds} s", kind, before, signalled(number, seconds, call), (status, 0))
            for name, number, status in (("Ctrl-C", signal.SIGINT, 130), ("SIGTERM", signal.SIGTERM, 143))
            for kind, seconds, before, call in (
                ("run", 0.1, nothing, once),
                ("run", 0.6, nothing, run("trainer.max_epochs=2000")),
                ("run, resume=true", 1.5, nothing, run("trainer.max_epochs=2000", "trainer.resume=true")),
                ("sweep", 1.0, nothing, sweep("trainer.max_epochs=2000")),
                ("tables", 0.7, copy_results, tables),
            )
        ),
    ]


def meet(fault: Fault) -> dict[str, str | int]:
    what, kind, before, call, statuses = fault
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        os.environ["NORMLAB_CACHE"] = str(Path(name) / "cache")
        before()
        results = tree("results")()
        process = start(call)
        status, seconds = finish(process)
        said = Path("log").read_text(errors="replace").strip().splitlines() if Path("log").exists() else []
        told = [line for line in said if line.startswith(("normlab: ", "job "))] or [
            line for line in said if any(word in line for word in ("W&B", "not cached", "kept", "Error", "failed"))
        ]
        left = Path("left").read_text().splitlines() if Path("left").exists() else temporary_files()
        left = [path for path in left if not (path.endswith(".partial") and "resume" in kind)]
        place = Path("copy") if Path("copy").exists() else Path()
        if not (place / "runs").exists() and Path("copy").exists() and kind != "tables":
            Path("copy/runs").mkdir()
            for path in list(Path("copy").iterdir()):
                if path.name != "runs":
                    path.rename(Path("copy/runs") / path.name)
        os.chdir(place)
        try:
            kept: str = str(len(records()))
        except Exception as error:
            kept = f"broken: {error!r}"
        if kind == "tables":
            same = tree("." if place != Path() else "results")() == results
            kept = "unchanged" if same else "CHANGED"
        os.chdir("/")
    right = status in statuses and not left and "broken" not in kept and not any("Traceback" in line for line in said)
    line = " / ".join(told[:2]).replace(name + "/", "").replace(name, ".").replace("|", "\\|")
    return {
        "fault": what, "command": kind, "status": status, "seconds": f"{seconds:.1f}", "it says": line[:160] or "-",
        "records or results": kept, "temporary files": len(left), "as it should": "yes" if right else "NO",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose names hold this text")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for fault in faults():
        if options.only in fault[0]:
            rows.append(meet(fault))
            print(rows[-1], file=sys.stderr, flush=True)
    os.chdir(ROOT)
    if not options.only:
        wrong = sum(row["as it should"] != "yes" for row in rows)
        write(
            "faults",
            "python benchmarks/faults.py",
            rows,
            f"{len(rows)} faults, {wrong} of them not as it should be: one clear line, no traceback, nothing lost, no "
            "temporary files; a run with trainer.resume=true that is ended leaves its state on purpose",
            "reliability",
        )


if __name__ == "__main__":
    main()
