"""ONNX Runtime's sessions."""

import os
from typing import Any

from prediction_api.errors import UnsafeGraph


def open_session(content: bytes) -> Any:
    """An onnxruntime.InferenceSession. Raises UnsafeGraph."""
    # ONNX Runtime since 1.29 sends telemetry to its maker unless this is set before its first import in a process
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one row takes microseconds: more threads only take turns
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised, and told once
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors share no public base class
        raise UnsafeGraph(f"ONNX Runtime cannot load the graph: {str(error)[:200]}") from None
