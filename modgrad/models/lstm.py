"""A language model of LSTM layers, under the names of PyTorch's example word_language_model.

Zaremba, Sutskever & Vinyals 2014: "Recurrent neural network regularization"; the tied weights of Press & Wolf 2017. In
shapes N is the batch size, T the number of tokens in a row, L num_layers, H hidden_size, V num_tokens; the example has
T before N.
"""

from __future__ import annotations

from typing import Any

from modgrad import nn


class LSTMLanguageModel(nn.Module):
    """From tokens (N, T), int64, the scores (N, T, V) of what comes after each, and the state after the last.

    state: where the text before has left the layers, a pair (h, c), each (L, N, H); None at a text's beginning. Long
    texts are trained on piece by piece, each from the state after the last one, through which no gradient goes back:
    `state = tuple(s.detach() for s in state)`.

    tie_weights: the scores' weight is the tokens' embedding, whose width must then be hidden_size.

    >>> import torch
    >>> model = LSTMLanguageModel(num_tokens=50, embedding_dim=8, hidden_size=8)
    >>> scores, state = model(torch.randint(50, (3, 16)))
    >>> scores.shape, state[0].shape
    (torch.Size([3, 16, 50]), torch.Size([2, 3, 8]))
    """

    def __init__(
        self,
        num_tokens: int,
        embedding_dim: int,
        hidden_size: int,
        num_layers: int = 2,
        dropout: float = 0.5,
        tie_weights: bool = False,
    ) -> None:
        super().__init__()
        if tie_weights and embedding_dim != hidden_size:
            raise ValueError(
                f"LSTMLanguageModel(tie_weights=True): embedding_dim={embedding_dim} and hidden_size={hidden_size} "
                "must be the same, as the embedding is also the scores' weight"
            )
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(num_tokens, embedding_dim)
        between = dropout if num_layers > 1 else 0.0  # dropped between layers
        self.rnn = nn.LSTM(embedding_dim, hidden_size, num_layers, batch_first=True, dropout=between)
        self.decoder = nn.Linear(hidden_size, num_tokens)
        if tie_weights:
            self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)  # type: ignore[arg-type]
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)

    def forward(self, tokens: Any, state: tuple[Any, Any] | None = None) -> tuple[Any, tuple[Any, Any]]:
        x = self.drop(self.encoder(tokens))  # (N, T, embedding_dim)
        x, state = self.rnn(x, state)  # (N, T, H), two of (L, N, H)
        return self.decoder(self.drop(x)), state  # (N, T, V)
