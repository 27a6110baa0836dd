"""CONTRIBUTING's "Add a tool", followed to the letter in a copy of the probe and its tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# What runs over every tool, and over every program, without a list.
TABLES = ("tests/probe/test_tools.py", "tests/probe/test_foreign_text.py",
          "tests/probe/test_programs.py")  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def test_a_new_tool_is_one_file_and_its_captures(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add a tool")[2].partition("\n## ")[0]
    tool = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    captures = dict(re.findall(r"`(\w+\.json)`:\n\n```json\n(.*?)```", section, re.DOTALL))
    assert captures.keys() == {"good.json", "broken.json"}

    for part in ("probe/speedtrap_probe", "tests/lab", "tests/probe"):
        shutil.copytree(ROOT / part, tmp_path / part)
    folder = tmp_path / "tests/probe/captures/wirespeed"
    (tmp_path / "probe/speedtrap_probe/tools/wirespeed.py").write_text(tool)
    folder.mkdir()
    for name, capture in captures.items():
        (folder / name).write_text(capture)

    options = ["-k", "wirespeed", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *TABLES],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}/probe:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "23 passed" in done.stdout
