#!/usr/bin/env python3
"""What the C library contains of others: THIRD-PARTY.txt, their licences, and sbom.cdx.json, the same for machines (CycloneDX 1.5).

    notices.py write    writes both files anew
    notices.py check    fails where they are not of Cargo.lock and the crates' licence files

Contained are the normal dependencies of mfm-ffi on Linux, without procedural macros, which only run at build time. Nothing depends on the day or the machine.
"""
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
FILE = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE|PATENTS)", re.IGNORECASE)
STANDARD_LIBRARY = "The Rust standard library"

HEAD = """What is in the C and C++ library mfm beside its own code, and under which licences.

Written by ffi/notices.py from Cargo.lock and the licence files of the crates. Numbers in brackets are those of the texts below, each of which is here once.
"""
STANDARD_LIBRARY_NOTE = """Of the standard library, that of the compiler that builds is contained; what it contains of others in turn is in share/doc/rust/COPYRIGHT-library.html of
that compiler's installation.
"""


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def contained():
    """The crates in the library, each as (name, version), with those that it depends on directly."""
    targets = [word for target in TARGETS for word in ("--target", target)]
    tree = cargo("tree", "--package", "mfm-ffi", "--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", " {p}", *targets)
    edges, above = {}, []
    for line in tree.splitlines():
        if not line.strip():
            continue
        depth, name, version = re.match(r"(\d+) (\S+) v(\S+)", line).groups()
        above[int(depth):] = [(name, version)]
        edges.setdefault((name, version), set())
        if len(above) > 1:
            edges[above[-2]].add((name, version))
    return edges


def expression(package):
    """Its licence as SPDX has it: a slash was once allowed for OR."""
    return package["license"].replace("/", " OR ") if package["license"] else "NOASSERTION"


def tidy(text):
    return "\n".join(line.rstrip() for line in text.replace("\f", "").splitlines()).strip("\n")


def own_texts(spdx, holders):
    """Our own copies of MIT and Apache-2.0, for whoever comes without a file of them."""
    texts = []
    if "MIT" in spdx:
        mit = (ROOT / "LICENSE-MIT").read_text("utf-8")
        texts.append(tidy(re.sub(r"(?m)^Copyright .*$", lambda _: f"Copyright (c) {holders}", mit)))
    if "Apache-2.0" in spdx:
        texts.append(tidy((ROOT / "LICENSE-APACHE").read_text("utf-8")))
    if not texts:
        sys.exit(f"notices.py: a crate of {holders} has neither a licence file nor a licence that we have a text of: {spdx}")
    return texts


def texts_of(package):
    """The texts of its licence files, and whether they are our own copies because it has none."""
    folder = Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if path.is_file() and FILE.match(path.name))
    if package["license_file"] and folder / package["license_file"] not in files:
        files.append(folder / package["license_file"])
    texts = [tidy(path.read_text("utf-8", "replace")) for path in files]
    if texts:
        return texts, False
    return own_texts(expression(package), ", ".join(package["authors"]) or f"the authors of {package['name']}"), True


def third_party(packages):
    rows = [(f"{p['name']} {p['version']}", expression(p), *texts_of(p)) for p in packages]
    rows.append((STANDARD_LIBRARY, "MIT OR Apache-2.0", own_texts("MIT OR Apache-2.0", "The Rust Project Contributors"), False))
    numbers, users, lines = {}, {}, []
    for name, spdx, texts, ours in rows:
        for text in texts:
            numbers.setdefault(text, len(numbers) + 1)
            users.setdefault(text, []).append(name)
        note = "; it comes without a licence file, the text is that of the SPDX licence" if ours else ""
        lines.append(f"{name}: {spdx} {''.join(f'[{number}]' for number in sorted(numbers[text] for text in texts))}{note}")
    parts = [HEAD, "\n".join(lines) + "\n", STANDARD_LIBRARY_NOTE]
    for text, number in numbers.items():
        parts.append(f"{'=' * 100}\n[{number}] {', '.join(users[text])}\n\n{text}\n")
    return "\n".join(parts)


def purl(name, version):
    return f"pkg:cargo/{name}@{version}"


def bill(packages, edges, own):
    checksums = {
        (name, version): checksum
        for name, version, checksum in re.findall(
            r'name = "(.*)"\nversion = "(.*)"\nsource = ".*"\nchecksum = "(.*)"', (ROOT / "Cargo.lock").read_text("utf-8"))
    }

    def component(package):
        name, version = package["name"], package["version"]
        entry = {"type": "library", "bom-ref": purl(name, version), "name": name, "version": version, "licenses": [{"expression": expression(package)}],
                 "purl": purl(name, version)}
        if (name, version) in checksums:
            entry["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
        return entry

    root = next(package for package in own if package["name"] == "mfm-ffi")
    parts = sorted([package for package in own if package is not root] + packages, key=lambda package: (package["name"], package["version"]))
    standard = {"type": "library", "bom-ref": "rust-standard-library", "name": "rust-standard-library", "description": "That of the compiler that builds",
                "licenses": [{"expression": "MIT OR Apache-2.0"}]}
    depends = [{"ref": purl(*crate), "dependsOn": sorted(purl(*other) for other in others)} for crate, others in sorted(edges.items())]
    for entry in depends:
        if entry["ref"] == purl(root["name"], root["version"]):
            entry["dependsOn"].append(standard["bom-ref"])
    body = {"metadata": {"component": component(root)}, "components": [*map(component, parts), standard], "dependencies": depends}
    # The serial number is of the contents, so that equal bills have equal ones.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return json.dumps(head | body, indent=1, ensure_ascii=False) + "\n"


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ("write", "check"):
        sys.exit("usage: notices.py write|check")
    edges = contained()
    metadata = json.loads(cargo("metadata", "--format-version", "1"))
    found = sorted((p for p in metadata["packages"] if (p["name"], p["version"]) in edges), key=lambda p: (p["name"], p["version"]))
    members = set(metadata["workspace_members"])
    packages, own = [p for p in found if p["id"] not in members], [p for p in found if p["id"] in members]
    made = {"THIRD-PARTY.txt": third_party(packages), "sbom.cdx.json": bill(packages, edges, own)}
    for name, text in made.items():
        path = HERE / name
        if sys.argv[1] == "write":
            path.write_text(text, "utf-8")
        elif not path.is_file() or path.read_text("utf-8") != text:
            sys.exit(f"ffi/{name} is not of this Cargo.lock: run `python3 ffi/notices.py write`")
    print(f"{len(packages)} crates of others are in the library")


main()
