r"""LoRA of the attention of a trained model, on a folder of captioned pictures.

python train.py --config=configs/finetune/lora.py:shapes --workdir=runs/style \
    --config.data.path=pictures

`:sd15`, `:sdxl` and `:sd3` start from public weights below weights/public. Layers are
chosen by regexes over their names; rank 8 as in arXiv:2106.09685, the rate that of
diffusers' scripts. The base lies in bfloat16 and has no gradient.
"""
from configs import finetuning


@finetuning.variants()
def get_config(name):
  c = finetuning.start(name)
  c.lora.update(dict(layers=(finetuning.ATTENTION,), rank=8, alpha=8.0))
  c.optim.lr_scale = (('lora/.*', 1.0), ('.*', 0.0))
  if name == 'shapes':  # small enough for its layers of text, too, and a higher rate
    c.lora.layers = ('(backbone|text_encoder)/.*(q|k|v|out|up|down)',)
    c.optim.lr = 2e-3
    c.train.update(dict(steps=300, checkpoint_every=100, sample_every=100))
  return c
