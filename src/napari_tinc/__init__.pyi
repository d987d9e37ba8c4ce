# The public names and the modules that define them. Type checkers and editors read this, and __init__.py at run time.

from .control import Control as Control
from .decoding.comparing import compare as compare
from .decoding.volume import TincVolume as TincVolume
from .decoding.volume import open as open
from .encoding.compress import compress as compress
from .encoding.compress import fit as fit
from .encoding.options import Options as Options
from .encoding.recalibration import recalibrate as recalibrate
from .errors import ChildError as ChildError
from .errors import TincError as TincError
from .events import Finished as Finished
from .events import Planned as Planned
from .events import Preview as Preview
from .events import Progress as Progress
from .isolation.caller import fit_isolated as fit_isolated
from .metrics import Quality as Quality
