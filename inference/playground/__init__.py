"""A page in the browser to draw with: playground.serve(model, ...), for play.py."""
from inference.playground.server import Playground

__all__ = ['Playground']
