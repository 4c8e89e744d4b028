"""What the Flex Template's launcher starts, with the template's parameters as options."""

import sys

from pipeline.template import launch

sys.exit(launch(sys.argv[1:]))
