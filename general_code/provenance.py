"""What made an output: the versions of packages that can change a number, and the commit of this repository."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("astropy", "dask", "drms", "fitsio", "joblib", "keras", "numba", "numpy", "pandas", "pyarrow",
            "scikit-image", "scikit-learn", "scipy", "selenium", "tensorflow", "tensorflow-cpu")


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a number.

    Returns
    -------
    dict of str to str
        By name; those that are installed.
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_revision() -> str:
    """Return the commit of this repository.

    Returns
    -------
    str
        Forty digits, "+" behind them when files differ from it; "unknown" without git.
    """
    try:
        described = subprocess.run(["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
                                   cwd=REPOSITORY, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()
