"""Between pictures and what a backbone sees of them, by the name in a config."""
from models.autoencoders import kl, pixels

AUTOENCODERS = {'none': pixels.Pixels, 'kl': kl.KL}
