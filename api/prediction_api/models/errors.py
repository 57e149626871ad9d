"""What keeps a model from going live, as a part of the tree in `errors`. The live model goes on.

PredictionApiError
├── RegistryAway              the registry did not answer
├── NotThere                  the registry answers that it does not have what was asked for
└── ModelRefused              a version is not served
    ├── ArtifactUnavailable   its file cannot be fetched or kept
    ├── DigestMissing         the registry holds no digest to check it against
    ├── DigestMismatch        its bytes are not those that were promoted
    ├── UnsafeGraph           not an ONNX file, or one that would read other files
    ├── WrongContract         its contract is missing, malformed or at odds with its graph
    └── GoldenMismatch        it does not give the predictions that training computed
"""

from prediction_api.errors import PredictionApiError


class RegistryAway(PredictionApiError):
    """The registry did not answer, or not in its own protocol."""

    title = "The registry cannot be reached"
    hint = "Check that the tracking server runs, that MLFLOW_TRACKING_URI names it and that it allows this host's name."


class NotThere(PredictionApiError):
    """The registry answers that it does not have what was asked for."""

    title = "Not in the registry"
    hint = "Train and promote a model, or check MODEL_ALIAS."


class ModelRefused(PredictionApiError):
    """A model version that is not served."""

    title = "A model version was refused"


class ArtifactUnavailable(ModelRefused):
    """The version's file cannot be fetched, or not be kept."""

    hint = "Check that the version holds model.onnx, that the server proxies artifacts and that MODELS_DIR is writable."


class DigestMissing(ModelRefused):
    """The version has no tag model_sha256."""

    hint = "Register versions through the training job, which sets the tag model_sha256."


class DigestMismatch(ModelRefused):
    """The file's SHA-256 differs from the registry's tag."""

    hint = "The file was changed or damaged after training: train and promote again."


class UnsafeGraph(ModelRefused):
    """The file is no ONNX model, cannot run, or refers to other files."""

    hint = "Export the model as one self-contained ONNX file."


class WrongContract(ModelRefused):
    """The contract inside the file is missing, malformed or does not describe the graph."""

    hint = "Export the model with the training job, which writes the contract."


class GoldenMismatch(ModelRefused):
    """Replaying the golden rows gave other predictions than training did."""

    hint = (
        "The graph and its contract belong to different models, or this ONNX Runtime computes differently: train again."
    )
