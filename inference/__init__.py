"""From a run, an export or a public pipeline to pictures.

    from inference import load, generate
    model = load('weights/shapes')
    images = generate(model, ['a red circle left of a blue square'], num=4, seed=0)
"""
from inference.generation import generate
from inference.loading import Model, load

__all__ = ['Model', 'generate', 'load']
