"""The lab's machines: images made of Debian's packages (image.py), guests that boot them in QEMU (guest.py), and the wires between
them (network.py)."""
