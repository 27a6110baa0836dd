"""speedtrap-probe installed alone, from its wheel into a fresh environment: what it weighs.

python -m tests.bench.bench_alone
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
STARTS = 7


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        quiet = {"check": True, "capture_output": True}
        subprocess.run([UV, "build", "--wheel", "-o", home, ROOT / "probe"], **quiet)
        subprocess.run([UV, "venv", "--python", sys.executable, home / "env"], **quiet)
        python = home / "env" / "bin" / "python"
        (wheel,) = home.glob("*.whl")
        subprocess.run([UV, "pip", "install", "--python", python, wheel], **quiet)
        listed = subprocess.run(
            [UV, "pip", "list", "--python", python], check=True, capture_output=True, text=True
        )
        packages = len(listed.stdout.splitlines()) - 2  # its heading
        size = sum(file.lstat().st_size for file in (home / "env").rglob("*") if file.is_file())
        program = home / "env" / "bin" / "speedtrap-probe"
        subprocess.run([program, "--help"], **quiet)  # compiles
        times = []
        for _ in range(STARTS):
            began = time.monotonic()
            subprocess.run([program, "--help"], **quiet)
            times.append(time.monotonic() - began)
    start_ms = statistics.median(times) * 1000
    print(f"alone packages {packages} mb {size / 1e6:.1f} start_ms {start_ms:.0f}")


if __name__ == "__main__":
    main()
