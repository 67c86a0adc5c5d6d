# ruff: noqa: E501 - a script is one line here where it can be
"""Python scripts that do what few do, for comparing how they fare when forked with how they fare on their own.

Each prints what it sees, and nothing that differs from run to run. `HERE` is the folder of the script.
"""

LIST = """\
import sys
if sys.argv[1:] == ["list"]:
    print('{"run": {}}')
    sys.exit()
"""

EXITS = {
    "falls off its end": "print(1)",
    "exit with nothing": "print(1); sys.exit()",
    "exit 0": "sys.exit(0)",
    "exit 3": "print(1); sys.exit(3)",
    "exit 300": "sys.exit(300)",
    "exit -1": "sys.exit(-1)",
    "exit with a huge number": "sys.exit(2 ** 70)",
    "exit with a bool": "sys.exit(True)",
    "exit with text": "print(1); sys.exit('it failed')",
    "exit with a tuple": "sys.exit((1, 'two'))",
    "exit with a float": "sys.exit(2.5)",
    "exit with an object that cannot be shown": "class C:\n    def __str__(self): raise ValueError\nsys.exit(C())",
    "exit of its own kind": "class E(SystemExit): pass\nraise E(4)",
    "exit in a function": "def f():\n    try:\n        sys.exit(5)\n    finally:\n        print('finally')\nf()",
    "exit by the builtin": "exit(6)",
    "quit with text": "quit('bye')",
    "at once": "import os; print('lost'); os._exit(7)",
    "at once after flushing": "import os; print('kept', flush=True); os._exit(8)",
    "at once in a function called at exit": "import atexit, os; atexit.register(lambda: os._exit(9)); print('lost')",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "import os, signal; print('lost'); os.kill(os.getpid(), signal.SIGTERM)",
    "aborted": "import os; os.abort()",
    "interrupted": "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)",
    "becomes another program": "import os; print(1, flush=True); os.execv('/bin/echo', ['echo', 'two'])",
}

ERRORS = {
    "an error": "raise ValueError('no')",
    "an error in functions": "def f(n):\n    if n: f(n - 1)\n    else: raise KeyError('x')\nf(3)",
    "one from another": "try:\n    {}['a']\nexcept KeyError as error:\n    raise RuntimeError('b') from error",
    "one while another is handled": "try:\n    {}['a']\nexcept KeyError:\n    1 / 0",
    "one without context": "try:\n    {}['a']\nexcept KeyError:\n    raise OSError(2, 'x') from None",
    "a class of its own": "class Odd(Exception): pass\nraise Odd",
    "BaseException": "raise BaseException('base')",
    "GeneratorExit": "raise GeneratorExit",
    "KeyboardInterrupt": "print(1); raise KeyboardInterrupt",
    "text that cannot be encoded": "print('\\udcff')",
    "text of an error that cannot be encoded": "raise ValueError('\\udcff \\u20ac')",
    "an error that cannot be shown": "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
    "a mistake in compiled text": "exec('a b')",
    "a mistake in a module beside it": "import broken",
    "a module that there is not": "import no_such_module",
    "import beside a package": "from . import helper",
    "a hook of its own": "sys.excepthook = lambda *a: print('hook', a[0], a[1], a[2].tb_frame.f_code.co_name)\n1 / 0",
    "a hook that looks at the last error": "sys.excepthook = lambda *a: print(sys.last_type, sys.last_value)\n1 / 0",
    "a hook that exits": "sys.excepthook = lambda *a: sys.exit(11)\n1 / 0",
    "no hook": "del sys.excepthook\n1 / 0",
    "an error caught and shown": "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
    "an error logged": "import logging\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.exception('oh')",
    "no memory": "raise MemoryError",
    "an assertion": "assert 1 == 2, 'not so'",
    "a warning": "import warnings; warnings.warn('old', DeprecationWarning); warnings.warn('odd')",
    "a notable group": "raise ExceptionGroup('g', [ValueError(1), KeyError(2)])",
}

ENDINGS = {
    "atexit": "import atexit\nfor n in range(3): atexit.register(print, n)\nprint('end')",
    "atexit after an error": "import atexit; atexit.register(print, 'at exit'); 1 / 0",
    "atexit after exit": "import atexit; atexit.register(print, 'at exit'); sys.exit(3)",
    "an error in atexit": "import atexit\natexit.register(print, 'last')\natexit.register(lambda: 1 / 0)",
    "exit in atexit": "import atexit; atexit.register(sys.exit, 5); print(1)",
    "atexit registers more": "import atexit\natexit.register(lambda: atexit.register(print, 'more'))\nprint('end')",
    "atexit and its own file": "import atexit\natexit.register(lambda: print('__file__' in globals()))",
    "atexit and its own file after exit": "import atexit\natexit.register(lambda: print('__file__' in globals()))\nexit(2)",
    "atexit and its own file after an error": "import atexit\natexit.register(lambda: print('__file__' in globals()))\n1/0",
    "a destructor": "class C:\n    def __del__(self): print('del')\nc = C()\nprint('end')",
    "destructors in a circle": "class C:\n    def __del__(self): print('del')\nc = C(); c.c = c\nprint('end')",
    "a destructor that uses a module": "import json\nclass C:\n    def __del__(self): print(json.dumps([1]))\nc = C()",
    "a destructor that fails": "class C:\n    def __del__(self): 1 / 0\nc = C()",
    "a destructor of a private name": "class C:\n    def __init__(self, n): self.n = n\n"
    "    def __del__(self): print(self.n)\nb = C('b'); _a = C('a')\ndef f(): return b, _a",
    "a generator in the middle": "def g():\n    try:\n        yield 1\n    finally:\n        print('finally')\nx = g(); next(x)",
    "weakref.finalize": "import weakref\nclass C: pass\nc = C(); weakref.finalize(c, print, 'finalized')",
    "a temporary directory": "import tempfile, os\nt = tempfile.TemporaryDirectory()\nopen('HERE/name', 'w').write(t.name)",
    "a file left open": "f = open('HERE/left', 'w'); f.write('all of it' * 1000)",
    "a file left open by a function": "def f():\n    global g\n    g = open('HERE/left', 'w'); g.write('x')\nf()\ndef h(): return g",
    "a file left open in a circle": "class C: pass\nc = C(); c.f = open('HERE/left', 'w'); c.f.write('x'); c.c = c; del c",
    "a file left open in another module": "import helper; helper.log = open('HERE/left', 'w'); helper.log.write('x')",
    "a file left open among the builtins": "import builtins; builtins.log = open('HERE/left', 'w'); log.write('x')",
    "a file left open in a standard module": "import json; json.log = open('HERE/left', 'wb'); json.log.write(b'x')",
    "standard output to a file": "sys.stdout = open('HERE/left', 'w'); print('x')",
    "standard output to memory": "import io; sys.stdout = io.StringIO(); print('x')",
    "no standard output": "sys.stdout = None; print('x')",
    "an odd standard output": "class S:\n    def write(self, t): sys.__stdout__.write(t.upper())\nsys.stdout = S(); print('x')",
    "standard output closed": "print('kept'); sys.stdout.close()",
    "descriptor 1 closed": "import os; print('lost'); os.close(1)",
    "descriptor 1 closed and exit 3": "import os; print('lost'); os.close(1); sys.exit(3)",
    "descriptor 2 closed": "import os; sys.stderr.write('x'); os.close(2); print(1)",
    "nobody reads": "import os\nr, w = os.pipe(); os.close(r); os.dup2(w, 1); print('x' * 100000)",
    "the interpreter's state at exit": "import atexit\natexit.register(lambda: print(sys.is_finalizing(), __name__))",
}

THREADS = {
    "a thread that ends later": "import threading, time\ndef f():\n    time.sleep(0.1); print('thread')\n"
    "threading.Thread(target=f).start()\nprint('main')",
    "a thread that ends later, and exit 3": "import threading, time\ndef f():\n    time.sleep(0.1); print('thread')\n"
    "threading.Thread(target=f).start()\nsys.exit(3)",
    "a daemon that never ends": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\nprint('main')",
    "an error in a thread": "import threading\ndef f(): raise ValueError('in a thread')\n"
    "t = threading.Thread(target=f, name='T'); t.start(); t.join()",
    "exit in a thread": "import threading\nt = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join(); print(1)",
    "a timer": "import threading; threading.Timer(0.1, print, ('timer',)).start()",
    "a pool": "from concurrent.futures import ThreadPoolExecutor\np = ThreadPoolExecutor(2)\n"
    "print(sorted(p.map(abs, [-1, -2])))",
    "names of threads": "import threading\nprint(threading.main_thread().name, threading.current_thread().name, "
    "threading.active_count(), threading.main_thread() is threading.current_thread(), "
    "threading.get_native_id() == __import__('os').getpid())",
    "thread locals": "import threading\nl = threading.local(); l.x = 1; print(l.x)",
    "asyncio": "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    return 1\nprint(asyncio.run(f()))",
    "asyncio with processes": "import asyncio\nasync def f():\n"
    "    p = await asyncio.create_subprocess_exec('echo', 'x', stdout=-1)\n"
    "    return await p.communicate()\nprint(asyncio.run(f()))",
}

PROCESSES = {
    "run": "import subprocess; print(subprocess.run(['cat'], input=b'x', stdout=-1).stdout)",
    "run that inherits": "import subprocess; print('first', flush=True); subprocess.run(['echo', 'second'])",
    "run that reads our input": "import subprocess; subprocess.run(['cat'])",
    "system": "import os; print(os.system('exit 3'))",
    "popen": "import os; print(os.popen('echo x; exit 2').read())",
    "what a child inherits": "import subprocess\nprint(subprocess.run('pwd; umask; env | sort; ls /proc/self/fd; "
    "grep SigBlk /proc/self/status; trap', shell=True, stdout=-1).stdout.decode())",
    "a child in the background": "import subprocess; subprocess.Popen(['sleep', '0.2'], stdout=-3); print(1)",
    "fork": "import os\nprint('before', flush=True)\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint('both')",
    "fork and exit": "import os\npid = os.fork()\nif pid == 0: sys.exit(4)\nprint(os.waitpid(pid, 0)[1])",
    "fork and an error": "import os\npid = os.fork()\nif pid == 0: 1 / 0\nprint(os.waitpid(pid, 0)[1])",
    "fork with something buffered": "import os\nprint('twice')\npid = os.fork()\nif pid: os.waitpid(pid, 0)",
    "no children of somebody else": "import os\ntry: os.wait()\nexcept ChildProcessError as e: print(e)",
    "multiprocessing": "import multiprocessing as m\ndef f(x): return x * x\n"
    "if __name__ == '__main__':\n    with m.get_context('fork').Pool(2) as p: print(p.map(f, [1, 2, 3]))",
    "multiprocessing by spawn": "import multiprocessing as m\ndef f(q): q.put(__name__)\n"
    "if __name__ == '__main__':\n    c = m.get_context('spawn'); q = c.Queue(); p = c.Process(target=f, args=(q,))\n"
    "    p.start(); print(q.get(timeout=20)); p.join(); print(p.exitcode)",
    "multiprocessing that fails": "import multiprocessing as m\ndef f(): sys.exit(3)\n"
    "p = m.get_context('fork').Process(target=f); p.start(); p.join(); print(p.exitcode)",
    "session": "import os; print(os.getpid() == os.getpgrp() == os.getsid(0))",
    "setsid": "import os\ntry: os.setsid()\nexcept PermissionError as e: print(e)",
}

INPUT = {
    "all": "print(repr(sys.stdin.read()))",
    "late": "import time; time.sleep(0.1); print(repr(sys.stdin.read()))",
    "bytes": "print(sys.stdin.buffer.read())",
    "line by line": "print([line for line in sys.stdin])",
    "input()": "print(input()); print(input())",
    "nothing": "print(1)",
    "after the end": "sys.stdin.read(); print(repr(sys.stdin.read()))\ntry: input()\nexcept EOFError as e: print(e)",
    "json": "import json; print(json.load(sys.stdin))",
    "descriptor": "import os; print(os.read(0, 5)); print(sys.stdin.read())",
    "open": "print(open(0).read())",
    "of a kind": "print(sys.stdin.isatty(), sys.stdin.encoding, sys.stdin.errors, sys.stdin.mode, sys.stdin.name, "
    "sys.stdin.fileno(), sys.stdin.seekable(), sys.stdin.buffer.raw)",
}

OUTPUT = {
    "much": "print('x' * 3_000_000)",
    "bytes": "sys.stdout.buffer.write(b'\\xff\\x00')",
    "mixed": "print(1); sys.stdout.flush(); import os; os.write(1, b'2\\n'); print(3)",
    "accents": "print('\\u20ac \\u00fc')",
    "to standard error": "print('x', file=sys.stderr); sys.stderr.write('\\u20ac\\udcff')",
    "of a kind": "print([(s.isatty(), s.encoding, s.errors, s.mode, s.name, s.line_buffering, s.write_through, "
    "s.newlines, s.fileno(), s.seekable(), s.buffer.raw) for s in (sys.stdout, sys.stderr)])",
    "another encoding": "sys.stdout.reconfigure(encoding='latin-1'); print('\\u00fc')",
    "progress": "import os; os.write(3, b'{\"progress\": 5}\\n'); print(1)",
    "descriptors": "import os; print(sorted(os.listdir('/proc/self/fd'), key=int)); print(os.open('/dev/null', 0))",
}

SURROUNDINGS = {
    "its namespace": "print({n: v for n, v in globals().items() if n not in ('sys', '__builtins__', '__loader__')}); "
    "print(list(globals())); print(type(__builtins__), __builtins__)",
    "its documentation": "'''not the first statement'''\nprint(__doc__)",
    "its loader": "print(type(__loader__), vars(__loader__), __loader__.get_filename('__main__'))",
    "itself as a module": "import __main__; print(__main__.__dict__ is globals(), __main__.__spec__, repr(__main__))",
    "annotations": "x: int = 5\nprint(__annotations__)",
    "arguments": "print(sys.argv, getattr(sys, 'orig_argv', None))",
    "path": "print(sys.path)",
    "flags": "print(sys.flags, sys.warnoptions, sys._xoptions, sys.dont_write_bytecode)",
    "interpreter": "print(sys.executable, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.version, sys.platlibdir)",
    "limits": "import resource\nprint(sys.getrecursionlimit(), sys.getswitchinterval(), "
    "[resource.getrlimit(n) for n in range(16)])",
    "encodings": "import locale\nprint(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), "
    "sys.getdefaultencoding(), locale.getpreferredencoding(), locale.setlocale(locale.LC_ALL), "
    "locale.getlocale())",
    "garbage": "import gc; print(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.callbacks, gc.garbage)",
    "environment": "import os; print(sorted(os.environ.items()))",
    "place": "import os; print(os.getcwd(), oct(os.umask(0)))",
    "name": "print(open('/proc/self/comm').read())",
    "signals": "import signal\nprint([signal.getsignal(n) for n in sorted(signal.valid_signals())]); "
    "print(signal.pthread_sigmask(signal.SIG_BLOCK, [])); print(signal.set_wakeup_fd(-1)); print(signal.getitimer(0))",
    "signals of the kernel": "print([l for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigCgt'))])",
    "hooks": "print(sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__, sys.gettrace(), "
    "sys.getprofile(), sys.meta_path, len(sys.path_hooks))",
    "user": "import os, pwd; print(os.getuid(), os.geteuid(), os.getgid(), os.getgroups(), os.path.expanduser('~'))",
    "how long it has run": "import time, logging; r = logging.makeLogRecord({}); "
    "print(time.process_time() < 5, r.relativeCreated is None or r.relativeCreated < 60000)",
    "time zone": "import time; print(time.tzname, time.timezone)",
    "source": "import inspect\ndef f(): return 1\nprint(inspect.getsource(f))",
    "pickle": "import pickle\nclass C: pass\nprint(type(pickle.loads(pickle.dumps(C()))) is C, pickle.dumps(C))",
    "caches": "print(sorted(k for k in sys.path_importer_cache if 'appliance' in k))",
    "modules of its own": "import helper, package.inner; print(helper.NAME, package.inner.NAME, helper.__file__)",
    "modules that have our names": "import calls, process, scripts, ending; print(calls, process, scripts, ending)",
    "its frame": "f = sys._getframe(); print(f.f_code.co_name, f.f_code.co_filename, f.f_lineno, f.f_globals is globals())",
    "warnings filters": "import warnings; print(warnings.filters)",
    "standard modules": "print([n for n in ('os', 'site', 'codecs', 'io', 'abc') if n not in sys.modules])",
}

CHANGES = {
    "the directory": "import os; os.chdir('/tmp'); print(os.getcwd()); print(open('/proc/self/cwd/../etc/hostname').name)",
    "the umask": "import os; os.umask(0o027); os.close(os.open('HERE/left', os.O_CREAT | os.O_WRONLY, 0o666)); "
    "print(oct(os.stat('HERE/left').st_mode))",
    "signals": "import os, signal\nsignal.signal(signal.SIGTERM, lambda *a: print('TERM'))\n"
    "os.kill(os.getpid(), signal.SIGTERM)\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint(1)",
    "an alarm": "import signal, time; signal.alarm(1); time.sleep(20)",
    "the environment": "import os; os.environ['X'] = 'y'; os.environ.pop('LANG'); print(sorted(os.environ.items()))",
    "the user": "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); print(os.getuid(), os.getresuid())",
    "limits": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)); print(open('/dev/null'))",
    "standard modules": "import json; json.dumps = None; import os; os.sep = 'x'; print(1)",
    "builtins": "import builtins; builtins.print = None",
    "modules": "import sys; sys.modules.pop('json', None); import json; print(json.dumps(1))",
    "modules put there anew": "import helper; sys.modules.pop('helper'); import helper, json; sys.modules['odd'] = json; print(1)",
    "modules in C": "import ctypes; ctypes.CDLL(None).printf(b'from C\\n')",
    "filters of warnings": "import warnings; warnings.simplefilter('always'); f = open('HERE/left', 'w')",
    "a trace": "sys.settrace(lambda frame, event, value: print(event, frame.f_code.co_name))",
    "a lock that is held": "import threading; threading.Lock().acquire(); lock = threading.RLock(); lock.acquire()",
    "the garbage collector": "import gc; gc.disable(); gc.freeze(); print(gc.get_freeze_count() > 0)",
    "the recursion limit": "sys.setrecursionlimit(200)\ndef f(): f()\ntry: f()\nexcept RecursionError: print('deep')",
    "all its arguments": "sys.argv.clear(); sys.path.clear(); print(sys.argv, sys.path)",
}

GROUPS = {
    "exits": EXITS,
    "errors": ERRORS,
    "endings": ENDINGS,
    "threads": THREADS,
    "processes": PROCESSES,
    "input": INPUT,
    "output": OUTPUT,
    "surroundings": SURROUNDINGS,
    "changes": CHANGES,
}
