"""Mixed images for distillation: teacher and student see the same mixture, and no label is needed.

Source: Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022, arXiv 2106.05237:
mixup (Zhang et al., arXiv 1710.09412) with weights drawn uniformly from [0, 1].
"""

import numpy as np
import torch


def mixup(images: torch.Tensor, seed: int, update: int) -> torch.Tensor:
    """Mixes every image of a batch with another one of it: w x_i + (1 - w) x_p(i), w ~ U[0, 1] for each image.

    Args:
        images: float [N, C, H, W].
        seed, update: of the training and number of the step; decide the draw, nothing else is random.

    Returns:
        As `images`.
    """
    state = np.random.SeedSequence((seed, update)).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    weight = torch.rand(len(images), generator=generator).to(images.dtype).view(-1, *[1] * (images.dim() - 1))
    partner = torch.randperm(len(images), generator=generator)
    return torch.lerp(images[partner], images, weight)
