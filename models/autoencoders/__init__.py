"""Between pictures and what a backbone sees of them, by the name in a config.

Each has `channels` of its latents and `factor`, pixels a side that one stands for, and
is given `image_channels`, those of config.data. moments(x), of pictures
f32[b h w image_channels] in [-1, 1] whose sides are multiples of factor, is all that
draw(moments, eps=None) needs for latents f32[b h/factor w/factor channels]: eps is a
normal of that shape, None gives the mean. decode(latents) is the way back. check()
raises ValueError for fields that do not go together.
"""
from models.autoencoders import kl, pixels, tiny

AUTOENCODERS = {'none': pixels.Pixels, 'kl': kl.KL, 'tiny': tiny.Tiny}
