"""How large and how entangled the product is: `make measure`.

Modules and lines of each part, modules of each folder, lines of modules and functions, how many
modules a module imports, and circles of imports. With a report of pytest (`--junit-xml`), how long
the tests took.
"""

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import grimp

ROOT = Path(__file__).parents[2]
PARTS = {
    "graph": "speedtrap_graph",
    "web": "speedtrap_web",
    "bots": "speedtrap_bots",
    "probe": "speedtrap_probe",
    ".": "speedtrap_up",
}
MOST_MODULES, MOST_FAN_OUT = 16, 15


def modules(package: Path) -> list[Path]:
    return sorted(p for p in package.rglob("*.py") if "vendor" not in p.parts)


def lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def functions(file: Path) -> Iterator[int]:
    """Lines of each."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.end_lineno - node.lineno + 1


def in_circles(graph: grimp.ImportGraph) -> set[str]:
    """Modules that import themselves, in whatever number of steps."""
    return {
        module
        for module in graph.modules
        for other in graph.find_modules_directly_imported_by(module)
        if other == module or module in graph.find_upstream_modules(other)
    }


def size(part: str, package: str) -> None:
    files = modules(ROOT / part / package)
    of_modules = [lines(file) for file in files]
    of_functions = [length for file in files for length in functions(file)]
    print(
        f"{package:16} {len(files):4} modules {sum(of_modules):6} lines"
        f"   module {statistics.median(of_modules):4.0f} / {max(of_modules):4}"
        f"   function {statistics.median(of_functions):3.0f} / {max(of_functions):3}"
    )


def shape(part: str, package: str) -> None:
    sys.path.insert(0, str(ROOT / part))
    graph = grimp.build_graph(package)
    fan_out = {m: len(graph.find_modules_directly_imported_by(m)) for m in graph.modules}
    largest = max(fan_out, key=lambda module: fan_out[module])
    above = sum(count > MOST_FAN_OUT for count in fan_out.values())
    print(
        f"{package:16} fan-out at most {fan_out[largest]} ({largest}), {above} above"
        f" {MOST_FAN_OUT}, {len(in_circles(graph))} modules in circles"
    )


def folders() -> None:
    counts = Counter(
        file.parent.relative_to(ROOT)
        for part, package in PARTS.items()
        for file in modules(ROOT / part / package)
        if file.name != "__init__.py"
    )
    print("modules a folder, the fullest:")
    for folder, count in counts.most_common(8):
        print(f"  {count:3} {folder}{'  too many' if count > MOST_MODULES else ''}")


def tests(report: Path) -> None:
    suites = ElementTree.parse(report).getroot().iter("testsuite")  # noqa: S314 - our own report
    cases = [case for suite in suites for case in suite.iter("testcase")]
    seconds = Counter[str]()
    for case in cases:
        seconds[case.get("classname", "").rpartition(".")[0]] += float(case.get("time", 0))  # type: ignore[assignment]  # seconds
    print(f"tests {len(cases)}, {sum(seconds.values()):.0f} s in all; by folder:")
    for folder, spent in seconds.most_common(10):
        print(f"  {spent:6.0f} s {folder}")


def main() -> None:
    print("parts: modules, lines, and of modules and functions the median and the longest")
    for part, package in PARTS.items():
        size(part, package)
    of_tests = modules(ROOT / "tests")
    print(f"{'tests':16} {len(of_tests):4} modules {sum(map(lines, of_tests)):6} lines")
    folders()
    for part, package in PARTS.items():
        shape(part, package)
    for report in sys.argv[1:]:
        tests(Path(report))


if __name__ == "__main__":
    main()
