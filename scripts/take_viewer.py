"""Take what the pages of the cutout server load from the packages of npm, with the licences of all of them.

    npm ci --prefix viewer && python scripts/take_viewer.py

`make viewer` does both.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "viewer" / "node_modules"
OUT = ROOT / "uvstack" / "epochs" / "server" / "static" / "viewer"
#: What is loaded, with the places of the files in their packages.
TAKEN = {"ol.js": "ol/dist/ol.js", "ol.css": "ol/ol.css"}


def licences() -> str:
    """Name, version, kind and text of the licence of each package."""
    lock = json.loads((ROOT / "viewer" / "package-lock.json").read_text(encoding="utf-8"))
    parts = ["What the files beside this one are made of, and the licences of its parts.\n"]
    for place, said in sorted(lock["packages"].items()):
        if not place:
            continue
        folder = ROOT / "viewer" / place
        texts = sorted(path for path in folder.iterdir() if re.match(r"(licen[cs]e|notice|copying)", path.name, re.IGNORECASE))
        name = place.split("node_modules/")[-1]
        parts.append(f"{'=' * 100}\n{name} {said['version']}: {said.get('license', 'see its text')}\n")
        parts += [path.read_text(encoding="utf-8", errors="replace").strip() + "\n" for path in texts]
    return "\n".join(parts)


def main() -> None:
    """Copy the files and write the licences."""
    lacking = [place for place in TAKEN.values() if not (PACKAGES / place).is_file()]
    if lacking:
        sys.exit(f"{PACKAGES / lacking[0]} is not there; run: npm ci --prefix viewer")
    fresh = OUT.with_name("viewer.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, place in TAKEN.items():
        # A browser would look for the map of a source that is not given.
        text = re.sub(r"\n//# sourceMappingURL=\S+\s*$", "\n", (PACKAGES / place).read_text(encoding="utf-8"))
        (fresh / name).write_text(text, encoding="utf-8")
    (fresh / "LICENSES.txt").write_text(licences(), encoding="utf-8")
    shutil.rmtree(OUT, ignore_errors=True)
    fresh.rename(OUT)
    print(f"{OUT.relative_to(ROOT)}: {', '.join(sorted(path.name for path in OUT.iterdir()))}")


if __name__ == "__main__":
    main()
