"""Where jobs run, a file each: `local` is this machine."""
