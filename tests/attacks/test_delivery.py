"""Attacks on what is delivered: invented visitors, files that are not the locked ones, the models behind the service."""

import hashlib
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import httpx
import pytest
from harness import bench
from test_deploy import BIN, COMPOSE, ROOT, compose_config, networks

sys.path.insert(0, str(ROOT / ".ci"))
from environment import install_with

TUNNEL, STRANGER = "127.0.0.2", "127.0.0.3"  # In place of the gateway, and of an address that nobody trusts


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    "A service with a rate limit, which trusts what deploy/compose.yml trusts, at an address that this machine can connect from."
    (gateway,) = [config["gateway"] for config in compose_config(COMPOSE[1])["networks"]["edge"]["ipam"]["config"]]
    trusted = compose_config(COMPOSE[1])["services"]["service"]["environment"]["CRYPTO_RTI_TRUSTED_PROXIES"].split()
    addresses = [TUNNEL if address == gateway else address for address in trusted]
    options = {"trusted_proxies": addresses, "rate_limit": 0.01, "rate_burst": 5}
    with bench(tmp_path_factory.mktemp("limited"), products="BTC-USD", wait=False, options=options) as up:
        yield up


def ask(up, peer: str, forwarded: list[str]) -> list[int]:
    "Ask once for each value of X-Forwarded-For, from an address of this machine; the status of each answer."
    with httpx.Client(base_url=up.url, transport=httpx.HTTPTransport(local_address=peer), timeout=20) as http:
        return [http.get("/api/coins", headers={"X-Forwarded-For": value} if value else {}).status_code for value in forwarded]


def test_visitors_behind_the_tunnel_have_a_limit_each(limited, attack) -> None:
    first = ask(limited, TUNNEL, ["203.0.113.1"] * 20)
    second = ask(limited, TUNNEL, ["203.0.113.2"] * 5)
    assert first.count(200) == 5 and set(second) == {200}
    attack("one visitor uses up the limit", before="every visitor gets 429", after=f"the next visitor is answered {second.count(200)} of {len(second)} times")


@pytest.mark.parametrize(
    ("who", "peer", "values"),
    [
        ("a stranger", STRANGER, [f"203.0.113.{number}" for number in range(60, 100)]),
        ("a stranger who names the tunnel", STRANGER, [f"203.0.113.{number}, {TUNNEL}" for number in range(60, 100)]),
        ("a visitor who writes before the tunnel", TUNNEL, [f"203.0.113.{number}, 198.51.100.7" for number in range(60, 100)]),
        ("a visitor who writes many", TUNNEL, [", ".join(["203.0.113.1"] * number) + ", 198.51.100.8" for number in range(1, 41)]),
        ("a visitor in one IPv6 network", TUNNEL, [f"2001:db8:0:1::{number:x}" for number in range(1, 41)]),
    ],
)
def test_an_invented_address_has_the_same_limit(limited, attack, who: str, peer: str, values: list[str]) -> None:
    if who == "a stranger who names the tunnel":
        peer = "127.0.0.4"
    statuses = ask(limited, peer, values)
    assert statuses[:5] == [200] * 5 and set(statuses[5:]) == {429}, statuses
    attack(f"{who}: {len(values)} addresses in X-Forwarded-For", before="one bucket with all others", after=f"{statuses.count(200)} answered, as without")


def wheel(folder: Path, text: str) -> Path:
    "A wheel of one module."
    path = folder / "tampered-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (
            ("tampered.py", text),
            ("tampered-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tampered\nVersion: 1.0\n"),
            ("tampered-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            ("tampered-1.0.dist-info/RECORD", ""),
        ):
            file.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory) -> Path:
    "A new environment, which finds this one's pip; its Python."
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (next(folder.glob("lib/python3.*/site-packages")) / "pip.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_an_index_gives_another_file(installer, empty_environment, tmp_path, monkeypatch, attack) -> None:
    "The same name and version as locked, another content: an index that was broken into, or a proxy on the way."
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(tmp_path), "UV_NO_CACHE": "1"}.items():
        monkeypatch.setenv(name, value)
    uv = BIN / "uv" if installer == "uv" else None
    lock = tmp_path / "lock.txt"
    good = hashlib.sha256(wheel(tmp_path, "x = 1\n").read_bytes()).hexdigest()
    lock.write_text(f"tampered==1.0 \\\n    --hash=sha256:{good}\n")
    wheel(tmp_path, "x = 'not what was locked'\n")
    with pytest.raises(SystemExit, match=r"installing lock\.txt failed"):
        install_with(empty_environment, uv, lock)
    lock.write_text("tampered==1.0\n")  # One line without a hash would let everything in
    with pytest.raises(SystemExit, match=r"installing lock\.txt failed"):
        install_with(empty_environment, uv, lock)
    installed = subprocess.run([empty_environment, "-c", "import tampered"], check=False, capture_output=True).returncode == 0
    assert not installed
    wheel(tmp_path, "x = 1\n")
    lock.write_text(f"tampered==1.0 --hash=sha256:{hashlib.sha256((tmp_path / 'tampered-1.0-py3-none-any.whl').read_bytes()).hexdigest()}\n")
    install_with(empty_environment, uv, lock)  # And what is locked is installed
    subprocess.run([empty_environment, "-m", "pip", "uninstall", "--quiet", "--yes", "tampered"], check=True)
    attack(f"an index gives another file under a locked version ({installer})", before="installed", after="installed" if installed else "refused")


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_locked_source_archive_would_run_unlocked_code(installer, empty_environment, tmp_path, monkeypatch, attack) -> None:
    "Its hash is right, but to build it an installer takes a setuptools that no hash covers, and runs it."
    (tmp_path / "tampered-1.0").mkdir()
    setup = f"open({str(tmp_path / 'ran')!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='tampered', version='1.0', py_modules=[])\n"
    (tmp_path / "tampered-1.0" / "setup.py").write_text(setup)
    archive = tmp_path / "tampered-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "tampered-1.0", "tampered-1.0")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(tmp_path), "UV_NO_CACHE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UV_NO_BUILD_ISOLATION", "1")  # There is no index here; this environment's setuptools stands for the one it would give
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    (tmp_path / "lock.txt").write_text(f"tampered==1.0 --hash=sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}\n")
    with pytest.raises(SystemExit, match=r"installing lock\.txt failed"):
        install_with(empty_environment, BIN / "uv" if installer == "uv" else None, tmp_path / "lock.txt")
    ran = (tmp_path / "ran").exists()
    assert not ran
    attack(f"a source archive in place of a wheel ({installer})", before="its setup.py ran", after="ran" if ran else "refused")


def test_the_service_reaches_for_the_models(attack) -> None:
    joined = networks(COMPOSE[0])
    shared = joined["service"] & joined["mlflow"]
    published = compose_config(COMPOSE[0])["services"]["mlflow"].get("ports", [])
    assert not shared and not published
    after = f"{len(shared)} networks, {len(published)} ports"
    attack("MLflow without accounts: networks shared with the service, and ports", before="2 networks, 1 port", after=after)
