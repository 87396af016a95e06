from .found import Found as Found
from .found import Tried as Tried
from .search import search as search
from .shown import lines as lines
from .shown import trials_table as trials_table
