"""How long one machine takes to start and stop, and what its parts weigh."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.lab.mongo import free_port


def bench_start_and_stop(tmp_path: Path) -> None:
    for which in ("first start", "second start"):
        argv = [
            "up",
            "--data-dir",
            str(tmp_path / "data"),
            "--port",
            str(free_port()),
            "--no-probe",
        ]
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "speedtrap", *argv],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "The page" in line:
                    break
            print(f"\n{which}: {time.perf_counter() - began:.1f} s")
            for child in (everything := psutil.Process(process.pid)).children():
                what = " ".join(child.cmdline())[-50:]
                print(f"  {child.memory_info().rss / 1e6:6.0f} MB  …{what}")
            print(f"  {everything.memory_info().rss / 1e6:6.0f} MB  the supervisor")
            began = time.perf_counter()
            process.terminate()
            process.communicate()
        print(f"  stopped after {time.perf_counter() - began:.1f} s")


def bench_command_line() -> None:
    for arguments in (["--help"], ["keys", "--help"], ["probe", "--help"]):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "speedtrap", *arguments], check=True, capture_output=True
        )
        print(f"\nspeedtrap {' '.join(arguments)}: {time.perf_counter() - began:.2f} s")
