"""What `pip install .` adds to, and changes in, environments like those that CASA ships; exit status 1 where it changes anything.

    .venv/bin/python scripts/check_casa_install.py [--work FOLDER] [--python 3.12] …

For each Python that is found (python3.10, python3.12, python3.13, or those named), an environment
is made with casatools, casatasks and the packages beside them as below, the list of packages is
written before and after the installation of this folder, and both are compared; the command
`uvstack` is called there. CASA's own archives are not on PyPI: with Pythons 3.10 and 3.12 numpy is
1.26, scipy and matplotlib are of the same months; with 3.13, for which no numpy 1.26 exists,
everything is the newest.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OF_2024 = ["numpy==1.26.4", "scipy==1.11.4", "matplotlib==3.8.4"]
#: Python → packages of an environment like CASA's.
CASA = {
    "3.10": [*OF_2024, "casatools==6.6.5.31", "casatasks==6.6.5.31"],
    "3.12": [*OF_2024, "casatools==6.7.0.31", "casatasks==6.7.0.31"],
    "3.13": ["casatools", "casatasks"]}


def packages(python: Path) -> dict[str, str]:
    """Name → version of what is installed."""
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True,
                            capture_output=True, text=True).stdout
    return {package["name"].lower().replace("_", "-"): package["version"]
            for package in json.loads(listed)}


def check(version: str, folder: Path) -> bool:
    """Make the environment, install, print what came and what changed; whether nothing changed."""
    found = shutil.which(f"python{version}")
    if found is None or subprocess.run([found, "-c", ""], capture_output=True,
                                       check=False).returncode:
        print(f"Python {version}: not found, not checked")
        return True
    subprocess.run([found, "-m", "venv", folder / version], check=True)
    python = folder / version / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *CASA[version]], check=True)
    before = packages(python)
    subprocess.run([python, "-m", "pip", "install", "--quiet", ROOT], check=True)
    after = packages(python)
    changed = {name: (was, after.get(name, "gone")) for name, was in before.items()
               if after.get(name) != was}
    print(f"Python {version}: {len(before)} packages before: "
          + ", ".join(f"{name} {before[name]}"
                      for name in ("numpy", "scipy", "matplotlib", "casatools")))
    print("  added: "
          + ", ".join(f"{name} {new}" for name, new in after.items() if name not in before))
    print("  changed: "
          + (", ".join(f"{name} {was} → {new}" for name, (was, new) in changed.items())
             or "nothing"))
    subprocess.run([folder / version / "bin" / "uvstack", "--version"], check=True)
    return not changed


def main() -> None:
    """Check each Python."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path,
                        help="Folder for the environments; default one that is removed.")
    parser.add_argument("--python", action="append", choices=list(CASA),
                        help="Versions to check; default all.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        kept = [check(version, options.work or Path(scratch)) for version in options.python or CASA]
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
