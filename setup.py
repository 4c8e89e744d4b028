"""What pyproject.toml cannot say: addresses, which a copy of the project has and its text has not.

Beam's `--setup_file` takes this file too.
"""

import os
import pathlib
import re
import subprocess
from email.parser import HeaderParser

from setuptools import setup

HERE = pathlib.Path(__file__).resolve().parent
# Named in what is built, and so in the source distribution, of which a wheel is built.
LABEL = "Repository"


def repository() -> str | None:
    """The repository's address: of NST_REPOSITORY, PKG-INFO or git's origin; None: not known."""
    if given := os.environ.get("NST_REPOSITORY"):
        return given.rstrip("/")
    if (built := HERE / "PKG-INFO").is_file():
        urls = HeaderParser().parsestr(built.read_text(encoding="utf-8")).get_all("Project-URL", [])
        pairs = [url.partition(", ") for url in urls]
        return next((address for label, _, address in pairs if label == LABEL), None)
    command = ["git", "-C", str(HERE), "config", "--get", "remote.origin.url"]
    try:
        origin = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return None
    # git@host:owner/name.git and ssh://git@host/owner/name.git are pages of the web, too.
    origin = re.sub(r"^(ssh://)?git@([^:/]+)[:/]", r"https://\2/", origin).removesuffix(".git")
    return origin if origin.startswith("https://") and "@" not in origin else None


def readme(address: str | None) -> str:
    """README.md, whose relative links lead to the repository; without an address, no pictures."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    relative = r"\]\((?!https?://|#)([^)\s]+)\)"
    if address is None:
        text = re.sub(r"^!\[[^\]]*" + relative + r"\n", "", text, flags=re.MULTILINE)
        return re.sub(r"\[([^\]]*)" + relative, r"\1", text)
    text = re.sub(r"(!\[[^\]]*)" + relative, rf"\1]({address}/raw/HEAD/\2)", text)
    return re.sub(r"(?<!!)(\[[^\]]*)" + relative, rf"\1]({address}/blob/HEAD/\2)", text)


def urls(address: str | None) -> dict[str, str]:
    """What package indexes link to."""
    if address is None:
        return {}
    return {
        "Documentation": f"{address}/blob/HEAD/README.md",
        "Changelog": f"{address}/blob/HEAD/CHANGELOG.md",
        LABEL: address,
    }


if __name__ == "__main__":
    setup(
        long_description=readme(repository()),
        long_description_content_type="text/markdown",
        project_urls=urls(repository()),
    )
