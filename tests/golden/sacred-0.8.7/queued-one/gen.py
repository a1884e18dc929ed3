import os
import numpy as np
from sacred import Experiment, SETTINGS
from sacred.observers import FileStorageObserver
SETTINGS.CAPTURE_MODE = "sys"
SETTINGS.HOST_INFO.INCLUDE_CPU_INFO = False
ex = Experiment("digits", base_dir=os.path.dirname(os.path.abspath(__file__)))
ex.observers.append(FileStorageObserver("store"))
@ex.config
def c():
    seed = 42
    lr = 0.1
    layers = (64, 32)
    nested = {"layers": {"shape": [1, 2]}, "byid": {1: "one", 2: "two"}}
    fail = False
ex.add_config({"pair": (1, 2), "arr": np.array([1.0, 2.0])})
@ex.main
def main(_run, lr, layers, fail):
    print("hello"); print("wörld")
    for i in range(3):
        _run.log_scalar("loss", 1/(i+1), i*10)
    _run.log_scalar("acc.test", 5)
    _run.log_scalar("diverged", float("nan"))
    _run.info["vec"] = np.arange(3)
    _run.info["t"] = (1, 2)
    open("in.txt","w").write("input data\n")
    open("plot.txt","w").write("artifact data\n")
    with _run.open_resource("in.txt") as f: f.read()
    _run.add_artifact("plot.txt")
    _run.add_artifact("plot.txt", name="other.txt", metadata={"k":1})
    if fail: raise ValueError("asked to fail")
    return {"score": np.float64(0.5), "pair": (1, 2)}
ex.run()
try: ex.run(config_updates={"fail": True})
except ValueError: pass
ex.run(options={"--queue": True, "--id": "queued-one"})
