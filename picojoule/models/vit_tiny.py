"""ViT-Tiny for 32x32 images: a vision transformer (Dosovitskiy et al., arXiv:2010.11929) of patches of 4x4 pixels.

Width 192 and 3 heads are those of DeiT-Tiny (Touvron et al., arXiv:2012.12877), whose patches are 16x16.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from picojoule.models.registry import register_model


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        """Args:
        width: features of a token.
        heads: that they are shared out to.
        """
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, width] -> [N, T, width]."""
        images, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(images, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(images, tokens, width))


class Block(nn.Module):
    """Attention and two linear layers, each behind a normalisation and with a shortcut around it."""

    def __init__(self, width: int, heads: int) -> None:
        """Args:
        width: features of a token.
        heads: of the attention.
        """
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, width] -> [N, T, width]."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


@register_model("vit_tiny", input_shape=(3, 32, 32))
class ViTTiny(nn.Module):
    """5,362,762 parameters and 365.1 million multiplications, 19.5 million of them between two activations."""

    def __init__(
        self,
        num_classes: int = 10,
        channels_in: int = 3,
        size: int = 32,
        patch: int = 4,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
    ) -> None:
        """Args:
        num_classes: class scores.
        channels_in: of the images.
        size: pixels of an image's side.
        patch: pixels of a patch's side.
        width: features of a token, a multiple of `heads`.
        depth: blocks.
        heads: of each attention.
        """
        super().__init__()
        self.patch = nn.Conv2d(channels_in, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        for parameter in (self.token, self.position, *(m.weight for m in self.modules() if isinstance(m, nn.Linear))):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, C_in, size, size] -> class scores float32 [N, num_classes]."""
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])
