"""Types of tensors and networks by name. Loads torch."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

Tensors = dict[str, Tensor]
Weights = Mapping[str, Tensor]
Modules = Mapping[str, nn.Module]
