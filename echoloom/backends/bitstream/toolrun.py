"""Running one bitstream tool to its end, with a log and one clear sentence when it fails."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import platformdirs

from echoloom.backends.bitstream.tools import Tool

TIME_LIMIT_S = 3 * 3600


class BuildFailed(RuntimeError):
    """A tool is missing, failed, or gave something that does not do; one sentence says which."""


def run_tool(
    tool: Tool,
    arguments: list[str],
    directory: Path,
    log: Path,
    time_limit_s: float = TIME_LIMIT_S,
) -> None:
    """Run a tool in `directory`; everything it says goes to `log`.

    File arguments must be relative: to a WebAssembly tool /tmp is a place of its own.

    Raises BuildFailed with the tool's first error when it fails or takes too long.
    """
    environment = dict(os.environ, YOWASP_CACHE_DIR=str(compiled_tools_cache()))
    with log.open("w") as output:
        try:
            done = subprocess.run(
                [tool.path, *arguments],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=time_limit_s,
                check=False,
            )
        except OSError as error:
            raise BuildFailed(f"{tool.path} does not run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise BuildFailed(
                f"{tool.name} did not end within {time_limit_s:g} s; its log is {log}"
            ) from error
    if code := done.returncode:
        ended = f"was killed by signal {-code}" if code < 0 else f"failed with status {code}"
        reason = first_error(log.read_text(errors="replace"))
        raise BuildFailed(f"{tool.name} {ended}: {reason}; its log is {log}")


def first_error(log: str) -> str:
    """The first error line of a tool's log, else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(?i)(fatal )?error\b", line)]
    return next(iter(errors or lines[-1:]), "it said nothing")


def compiled_tools_cache() -> Path:
    """Where the tools keep their compiled selves: their own choice if that can be written.

    Without a place the first half minute of every run would be spent again, or the run fail.
    """
    named = os.environ.get("YOWASP_CACHE_DIR")
    usual = Path(named or platformdirs.user_cache_dir("YoWASP", appauthor=False))
    try:
        usual.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=usual):
            return usual
    except OSError:
        fallback = Path(tempfile.gettempdir()) / f"echoloom-tools-{os.getuid()}"
        fallback.mkdir(mode=0o700, exist_ok=True)
        # The tools run what they find in their cache.
        if fallback.stat().st_uid != os.getuid():
            raise BuildFailed(f"{fallback} belongs to another user; set YOWASP_CACHE_DIR") from None
        return fallback
