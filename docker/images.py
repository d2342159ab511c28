"""Make and build the images of this folder: `images.py base ARCH`, `images.py build service|trainer`, `images.py models FOLDER`.

    python3 docker/images.py build service --bundles var/bundles --tag crypto-rti:latest
    python3 docker/images.py base amd64        # without a registry: a base image by debootstrap, as root
    python3 docker/images.py build service --base crypto-rti-base:amd64 --host-network

Standard library only. DOCKER names the docker program; it needs BuildKit, which Docker has had inside since 18.09.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCKER = os.environ.get("DOCKER", "docker")
SUITE = "bookworm"

# What Debian's own slim images leave out as well: nobody reads it in a container.
UNREAD = ("var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*", "usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*")


def run(*command: object, **options: Any) -> None:
    """Run a command, show what it is, and stop with its exit code when it fails."""
    print("+", " ".join(map(str, command)), flush=True)
    done = subprocess.run([str(part) for part in command], check=False, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed with exit code {done.returncode}; its message is above")


def mirrors() -> dict[str, str]:
    """By suite, where this machine's apt gets Debian from; DEBIAN_MIRROR, where it is set, stands for the main one."""
    command = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    known = {suite: address.rstrip("/") for suite, _, address in (line.partition(" ") for line in listed.splitlines())}
    if own := os.environ.get("DEBIAN_MIRROR"):
        known[SUITE] = own.rstrip("/")
    if SUITE not in known:
        sys.exit(f"apt here knows no mirror of {SUITE}; name one that has it: DEBIAN_MIRROR=http://…/debian")
    return known


def make_base(arch: str) -> None:
    """Import a minimal Debian as `crypto-rti-base:ARCH`; a foreign architecture needs qemu registered in binfmt_misc."""
    if os.geteuid() != 0:
        sys.exit("debootstrap needs root; run: sudo python3 docker/images.py base " + arch)
    known = mirrors()
    with tempfile.TemporaryDirectory() as scratch:
        system = Path(scratch) / "system"
        run("debootstrap", "--variant=minbase", f"--arch={arch}", SUITE, system, known[SUITE], stdout=subprocess.DEVNULL)
        for pattern in UNREAD:
            if unread := sorted(system.glob(pattern)):
                run("rm", "-rf", *unread)
        sources = "".join(f"deb {known[suite]} {suite} main\n" for suite in (SUITE, f"{SUITE}-security") if suite in known)
        (system / "etc/apt/sources.list").write_text(sources, encoding="utf-8")
        run("tar", "-C", system, "-cf", Path(scratch) / "layer.tar", ".")
        load_image(Path(scratch), arch, f"crypto-rti-base:{arch}")


def load_image(folder: Path, arch: str, name: str) -> None:
    """Load `layer.tar` of a folder as an image; `docker import` would take every image to be of this machine's architecture."""
    with open(folder / "layer.tar", "rb") as file:
        layer = hashlib.file_digest(file, "sha256").hexdigest()
    config = {"architecture": arch, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]), encoding="utf-8")
    run("tar", "-C", folder, "-cf", folder / "image.tar", "config.json", "manifest.json", "layer.tar")
    run(DOCKER, "load", "--input", folder / "image.tar")


def describe_models(folder: Path, alias: str = "champion") -> str:
    """Say which versions an export folder's alias stands for, as the image's label does: `sim.BTC-USD:3 sim.ETH-USD:1`."""
    names = json.loads((folder / "index.json").read_text(encoding="utf-8"))["models"]
    versions = {name: json.loads((folder / name / "index.json").read_text(encoding="utf-8"))["aliases"][alias] for name in names}
    return " ".join(f"{name}:{version}" for name, version in sorted(versions.items()))


def revision() -> str:
    """The commit that is built, marked when the working tree differs from it."""
    done = subprocess.run(["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"], cwd=ROOT, check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def build(options: argparse.Namespace) -> None:
    """Build one image."""
    arguments = ["--file", ROOT / "docker" / f"{options.image}.Dockerfile", "--tag", options.tag or f"crypto-rti-{options.image}:latest"]
    values = {"REVISION": revision(), "BASE": options.base}
    if options.image == "service" and options.bundles:
        values["BUNDLES"] = options.bundles
        if "://" not in options.bundles:
            values["MODELS"] = describe_models(ROOT / options.bundles)
    for name, value in values.items():
        arguments += ["--build-arg", f"{name}={value}"] if value else []
    for name, path in (("pip", options.pip_config), ("ca", options.ca)):
        arguments += ["--secret", f"id={name},src={path}"] if path else []
    arguments += ["--network", "host"] if options.host_network else []
    arguments += ["--platform", options.platform] if options.platform else []
    run(DOCKER, "build", *arguments, ROOT, env={**os.environ, "DOCKER_BUILDKIT": "1"})


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    base = verbs.add_parser("base", help="make a base image by debootstrap")
    base.add_argument("arch", choices=("amd64", "arm64"))
    models = verbs.add_parser("models", help="print the label that says which models an export folder holds")
    models.add_argument("folder", type=Path)
    image = verbs.add_parser("build", help="build an image")
    image.add_argument("image", choices=("service", "trainer"))
    image.add_argument("--tag", help="its name; crypto-rti-IMAGE:latest when not given")
    image.add_argument("--base", help="base image; what the Dockerfile pins when not given")
    image.add_argument("--bundles", help="export folder within the repository, or a URL, whose champions the service is built with; none when not given")
    image.add_argument("--pip-config", help="a pip.conf to build with; does not stay in the image")
    image.add_argument("--ca", help="certificates to believe while building; do not stay in the image")
    image.add_argument("--platform", help="such as linux/arm64, when it is not this machine's")
    image.add_argument("--host-network", action="store_true", help="build on the host's network, where the bridge has no way out")
    options = parser.parse_args()
    match options.verb:
        case "base":
            make_base(options.arch)
        case "models":
            print(describe_models(options.folder))
        case "build":
            build(options)


if __name__ == "__main__":
    main()
