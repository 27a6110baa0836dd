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


def _quietly(command: list[str | Path]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _quietly([UV, "build", "--wheel", "-o", home, ROOT / "probe"])
        _quietly([UV, "venv", "--python", sys.executable, home / "env"])
        python = home / "env" / "bin" / "python"
        (wheel,) = home.glob("*.whl")
        _quietly([UV, "pip", "install", "--python", python, wheel])
        listed = subprocess.run(
            [UV, "pip", "list", "--python", python], check=True, capture_output=True, text=True
        )
        packages = len(listed.stdout.splitlines()) - 2  # its heading
        size = sum(file.lstat().st_size for file in (home / "env").rglob("*") if file.is_file())
        program = home / "env" / "bin" / "speedtrap-probe"
        _quietly([program, "--help"])  # compiles
        times = []
        for _ in range(STARTS):
            began = time.monotonic()
            _quietly([program, "--help"])
            times.append(time.monotonic() - began)
    start_ms = statistics.median(times) * 1000
    print(f"alone packages {packages} mb {size / 1e6:.1f} start_ms {start_ms:.0f}")


if __name__ == "__main__":
    main()
