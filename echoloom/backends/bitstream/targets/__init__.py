"""The devices and boards: what differs between families of FPGAs, one file each."""
