"""docs/ecosystem.md beside what is installed: the table names each library that is run, in the version that is pinned."""

import json
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs", "ecosystem.md")


def pinned():
    """Name -> version of every package that the tests ask for."""
    versions = {}
    for name in ("requirements.txt", "requirements-arq.txt"):
        with open(os.path.join(HERE, name)) as file:
            for line in file:
                if match := re.match(r"([\w.-]+)(?:\[\w+\])?==([\w.]+)", line):
                    versions.setdefault(match[1], match[2])
    with open(os.path.join(HERE, "node", "package.json")) as file:
        node = json.load(file)["dependencies"]
    versions.update({f"{name} (npm)": version for name, version in node.items()})
    return versions


def rows():
    """[(script, {package: version})] of the table."""
    with open(PAGE) as file:
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in file if line.startswith("| ")]
    found = []
    for script, packages, *_ in cells:
        if script in ("script", ""):
            continue
        parts = (part.rsplit(" ", 1) for part in packages.split(", "))
        found.append((script.strip("`"), {name: version for name, version in parts}))
    return found


def faults(libraries):
    """What is wrong with the page; nothing when it is true."""
    versions, table = pinned(), rows()
    listed = {script for script, _ in table}
    said = {name for _, packages in table for name in packages}
    wrong = [f"{name} is run and not in the table" for name in libraries if name not in listed]
    wrong += [f"{name} is in the table and not run" for name in listed if name not in libraries]
    wrong += [f"{name} is installed and not in the table" for name in versions if name not in said]
    for script, packages in table:
        for name, version in packages.items():
            if versions.get(name) != version:
                wrong.append(f"{script}: {name} {version}, installed is {versions.get(name)}")
    return wrong
