"""Apache Kafka's own jars, fetched once from Maven into `.local/`, and the Java that runs them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POM = Path(__file__).with_name("kafka") / "pom.xml"
LOGGING = POM.with_name("log4j2.properties")
LEAST_JAVA = 17  # what Kafka 4 brokers ask for
FETCH_SECONDS = 900
OTHER_WAYS = "or start Docker, or set BOOTSTRAP_SERVERS to a broker that runs"


class LocalKafkaError(Exception):
    """A broker cannot be had here; one sentence that says what to do."""


def _version() -> str:
    found = re.search(r"<kafka\.version>(.+?)</kafka\.version>", POM.read_text())
    if found is None:
        raise LocalKafkaError(f"{POM} has no property kafka.version.")
    return found.group(1)


KAFKA_VERSION = _version()


def java() -> str:
    """Return the path of a Java that can run the broker.

    Raises:
        LocalKafkaError: there is none, or it is too old.
    """
    path = shutil.which("java")
    answer = subprocess.run([path, "-version"], capture_output=True, text=True, check=False) if path else None
    if path is None or answer is None or answer.returncode != 0:
        raise LocalKafkaError(
            f"No `java` that runs: install Java {LEAST_JAVA} or newer"
            f" (Debian: apt-get install openjdk-17-jre-headless maven), {OTHER_WAYS}."
        )
    found = re.search(r'version "(\d+)', answer.stderr)
    if found is None or int(found.group(1)) < LEAST_JAVA:
        said = (answer.stderr.splitlines() or ["nothing"])[0]
        raise LocalKafkaError(
            f"Kafka {KAFKA_VERSION} needs Java {LEAST_JAVA} or newer, and {path} says {said}: install it, {OTHER_WAYS}."
        )
    return path


def jars() -> Path:
    """Return the folder of Kafka's jars; the first call fetches them with Maven, 44 MB.

    Two processes may do so at once: each fetches into a folder of its own, and the first to rename it wins.

    Raises:
        LocalKafkaError: Maven is missing or failed.
    """
    home = ROOT / ".local" / f"kafka-{KAFKA_VERSION}"
    if home.is_dir():
        return home
    maven = shutil.which("mvn")
    if maven is None:
        raise LocalKafkaError(
            f"No `mvn` to fetch Kafka {KAFKA_VERSION} with: install Maven (Debian: apt-get install maven),"
            f" {OTHER_WAYS}."
        )
    home.parent.mkdir(exist_ok=True)
    fetched = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=home.parent))
    try:
        _fetch(maven, fetched)
        try:
            fetched.rename(home)
        except OSError:
            if not home.is_dir():
                raise
    finally:
        shutil.rmtree(fetched, ignore_errors=True)  # gone already where it was renamed
    return home


def _fetch(maven: str, folder: Path) -> None:
    print(f"Fetching Apache Kafka {KAFKA_VERSION} from Maven, once.", file=sys.stderr)
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise LocalKafkaError(f"Maven has not fetched Kafka {KAFKA_VERSION} in {FETCH_SECONDS} s.") from error
    if run.returncode != 0:
        said = "\n".join((run.stdout + run.stderr).splitlines()[-8:])
        raise LocalKafkaError(f"Maven could not fetch Kafka {KAFKA_VERSION}; it said:\n{said}")
