from .contents import Contents as Contents
from .contents import contents as contents
from .pull import pull as pull
from .push import push as push
