"""Backbones by the name in a config."""
from models.backbones import controlnet, dit, edm2, microdit, mmdit, unet, uvit

BACKBONES = {'controlled_unet': controlnet.ControlledUNet, 'dit': dit.DiT,
             'edm2': edm2.EDM2, 'microdit': microdit.MicroDiT, 'mmdit': mmdit.MMDiT,
             'unet': unet.UNet, 'uvit': uvit.UViT}
