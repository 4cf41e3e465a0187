"""How long a test waits for a process before it takes it for hung.

On a busy machine a start of two ranks takes minutes, so this is no bound on speed.
subprocess.TimeoutExpired names the command that was waited for.
"""

HANG_S = 1800
