"""What a method decides for one picture is what a chat about it uses."""

import torch

from pinhole.chat import Chat
from pinhole.data import read_dialogues
from pinhole.methods.random import Random
from pinhole.view.look import look


def test_it_is_the_reduction_of_a_chat_about_the_picture(embedded, scenes):
    model, processor = embedded
    [image] = read_dialogues(scenes)[0].load_images()
    method = Random(keep=0.1)
    reduction, grid = look(model, processor, method, image)
    chat = Chat(model, processor, method, max_new_tokens=1)
    chat.ask("What shape is it?", [image])
    assert torch.equal(reduction.indices, chat.reductions[0].indices)
    assert grid == (12, 12)
