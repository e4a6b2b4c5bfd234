"""What Windows lacks, taken away from a process before it runs a test's code."""

# Libraries and the standard one have a part for each system; those of this one are
# imported before anything is taken away.
BARE = """
import asyncio, builtins, io, os, sys
import av, cv2, diffusers, gradio, psutil, torch, transformers

total = psutil.virtual_memory().total
for name in ("resource", "fcntl", "termios", "pwd", "grp"):
    sys.modules[name] = None
for name in ("sysconf", "fork", "getpriority", "setpriority"):
    delattr(os, name)

def closed(inner):
    def opened(file, *given, **how):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if str(file).startswith("/proc") and not caller.startswith("psutil"):
            raise FileNotFoundError(file)
        return inner(file, *given, **how)
    return opened

builtins.open = io.open = closed(open)
os.open = closed(os.open)

def no_links(*given, **how):
    raise OSError("symbolic links need a privilege")

os.symlink = no_links
"""
