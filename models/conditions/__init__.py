"""What a picture is to show, by the name in a config.

Every condition comes as int32 tokens [b l], so that classes, sentences and nothing at
all go the same way through training, sampling and guidance. It declares which fields of
models.context.Context it gives; check(vocab, length) raises ValueError for fields that
do not go together, and for a tokenizer of that vocabulary and length that it cannot
read; checks.fields reads what else it declares. `by_class`, where it is True, asks for
a tokenizer with a token for each different caption.
"""
from models.conditions import clip, label, sd3, sdxl, t5, text, unconditional

CONDITIONS = {'text': text.Text, 'class': label.Class,
              'none': unconditional.Unconditional, 'clip': clip.CLIP, 't5': t5.T5,
              'sdxl': sdxl.SDXLText, 'sd3': sd3.SD3}
