from __future__ import annotations

import torch
import torch.nn.functional as F

from pinhole.mixing import Mixer


def attended(query, key, value, heads):
    out = []
    for q, k, v in zip(query.chunk(heads, 1), key.chunk(heads, 1), value.chunk(heads, 1), strict=True):
        out.append((q @ k.T / q.shape[1] ** 0.5).softmax(-1) @ v)
    return torch.cat(out, 1)


def test_it_is_two_attentions_and_a_network_each_added_to_its_input():
    torch.manual_seed(0)
    mixer, rows, source = Mixer(8, 2).double(), torch.randn(3, 8).double(), torch.randn(5, 8).double()
    x = rows
    query, key, value = mixer.qkv(mixer.norms[0](x)).split(8, 1)
    x = x + mixer.gather(attended(query, key, value, 2))
    key, value = mixer.offer(source).split(8, 1)
    x = x + mixer.take(attended(mixer.ask(mixer.norms[1](x)), key, value, 2))
    x = x + mixer.narrow(F.gelu(mixer.widen(mixer.norms[2](x))))
    torch.testing.assert_close(mixer(rows, source), x)


def test_rows_in_another_order_give_the_same_in_that_order():
    torch.manual_seed(0)
    mixer, rows, source = Mixer(8, 4).double(), torch.randn(6, 8).double(), torch.randn(9, 8).double()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(mixer(rows[order], source), mixer(rows, source)[order])
    torch.testing.assert_close(mixer(rows, source.flip(0)), mixer(rows, source))
