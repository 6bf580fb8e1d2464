"""
The home: the folder `.batchfast` with the database, the fake's state and each run's files.

```
.batchfast/
├── state.db
├── fake/
└── runs/<run id>/
    ├── spec.json
    ├── requests/<stem>.jsonl
    ├── results/<stem>.output.jsonl, <stem>.error.jsonl
    └── .handover-*/     while processes help
```
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

from batchfast.errors import StoreError

FOLDER = ".batchfast"

_NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "ceph", "9p", "fuse.sshfs", "lustre"}
    | {"glusterfs", "fuse.glusterfs", "gpfs", "beegfs", "fuse.s3fs", "fuse.gcsfuse"}
)


@dataclass(frozen=True, slots=True)
class Home:
    """Where things lie; making one touches nothing."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "state.db"

    @property
    def fake(self) -> Path:
        return self.path / "fake"

    @property
    def runs(self) -> Path:
        """What other machines that help must see; the database stays here."""
        return self.path / "runs"

    def run(self, run_id: str) -> Path:
        return self.runs / run_id

    def snapshot(self, run_id: str) -> Path:
        return self.run(run_id) / "spec.json"

    def requests(self, run_id: str, stem: str) -> Path:
        return self.run(run_id) / "requests" / f"{stem}.jsonl"

    def results(self, run_id: str, stem: str, kind: str) -> Path:
        return self.run(run_id) / "results" / f"{stem}.{kind}.jsonl"

    def make(self) -> Home:
        """
        Create the folder where it is missing; mode 700 in any case, and invisible to git.

        Raises:
            StoreError: It cannot be written, or lies on a network filesystem.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (mode := self.path.stat().st_mode) & stat.S_ISVTX:
                raise StoreError(f"{self.path} is a folder that all users share; choose another with --home")
            if stat.S_IMODE(mode) & 0o777 != 0o700:
                self.path.chmod(0o700)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
        except OSError as exc:
            raise StoreError(
                f"cannot write the home {self.path}: {exc.strerror or exc}; choose another with --home"
            ) from exc
        refuse_network_filesystem(self.path)
        return self


def find_home(start: Path) -> Home | None:
    """The nearest `.batchfast` from `start` upward."""
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir():
            return Home(folder / FOLDER)
    return None


def home_for(start: Path) -> Home:
    """The nearest home from `start` upward, else the one that would be made in `start`."""
    return find_home(start) or Home(start.absolute() / FOLDER)


def refuse_network_filesystem(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """
    SQLite's write-ahead log needs shared memory, which network filesystems do not give.

    Raises:
        StoreError: `path` lies on one. Systems without a `mounts` table are taken at their word.
    """
    if not mounts.is_file():
        return
    best, kind = Path(), ""
    resolved = path.resolve()
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[1]))
        if resolved.is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, fields[2]
    if kind in _NETWORK_FILESYSTEMS:
        raise StoreError(
            f"the home {path} lies on a network filesystem ({kind}), where SQLite is not safe; "
            "choose a local folder with --home or BATCHFAST_HOME"
        )


def stem_of(entry: int, provider: str, model_id: str, number: int, attempt: int) -> str:
    """Name of a shard's files; no character of a model's name can leave the folder."""
    model = re.sub(r"[^A-Za-z0-9._-]", "_", model_id).lstrip(".") or "_"
    return f"{entry}-{provider}-{model[:100]}-{number}-{attempt}"


def run_folders(home: Home) -> list[str]:
    """Ids of the runs that have files, in order."""
    return sorted(path.parent.name for path in home.runs.glob("*/spec.json"))
