"""RHEL"""

from echoloom.frontend.rhel.dynamics import flip as flip
from echoloom.frontend.rhel.dynamics import traverse as traverse
from echoloom.frontend.rhel.old import rhel_gradient as rhel_gradient
