"""What is done to images (signals, volumes), each function beside its derivative.

`interpolation`: another size. `sampling`: values at any places. `folding`: patches cut out and summed up. `shuffling`:
pixels and channels in another order.
"""

from modgrad.functional.images.folding import *
from modgrad.functional.images.interpolation import *
from modgrad.functional.images.sampling import *
from modgrad.functional.images.shuffling import *
