"""Starts a master or a worker of the Spark cluster, whose nodes and applications know each other by a secret.

`spark_node.py master|worker ARGUMENTS...`: the arguments are Spark's own. The first node makes the secret, in the file
SPARK_SECRET_FILE as one of Spark's own properties files; the others, and the driver, read it there. Standard library
only.
"""

import os
import secrets
import sys
from pathlib import Path

from entrypoint import write_private

CLASSES = {
    "master": "org.apache.spark.deploy.master.Master",
    "worker": "org.apache.spark.deploy.worker.Worker",
}


def main() -> None:
    """Becomes the node."""
    secret = Path(os.environ["SPARK_SECRET_FILE"])
    write_private(secret, f"spark.authenticate true\nspark.authenticate.secret {secrets.token_hex(32)}\n")
    kind, *arguments = sys.argv[1:]
    program = f"{os.environ['SPARK_HOME']}/bin/spark-class"
    os.execv(program, [program, CLASSES[kind], "--properties-file", str(secret), *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
