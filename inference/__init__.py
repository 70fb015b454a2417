"""From a run, an export or a public pipeline to pictures.

    from inference import load, generate
    model = load('weights/shapes')
    images = generate(model, ['a red circle left of a blue square'], num=4, seed=0)
    model = add_adapters(model, ('style.safetensors', 0.8))  # LoRA, any number of them
"""
from inference.adapters import add_adapters
from inference.generation import generate
from inference.loading import Model, load

__all__ = ['Model', 'add_adapters', 'generate', 'load']
