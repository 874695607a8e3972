"""The two calls of util-linux's Python binding that crun's mount tests make.

Debian does not package the binding, and without it the tests leave themselves out."""


class FileSystem:
    def __init__(self, target, vfs_options, fs_options):
        self.target = target
        self.vfs_options = vfs_options
        self.fs_options = fs_options


class Table:
    """A mountinfo file."""

    def __init__(self, path):
        self.entries = []
        with open(path, encoding="utf-8") as f:
            for line in f:
                before, separator, after = line.rstrip("\n").partition(" - ")
                if separator:
                    fields = before.split(" ")
                    self.entries.append(FileSystem(fields[4], fields[5], after.split(" ")[2]))

    def find_target(self, target):
        """The topmost mount there, or None."""
        return next((e for e in reversed(self.entries) if e.target == target), None)
