"""Jobs that need all of their executors at once, and what becomes of them when one is lost."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from pyspark.sql import SparkSession

from training.errors import ClusterError

log = logging.getLogger(__name__)
Result = TypeVar("Result")

GRACE_SECONDS = 20.0  # within which a restarted worker is back, and Spark repeats the stage by itself
WAIT_SECONDS = 120.0  # for the first executor of a cluster that has none
ATTEMPTS = 4


def slots(spark: SparkSession) -> int:
    """How many tasks can run side by side now. Raises ClusterError when there are none for long."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (found := _slots(spark)) == 0:
        if time.monotonic() > deadline:
            raise ClusterError(str(spark.sparkContext.master))
        time.sleep(0.5)
    return found


def _slots(spark: SparkSession) -> int:
    context: Any = spark.sparkContext._jsc.sc()
    return int(context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile()))


def surviving(spark: SparkSession, job: Callable[[int], Result]) -> Result:
    """Runs `job(slots)`, a barrier stage on that many slots, and again on those that are left when some are lost.

    Spark itself repeats a barrier stage, but waits for as many slots as before, for ever if need be. Here it may wait
    GRACE_SECONDS; then the job is cancelled and begun anew with fewer. Raises ClusterError when that happens too often.
    """
    for _ in range(ATTEMPTS):
        wanted = slots(spark)
        tag = f"surviving-{uuid.uuid4().hex}"
        watch = _Watch(spark, tag, wanted)
        spark.sparkContext.addJobTag(tag)
        watch.start()
        try:
            return job(wanted)
        except Exception:
            if not watch.cancelled:
                raise
            log.warning(
                "%d of %d slots are left on %s: fitting again", _slots(spark), wanted, spark.sparkContext.master
            )
        finally:
            watch.ended.set()
            watch.join()
            spark.sparkContext.removeJobTag(tag)
    raise ClusterError(str(spark.sparkContext.master))


class _Watch(threading.Thread):
    """Cancels the jobs with `tag` once fewer than `wanted` slots have been there for GRACE_SECONDS."""

    def __init__(self, spark: SparkSession, tag: str, wanted: int) -> None:
        super().__init__(name="watch on executors", daemon=True)
        self.spark, self.tag, self.wanted = spark, tag, wanted
        self.ended, self.cancelled = threading.Event(), False

    def run(self) -> None:
        since: float | None = None
        while not self.ended.wait(0.5):
            if _slots(self.spark) >= self.wanted:
                since = None
                continue
            since = since or time.monotonic()
            if time.monotonic() - since > GRACE_SECONDS:
                self.cancelled = True
                self.spark.sparkContext.cancelJobsWithTag(self.tag)
                return
