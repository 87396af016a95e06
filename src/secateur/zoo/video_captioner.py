"""A captioner of videos from features of their frames, in the manner of VideoBERT (Sun et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from secateur.problem import Dropout, is_count
from secateur.zoo.transformer import DecoderLayer, EncoderLayer, positions

_INPUTS = ("features", "mask", "words")


class VideoCaptioner(nn.Module):
    """An encoder over the features of frames, and a decoder that says the next word piece at every place.

    The table of word pieces serves input and output; like all embeddings it is not pruned. What is: the linear layer
    that takes the features in, four of each attention and two of each feed-forward.

    Args:
        task: Name of the prediction.
        pieces: Word pieces.
        features: Numbers a frame.
        width: Channels.
        heads: Of each attention.
        hidden: Units of each feed-forward.
        layers: Of the encoder, and of the decoder.
        dropout: Everywhere.
    """

    def __init__(
        self,
        task: str,
        pieces: int,
        features: int,
        *,
        width: int,
        heads: int,
        hidden: int,
        layers: tuple[int, int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.task, self.features = task, features
        self.frames = nn.Linear(features, width)
        self.words = nn.Embedding(pieces, width)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        self.encoder = nn.ModuleList(EncoderLayer(width, heads, hidden, dropout) for _ in range(layers[0]))
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(DecoderLayer(width, heads, hidden, dropout) for _ in range(layers[1]))
        self.decoder_norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(self.words.weight.new_zeros(pieces))
        self.dropout = Dropout(dropout)

    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits of the piece after each place.

        Args:
            x: ``features`` (N, F, features); ``mask`` (N, F) bool, True at real frames, of which a clip has at least
                one; ``words`` (N, T) int64, what was said before: the begin piece, then the caption. What stands
                after a place does not change its logits, so captions are filled up at their end.

        Returns:
            ``{task: (N, pieces, T)}``.

        Raises:
            ValueError: If an input is missing, or the frames have other features.
        """
        missing = [name for name in _INPUTS if name not in x]
        if missing:
            raise ValueError(f"video_captioner: x has {sorted(x)}, not {missing}; give {list(_INPUTS)}.")
        features, words = x["features"], x["words"]
        if features.dim() != 3 or features.shape[-1] != self.features:
            raise ValueError(
                f"video_captioner: features is {tuple(features.shape)}, the network takes (N, frames, {self.features}); "
                "build it with features= the numbers a frame has."
            )
        mask = x["mask"][:, None, None]  # (N, 1, 1, F)
        encoded = self._placed(self.frames(features))
        for layer in self.encoder:
            encoded = layer(encoded, mask)
        encoded = self.encoder_norm(encoded)
        said = self._placed(self.words(words) * self.words.embedding_dim**0.5)
        for layer in self.decoder:
            said = layer(said, encoded, mask)
        logits = F.linear(self.decoder_norm(said), self.words.weight, self.bias)  # (N, T, pieces)
        return {self.task: logits.transpose(1, 2)}

    def _placed(self, x: Tensor) -> Tensor:
        return self.dropout(x + positions(x.shape[1], x.shape[2], x))


def video_captioner(
    tasks: Mapping[str, int],
    features: int = 64,
    width: int = 128,
    heads: int = 4,
    hidden: int | None = None,
    layers: tuple[int, int] = (2, 2),
    dropout: float = 0.1,
) -> VideoCaptioner:
    """A transformer that captions videos from features of their frames.

    Args:
        tasks: The one task, and the number of its word pieces.
        features: Numbers a frame.
        width: Channels, an even multiple of ``heads``.
        heads: Of each attention.
        hidden: Units of each feed-forward; four times ``width`` if None.
        layers: Of the encoder, and of the decoder.
        dropout: Everywhere.

    Raises:
        ValueError: If there is not exactly one task, or a size is unusable.
    """
    if len(tasks) != 1 or not all(is_count(pieces, 2) for pieces in tasks.values()):
        raise ValueError(
            f"video_captioner: tasks is {dict(tasks)}; give one {{task: word pieces}} with at least 2 pieces."
        )
    sizes = {"features": features, "width": width, "heads": heads}
    sizes |= {} if hidden is None else {"hidden": hidden}
    small = {name: size for name, size in sizes.items() if not is_count(size)}
    if small or len(layers) != 2 or not all(map(is_count, layers)):
        raise ValueError(f"video_captioner: {small or f'layers is {layers}'}; give at least 1.")
    hidden = 4 * width if hidden is None else hidden
    if width % heads or width % 2:
        raise ValueError(
            f"video_captioner: width is {width} and heads {heads}; let width be even and a multiple of heads."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"video_captioner: dropout is {dropout}; it must lie in [0, 1).")
    ((task, pieces),) = tasks.items()
    return VideoCaptioner(
        task, pieces, features, width=width, heads=heads, hidden=hidden, layers=layers, dropout=dropout
    )
