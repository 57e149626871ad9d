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

GRACE_SECONDS = 20.0  # within which a restarted worker is back
WAIT_SECONDS = 120.0  # for the first executor of a cluster that has none
ATTEMPTS = 4
# How Spark says that a barrier stage lost one of its tasks, or found too few slots to begin. It repeats no such stage.
LOST = ("ExecutorLostFailure", "Python worker exited unexpectedly", "requires more slots")


def slots(spark: SparkSession) -> int:
    """How many tasks can run side by side now. Raises ClusterError when there are none for long."""
    if not _wait_for(spark, 1, WAIT_SECONDS):
        raise ClusterError(str(spark.sparkContext.master))
    return _slots(spark)


def _slots(spark: SparkSession) -> int:
    context: Any = spark.sparkContext._jsc.sc()
    return int(context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile()))


def _wait_for(spark: SparkSession, wanted: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _slots(spark) < wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def surviving(spark: SparkSession, job: Callable[[int], Result]) -> Result:
    """Runs `job(slots)`, a barrier stage on that many slots, and again when an executor is lost.

    A lost executor has GRACE_SECONDS to come back; then the job runs on the slots that are left. Raises ClusterError
    when there are none, or when executors are lost again and again.
    """
    for _ in range(ATTEMPTS):
        wanted = slots(spark)
        tag = f"surviving-{uuid.uuid4().hex}"
        watch = _Watch(spark, tag, wanted)
        spark.sparkContext.addJobTag(tag)
        watch.start()
        try:
            return job(wanted)
        except Exception as error:  # Spark, its gateway and XGBoost tell a lost executor each by a type of its own
            if not (watch.cancelled or any(sign in str(error) for sign in LOST)):
                raise
        finally:
            watch.ended.set()
            watch.join()
            spark.sparkContext.removeJobTag(tag)
        _wait_for(spark, wanted, GRACE_SECONDS)
        log.warning("an executor was lost, %d of %d slots are left: fitting again", _slots(spark), wanted)
    raise ClusterError(str(spark.sparkContext.master))


class _Watch(threading.Thread):
    """Cancels the jobs with `tag` once fewer than `wanted` slots have been there for GRACE_SECONDS.

    A barrier stage that was submitted and whose tasks have not begun would wait for ever.
    """

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
