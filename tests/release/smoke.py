"""Builds wheel and sdist, installs each into an empty environment, and uses it: `make smoke`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, **settings) -> str:
    """The output of a command that has to succeed, away from the sources."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, command)), check=True, text=True, stdout=subprocess.PIPE, env=environment,
        **settings,
    ).stdout  # fmt: skip


def check_files(wheel: Path, sdist: Path) -> None:
    """What has to be in them."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    for name in ("py.typed", "schemas/examine.json", "report/templates/"):
        assert any(each.startswith(f"thalweg/{name}") for each in inside), f"{wheel}: no {name}"
    assert any(each.endswith("licenses/LICENSE") for each in inside), f"{wheel}: no LICENSE"
    assert not any(each.startswith(("tests", "benchmarks")) for each in inside)
    with tarfile.open(sdist) as archive:
        top = {Path(each).parts[1] for each in archive.getnames() if len(Path(each).parts) > 1}
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "src"):
        assert name in top, f"{sdist}: no {name}"


def use(package: Path, folder: Path) -> None:
    """Installs a package where nothing is, and asks it for a derivative and a spectrum."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "-c", ROOT / "constraints.txt", package)  # fmt: skip
    thalweg = folder / "venv" / "bin" / "thalweg"
    version = run(thalweg, "--version", cwd=folder).split()[1]
    assert version in package.name, f"{version} installed from {package.name}"
    derived = json.loads(run(thalweg, "derive", "(x-1)(x-3)", "--json", cwd=folder))
    assert derived["version"] == version
    target = "thalweg.problems:strict_saddle"
    run(thalweg, "spectrum", target, "--out", "page.html", cwd=folder)
    assert "</html>" in (folder / "page.html").read_text(encoding="utf-8")
    assert run(python, "-m", "thalweg", "schema", "derive", cwd=folder).startswith("{")


def main() -> None:
    """Both packages; the sdist is installed without what the wheel has already brought."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run(sys.executable, "-m", "build", "--outdir", folder, ROOT, stderr=subprocess.DEVNULL)
        (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
        check_files(wheel, sdist)
        use(wheel, folder)
        python = folder / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--force-reinstall", sdist)  # fmt: skip
        run(python, "-m", "thalweg", "--version", cwd=folder)
        print(f"{wheel.name} and {sdist.name} install into an empty environment, and work")


if __name__ == "__main__":
    main()
