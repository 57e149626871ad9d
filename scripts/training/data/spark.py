"""The Spark session of every task, and this package's code on a cluster's executors."""

import os
import re
import socket
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

# Spark's classes as Java keeps them in memory, made by `make setup` and by the image: `check` takes 0.7 of the time.
CLASS_ARCHIVE = Path(sys.prefix) / "spark-classes.jsa"
CODE = "training-code.zip"


def session(name: str) -> SparkSession:
    """A Spark session on SPARK_MASTER (default local[2]), quiet, without its web page."""
    master = os.environ.get("SPARK_MASTER", "local[2]")
    _complete_environment(master)
    settings: dict[str, Any] = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        # Adaptive execution plans again, in other threads, while a cached table is made; there a count once failed
        # for reasons of Spark's own. It gains nothing here: `load` knows the rows, and sets the partitions by them.
        "spark.sql.adaptive.enabled": "false",
        "spark.driver.host": os.environ.get("SPARK_DRIVER_HOST") or own_address(master),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.legacy.parquet.nanosAsLong": "true",  # pandas writes such times; `cells.read` makes them times again
        "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures": "1",  # the retry of the task goes on
        # Jobs of seconds end before the JVM's second compiler pays. (spark-submit has started its JVM by now.)
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    }
    if not master.startswith("local"):  # what lets an application onto a cluster that asks for it
        secret = Path(os.environ.get("SPARK_SECRET_FILE", ""))
        lines = secret.read_text(encoding="utf-8").splitlines() if secret.is_file() else []
        settings |= dict(line.split(maxsplit=1) for line in lines)
    spark = SparkSession.Builder().appName(name).master(master).config(map=settings).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def own_address(master: str) -> str:
    """Where executors call the driver back, by address: XGBoost's tracker takes no names. Of several, the one from
    which the cluster's master is reached."""
    if master.startswith("local"):
        return "127.0.0.1"
    if found := re.match(r"spark://([^:/,]+)", master):
        with socket.socket(type=socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.connect((found[1], 7077))  # sends nothing
            return str(probe.getsockname()[0])
    return socket.gethostbyname(socket.gethostname())


def _complete_environment(master: str) -> None:
    """What Spark reads from the environment, where a script is called by hand and nobody has set it."""
    scripts = Path(__file__).parents[2]
    # Not by SPARK_CONF_DIR: with a folder on its class path, Java takes no archive of classes.
    logging = f'"-Dlog4j2.configurationFile={scripts / "conf" / "log4j2.properties"}"'
    found = {"SPARK_SUBMIT_OPTS": f'{logging} "-XX:SharedArchiveFile={CLASS_ARCHIVE}" -Xlog:cds*=off'}
    if master.startswith("local"):  # Spark itself would take the first python3 on PATH, and look up the machine's name
        found |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    java = scripts.parent / "var" / "java_home"  # the note of `make setup`
    if java.is_file():
        found["JAVA_HOME"] = java.read_text(encoding="utf-8").strip()
    for name, value in found.items():
        os.environ.setdefault(name, value)


def location(path: Path) -> str:
    """What names exactly this file or folder to Spark, which reads no %20, and takes a name for a pattern."""
    return "file:" + re.sub(r"([\\\[\]{}*?])", r"\\\1", str(path.resolve()))


def ship_code(spark: SparkSession) -> None:
    """Executors need this package to unpickle what they are to do; on a cluster it is not installed there.

    Once for each application: a cluster refuses a file of the same name from another place.
    """
    if any(path.endswith(CODE) for path in spark.sparkContext.listFiles):
        return
    package = Path(__file__).parents[1]
    archive = Path(tempfile.mkdtemp(prefix="training-")) / CODE
    with zipfile.ZipFile(archive, "w") as files:  # its sources only: Spark refuses one that changed in a session
        for file in sorted(package.rglob("*.py")):
            files.write(file, file.relative_to(package.parent))
    spark.sparkContext.addPyFile(str(archive))
