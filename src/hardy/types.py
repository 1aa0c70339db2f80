"""The vocabulary: what the tensors are that travel between the parts."""

from typing import Annotated

from torch import Tensor

Images = Annotated[Tensor, "float32 (N, C, H, W), pixel values in [0, 1]"]
Labels = Annotated[Tensor, "int64 (N,), class indices"]
Logits = Annotated[Tensor, "float32 (N, K), unnormalised scores"]
Probs = Annotated[Tensor, "float32 (N, K), rows sum to 1"]
Features = Annotated[Tensor, "float32 (N, D), pooled activations before the last layer"]
Maps = Annotated[Tensor, "float32 (N, D, h, w), activations before pooling"]
PerSample = Annotated[Tensor, "float32 (N,), one value per image"]
