# SPDX-License-Identifier: MIT
"""Metal Performance Shaders' neural-network graph on every machine.

Build image and filter nodes, let `training_graph` make the gradient nodes, compile a `Graph` for a
`Device`, and encode it on command buffers.

Example:
    >>> import numpy as np, mpsnn as mps
    >>> device = mps.Device("cpu")
    >>> up = mps.UpsamplingNearestNode(mps.ImageNode("small"), 2)
    >>> graph = mps.Graph(device, [up.result_image])
    >>> commands = mps.CommandBuffer(device.command_queue())
    >>> outputs = graph.encode(commands, {"small": np.ones((1, 2, 2, 3), np.float32)})
    >>> commands.commit()
    >>> np.asarray(outputs[0]).shape
    (1, 4, 4, 3)
"""

from mpsnn import nodes
from mpsnn._core import (
    Archive,
    ArchiveError,
    ArgumentTypeError,
    BatchNormalizationDataSource,
    BatchNormalizationFlags,
    CommandBuffer,
    CommandBufferStatus,
    CommandQueue,
    ConvolutionDataSource,
    ConvolutionDescriptor,
    DataSource,
    DataType,
    Device,
    DeviceError,
    DeviceLostError,
    DropoutState,
    Error,
    FileError,
    FilterNode,
    Graph,
    GraphCost,
    GraphOutputs,
    GroupNormalizationDataSource,
    Image,
    ImageEdgeMode,
    ImageNode,
    InstanceNormalizationDataSource,
    InternalError,
    InvalidArgumentError,
    KeyedArchiver,
    KeyedUnarchiver,
    LossDescriptor,
    LossType,
    MemoryStatistics,
    NeuronDescriptor,
    NeuronType,
    NormalizationDataSource,
    Optimizer,
    OptimizerAdam,
    OptimizerDescriptor,
    OptimizerRMSProp,
    OptimizerStochasticGradientDescent,
    OutOfMemoryError,
    PaddingMethod,
    PaddingPolicy,
    ReductionType,
    RegularizationType,
    StateError,
    TrainingStyle,
    UnsupportedError,
    __version__,
)
from mpsnn.nodes import *  # noqa: F403 (every node class; __all__ names them)

__all__ = [
    "Archive",
    "ArchiveError",
    "ArgumentTypeError",
    "BatchNormalizationDataSource",
    "BatchNormalizationFlags",
    "CommandBuffer",
    "CommandBufferStatus",
    "CommandQueue",
    "ConvolutionDataSource",
    "ConvolutionDescriptor",
    "DataSource",
    "DataType",
    "Device",
    "DeviceError",
    "DeviceLostError",
    "DropoutState",
    "Error",
    "FileError",
    "FilterNode",
    "Graph",
    "GraphCost",
    "GraphOutputs",
    "GroupNormalizationDataSource",
    "Image",
    "ImageEdgeMode",
    "ImageNode",
    "InstanceNormalizationDataSource",
    "InternalError",
    "InvalidArgumentError",
    "KeyedArchiver",
    "KeyedUnarchiver",
    "LossDescriptor",
    "LossType",
    "MemoryStatistics",
    "NeuronDescriptor",
    "NeuronType",
    "NormalizationDataSource",
    "Optimizer",
    "OptimizerAdam",
    "OptimizerDescriptor",
    "OptimizerRMSProp",
    "OptimizerStochasticGradientDescent",
    "OutOfMemoryError",
    "PaddingMethod",
    "PaddingPolicy",
    "ReductionType",
    "RegularizationType",
    "StateError",
    "TrainingStyle",
    "UnsupportedError",
    "__version__",
]
__all__ += nodes.__all__
