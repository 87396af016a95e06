"""Metrics of dense prediction, of whole images and of captions, right under any batching and on several processes, and group sparsity.

What ``__init__.pyi`` lists is imported when it is first asked for, and torchmetrics with it, which takes longer than torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
