"""Hold what `make dist` built against what is promised of it: `python tools/dist.py out/dist`."""

import sys
import tarfile
import zipfile
from pathlib import Path

MOST_BYTES = 15_000_000
NEEDED = [
    "lensdepth/py.typed",
    "lensdepth/__init__.pyi",
    "lensdepth/scale/example.toml",
    *(f"lensdepth/explorer/assets/explorer.{kind}" for kind in ("css", "js")),
    *(f"lensdepth/report/assets/page.{kind}" for kind in ("css", "html", "js")),
    *(
        f"lensdepth/bundled/{model}/{file}"
        for model in ("calendar", "tiny")
        for file in ("config.json", "model.safetensors", "tokenizer.json", "README.md")
    ),
]
NOTICES = ("LICENSE", "THIRD_PARTY.md")


def faults(folder: Path) -> list[str]:
    """What is wrong with the wheel and the sdist in a folder, and the tree's wheel below it."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    (of_tree,) = (folder / "tree").glob("*.whl")
    found = []
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    found += [f"not in the wheel: {name}" for name in NEEDED if name not in names]
    for notice in NOTICES:
        if not any(name.endswith(f".dist-info/licenses/{notice}") for name in names):
            found.append(f"not among the wheel's licences: {notice}")
    strange = {name.split("/")[0] for name in names if not name.startswith("lensdepth-")}
    if strange != {"lensdepth"}:
        found.append(f"the wheel installs more than lensdepth: {sorted(strange)}")
    if wheel.stat().st_size > MOST_BYTES:
        found.append(f"the wheel has {wheel.stat().st_size} bytes, more than {MOST_BYTES}")
    if wheel.read_bytes() != of_tree.read_bytes():
        found.append("the wheel of the sdist is another than that of the tree")
    with tarfile.open(sdist) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    found += [
        f"not in the sdist: {name}"
        for name in (*NEEDED, *NOTICES, "Makefile", "tests/conftest.py")
        if name not in inside
    ]
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if found := faults(folder):
        sys.exit("\n".join(found))
    for file in sorted(folder.iterdir()):
        if file.is_file():
            print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
