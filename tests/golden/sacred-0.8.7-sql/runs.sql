BEGIN TRANSACTION;
CREATE TABLE artifact (
	artifact_id INTEGER NOT NULL, 
	filename VARCHAR(64), 
	content BLOB, 
	run_id VARCHAR(24), 
	PRIMARY KEY (artifact_id), 
	FOREIGN KEY(run_id) REFERENCES run (run_id)
);
INSERT INTO "artifact" VALUES(1,'model.bin',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF','0');
INSERT INTO "artifact" VALUES(2,'model.bin',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF','2');
INSERT INTO "artifact" VALUES(3,'model.bin',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF','baseline');
CREATE TABLE dependency (
	dependency_id INTEGER NOT NULL, 
	name VARCHAR(32), 
	version VARCHAR(16), 
	PRIMARY KEY (dependency_id)
);
INSERT INTO "dependency" VALUES(1,'numpy','2.4.6');
INSERT INTO "dependency" VALUES(2,'sacred','0.8.7');
CREATE TABLE experiment (
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(32), 
	md5sum VARCHAR(32), 
	base_dir VARCHAR(64), 
	PRIMARY KEY (experiment_id)
);
INSERT INTO "experiment" VALUES(1,'digits','6a21ec3a86f18b57b72cad51d8503e47','/home/user/digits');
CREATE TABLE experiments_dependencies (
	experiment_id INTEGER, 
	dependency_id INTEGER, 
	FOREIGN KEY(experiment_id) REFERENCES experiment (experiment_id), 
	FOREIGN KEY(dependency_id) REFERENCES dependency (dependency_id)
);
INSERT INTO "experiments_dependencies" VALUES(1,2);
INSERT INTO "experiments_dependencies" VALUES(1,1);
CREATE TABLE experiments_repositories (
	experiment_id INTEGER, 
	repository_id INTEGER, 
	FOREIGN KEY(experiment_id) REFERENCES experiment (experiment_id), 
	FOREIGN KEY(repository_id) REFERENCES repository (repository_id)
);
CREATE TABLE experiments_sources (
	experiment_id INTEGER, 
	source_id INTEGER, 
	FOREIGN KEY(experiment_id) REFERENCES experiment (experiment_id), 
	FOREIGN KEY(source_id) REFERENCES source (source_id)
);
INSERT INTO "experiments_sources" VALUES(1,1);
CREATE TABLE host (
	host_id INTEGER NOT NULL, 
	cpu VARCHAR(64), 
	hostname VARCHAR(64), 
	os VARCHAR(16), 
	os_info VARCHAR(64), 
	python_version VARCHAR(16), 
	PRIMARY KEY (host_id)
);
INSERT INTO "host" VALUES(1,'AMD EPYC','node7','Linux','Linux-6.1-x86_64','3.11.7');
CREATE TABLE repository (
	repository_id INTEGER NOT NULL, 
	url VARCHAR(2048), 
	"commit" VARCHAR(40), 
	dirty BOOLEAN, 
	PRIMARY KEY (repository_id)
);
CREATE TABLE resource (
	resource_id INTEGER NOT NULL, 
	filename VARCHAR(256), 
	md5sum VARCHAR(32), 
	content BLOB, 
	PRIMARY KEY (resource_id)
);
INSERT INTO "resource" VALUES(1,'/data/in.txt','5eab6e4debca862083de92e615a99764',X'776861742077617320726561640A');
CREATE TABLE run (
	id INTEGER NOT NULL, 
	run_id VARCHAR(24), 
	command VARCHAR(64), 
	start_time DATETIME, 
	heartbeat DATETIME, 
	stop_time DATETIME, 
	queue_time DATETIME, 
	priority FLOAT, 
	comment TEXT, 
	fail_trace TEXT, 
	captured_out TEXT, 
	config TEXT, 
	info TEXT, 
	status VARCHAR(11), 
	host_id INTEGER, 
	experiment_id INTEGER, 
	result FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (run_id), 
	FOREIGN KEY(host_id) REFERENCES host (host_id), 
	FOREIGN KEY(experiment_id) REFERENCES experiment (experiment_id)
);
INSERT INTO "run" VALUES(1,'0','main','2026-11-21 09:50:48.987112','2026-11-21 09:50:49.368697','2026-11-21 09:50:49.368447',NULL,0.0,'',NULL,'epoch 1
wörld
','{"lr": 0.1, "layers": [64, 32], "net": {"depth": 2, "name": "gr\u00f6\u00dfe"}, "array": {"py/object": "numpy.ndarray", "dtype": "float64", "values": [0.0, 1.0, 2.0]}, "seed": 493827770}','{"best": {"step": 3, "value": {"py/object": "numpy.float64", "dtype": "float64", "value": 0.5}}}','COMPLETED',1,1,0.2);
INSERT INTO "run" VALUES(2,'2','main','2026-11-21 09:50:49.448238','2026-11-21 09:50:49.592053','2026-11-21 09:50:49.592577',NULL,0.0,'','Traceback (most recent call last):

  File "/env/lib/python3.11/site-packages/sacred/config/captured_function.py", line 42, in captured_function
    result = wrapped(*args, **kwargs)
             ^^^^^^^^^^^^^^^^^^^^^^^^

  File "/home/user/digits/make.py", line 48, in main
    raise ValueError("lr is negative")

ValueError: lr is negative
','','{"lr": -1, "layers": [64, 32], "net": {"depth": 2, "name": "gr\u00f6\u00dfe"}, "array": {"py/object": "numpy.ndarray", "dtype": "float64", "values": [0.0, 1.0, 2.0]}, "seed": 737625587}','{"best": {"step": 3, "value": {"py/object": "numpy.float64", "dtype": "float64", "value": 0.5}}}','FAILED',1,1,NULL);
INSERT INTO "run" VALUES(3,'baseline','main','2026-11-21 09:50:49.628648','2026-11-21 09:50:49.684134','2026-11-21 09:50:49.683956',NULL,0.0,'the baseline',NULL,'epoch 1
wörld
','{"lr": 0.2, "layers": [64, 32], "net": {"depth": 2, "name": "gr\u00f6\u00dfe"}, "array": {"py/object": "numpy.ndarray", "dtype": "float64", "values": [0.0, 1.0, 2.0]}, "seed": 523620428}','{"best": {"step": 3, "value": {"py/object": "numpy.float64", "dtype": "float64", "value": 0.5}}}','COMPLETED',1,1,0.4);
CREATE TABLE runs_resources (
	run_id VARCHAR(24), 
	resource_id INTEGER, 
	FOREIGN KEY(run_id) REFERENCES run (run_id), 
	FOREIGN KEY(resource_id) REFERENCES resource (resource_id)
);
INSERT INTO "runs_resources" VALUES('0',1);
INSERT INTO "runs_resources" VALUES('2',1);
INSERT INTO "runs_resources" VALUES('baseline',1);
CREATE TABLE source (
	source_id INTEGER NOT NULL, 
	filename VARCHAR(256), 
	md5sum VARCHAR(32), 
	content TEXT, 
	PRIMARY KEY (source_id)
);
INSERT INTO "source" VALUES(1,'make.py','7efbebc15427ebbbd6e2c8b91bfdfbe8','"""Make runs.sql: three runs that Sacred 0.8.7 wrote into SQLite.

In an environment of its own::

    pip install sacred==0.8.7 ''setuptools<81'' ''sqlalchemy<2'' numpy
    python make.py            # writes runs.sql beside itself; `python make.py URL` writes into another database

In runs.sql as it is kept, the names of the host and of the environment were replaced.
"""

import os
import sqlite3
import sys
import tempfile

import numpy
from sacred import Experiment
from sacred.observers import SqlObserver
from sacred.settings import SETTINGS

HERE = os.path.dirname(os.path.abspath(__file__))
SETTINGS.CAPTURE_MODE = "sys"


def experiment(url):
    ex = Experiment("digits", save_git_info=False)
    ex.observers.append(SqlObserver(url))

    @ex.config
    def config():
        lr = 0.1
        layers = (64, 32)
        net = {"depth": 2, "name": "größe"}
        array = numpy.arange(3.0)

    @ex.main
    def main(lr, _run):
        print("epoch 1\nwörld")
        _run.info["best"] = {"step": 3, "value": numpy.float64(0.5)}
        _run.log_scalar("loss", 0.5)
        with open("in.txt", "w") as stream:
            stream.write("what was read\n")
        _run.add_resource("in.txt")
        with open("out.bin", "wb") as stream:
            stream.write(bytes(range(256)))
        _run.add_artifact("out.bin", name="model.bin")
        if lr < 0:
            raise ValueError("lr is negative")
        return lr * 2

    return ex


def main():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    url = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///runs.db"
    experiment(url).run()
    try:
        experiment(url).run(config_updates={"lr": -1})
    except ValueError:
        pass
    experiment(url).run(config_updates={"lr": 0.2}, options={"--id": "baseline", "--comment": "the baseline"})
    if len(sys.argv) == 1:
        with sqlite3.connect("runs.db") as database, open(os.path.join(HERE, "runs.sql"), "w", encoding="utf-8") as out:
            out.write("\n".join(database.iterdump()) + "\n")


if __name__ == "__main__":
    main()
');
COMMIT;
