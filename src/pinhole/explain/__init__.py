"""Which visual tokens an answer rests on, and a store of that for many questions."""
