"""Lets other public NBIA clients download from the simulated NBIA, and compares MD5s.

    python -m tests.e2e.other_clients [CLIENT...]

Each client is installed from the package index into an environment of its own below a temporary
folder, so this takes minutes and some hundred MB; it is no part of the test suite. Neither client
has an option for the base URL, so each is pointed at the archive as its recipe shows.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.corpus import DemoSeries, demo_corpus
from tests.fakes.nbia import ArchiveServer

COLLECTION = "DEMO-MULTI"
MODALITY = "CT"

TCIA_UTILS = """
import sys
from tcia_utils import nbia

base, collection, modality, output = sys.argv[1:]
nbia.setApiUrl = lambda endpoint, api_url="": base + "/v4/"
assert collection in [row["Collection"] for row in nbia.getCollections()]
series = nbia.getSeries(collection=collection, modality=modality)
print(nbia.getSeriesList([row["SeriesInstanceUID"] for row in series]).to_string())
nbia.downloadSeries(series, path=output, hash="y")
"""

NBIATOOLKIT = """
import sys
from nbiatoolkit import NBIAClient
from nbiatoolkit.utils import NBIA_BASE_URLS

if __name__ == "__main__":
    base, collection, modality, output = sys.argv[1:]
    archive = NBIA_BASE_URLS.NBIA
    archive._value_ = base + "/"
    NBIA_BASE_URLS._value2member_map_[base + "/"] = archive  # for its worker processes
    client = NBIAClient()
    assert collection in [row["Collection"] for row in client.getCollections()]
    series = client.getSeries(Collection=collection, Modality=modality)
    uids = [row["SeriesInstanceUID"] for row in series]
    pattern = "%PatientID/%SeriesInstanceUID/%InstanceNumber-%SOPInstanceUID.dcm"
    client.downloadSeries(uids, downloadDir=output, filePattern=pattern)
"""

RECIPES = {"tcia_utils": TCIA_UTILS, "nbiatoolkit": NBIATOOLKIT}


@dataclass(frozen=True, slots=True)
class Result:
    """What one client brought home."""

    client: str
    expected: int
    right: int
    wrong: int
    seconds: float
    requests: str
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether every image arrived, and nothing else."""
        return not self.failure and self.right == self.expected and self.wrong == 0


def main(clients: list[str]) -> int:
    """Try the clients; 0 when all passed."""
    corpus = demo_corpus()
    wanted = [
        series
        for series in corpus
        if series.collection == COLLECTION and series.modality == MODALITY
    ]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for client in clients:
            with ArchiveServer(corpus) as server:
                results.append(attempt(client, server, wanted, Path(folder)))
    print_table(results)
    return 0 if all(result.passed for result in results) else 1


def attempt(client: str, server: ArchiveServer, wanted: list[DemoSeries], folder: Path) -> Result:
    """Install one client, let it download, look at what it wrote."""
    print(f"installing {client} …", flush=True)
    python = install(client, folder / client)
    output = folder / f"{client}-data"
    script = folder / f"{client}-recipe.py"
    script.write_text(RECIPES[client])
    began = time.monotonic()
    done = subprocess.run(
        [python, script, server.root, COLLECTION, MODALITY, output],
        cwd=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    seconds = time.monotonic() - began
    expected = {image.md5 for series in wanted for image in series.images}
    found = [hashlib.md5(file.read_bytes()).hexdigest() for file in output.rglob("*.dcm")]
    return Result(
        client=client,
        expected=len(expected),
        right=len(expected & set(found)),
        wrong=sum(md5 not in expected for md5 in found),
        seconds=seconds,
        requests=", ".join(dict.fromkeys(record.endpoint for record in server.requests)),
        failure=done.stderr.strip()[-2000:] if done.returncode else "",
    )


def install(client: str, folder: Path) -> Path:
    """An environment with the client; gives its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", client], check=True)
    return python


def print_table(results: list[Result]) -> None:
    """One line a client, then what went wrong."""
    print(
        f"\n{'client':<14}{'passed':<8}{'images':>8}{'right':>7}{'wrong':>7}{'seconds':>9}  calls"
    )
    for result in results:
        print(
            f"{result.client:<14}{'yes' if result.passed else 'no':<8}{result.expected:>8}"
            f"{result.right:>7}{result.wrong:>7}{result.seconds:>9.1f}  {result.requests}"
        )
    for result in results:
        if result.failure:
            print(f"\n{result.client}:\n{result.failure}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(RECIPES)))
