"""Where each name of Sacred 0.8 is: modules to look in, and what to use in place of those that are not there."""

from __future__ import annotations

_NAMES = "capture.compat.names."
_OPTIONS, _CONFIG, _CONTAINERS = _NAMES + "commandline_options", _NAMES + "config_utils", _NAMES + "custom_containers"
_OBSERVER = ("capture.observers", _NAMES + "priorities", _OPTIONS, "capture.commandline_options", "capture.serializer")
_FILES = (*_OBSERVER, _NAMES + "dependencies")
_NOTIFIER = (*_OBSERVER, "capture.config", _NAMES + "base")

#: Sacred's module, without "sacred." -> modules of this library in which its names are looked up, in this order
MODULES: dict[str, tuple[str, ...]] = {
    "": (_NAMES + "about", "capture"),
    "__about__": (_NAMES + "about",),
    "arg_parser": (_NAMES + "arg_parser", _OPTIONS, "capture.serializer", "capture.settings", "capture.utils"),
    "commandline_options": (
        *(_OPTIONS, "capture.commandline_options", "capture.run", _NAMES + "commands", "capture.utils"),
    ),
    "commands": (_NAMES + "commands", "capture.config", "capture.serializer", "capture.utils"),
    "config": ("capture.config", _CONFIG, _NAMES + "captured_function"),
    "config.captured_function": (
        *(_NAMES + "captured_function", _NAMES + "signature", _CONTAINERS, "capture.randomness", "capture.utils"),
    ),
    "config.config_dict": ("capture.config", _CONFIG),
    "config.config_files": ("capture.config", "capture.serializer"),
    "config.config_scope": (
        *("capture.config", _CONFIG, _NAMES + "signature", "capture.settings", "capture.utils"),
    ),
    "config.config_summary": ("capture.config.summary", "capture.utils"),
    "config.custom_containers": (_CONTAINERS, "capture.utils"),
    "config.signature": (_NAMES + "signature", "capture.utils"),
    "config.utils": (_CONFIG, "capture.settings"),
    "dependencies": (_NAMES + "dependencies", "capture.settings", "capture.utils"),
    "experiment": (
        *("capture.experiment", "capture.ingredient", _NAMES + "experiment", _OPTIONS, _NAMES + "initialize"),
        *("capture.run", "capture.host_info", "capture.settings", _NAMES + "commands", _NAMES + "arg_parser"),
        *(_NAMES + "signature", "capture.utils", _NAMES + "utils"),
    ),
    "host_info": ("capture.host_info", "capture.settings", "capture.utils"),
    "ingredient": ("capture.ingredient", "capture.config", _NAMES + "captured_function", "capture.utils"),
    "initialize": (
        *(_NAMES + "initialize", "capture.run", "capture.config", "capture.settings", "capture.host_info"),
        *(_CONFIG, _CONTAINERS, "capture.randomness", "capture.utils"),
    ),
    "metrics_logger": (_NAMES + "metrics_logger",),
    "observers": ("capture.observers",),
    "observers.base": (_NAMES + "base",),
    "observers.file_storage": _FILES,
    "observers.gcs_observer": _FILES,
    "observers.mongo": (*_FILES, "capture.observers.mongo", _NAMES + "mongo", "capture.utils"),
    "observers.queue": (*_OBSERVER, "capture.utils"),
    "observers.s3_observer": _FILES,
    "observers.slack": _NOTIFIER,
    "observers.sql": _OBSERVER,
    "observers.telegram_obs": _NOTIFIER,
    "observers.tinydb_hashfs": _OBSERVER,
    "observers.tinydb_hashfs.tinydb_hashfs": (_NAMES + "about", *_OBSERVER),
    "optional": (_NAMES + "optional",),
    "randomness": ("capture.randomness", "capture.settings", _NAMES + "utils"),
    "run": ("capture.run", _NAMES + "metrics_logger", "capture.randomness", "capture.settings", "capture.utils"),
    "serializer": ("capture.serializer",),
    "settings": ("capture.settings", _NAMES + "settings", "capture.utils"),
    "stdout_capturing": (_NAMES + "stdout_capturing", "capture.settings"),
    "stflow": ("capture.stflow",),
    "stflow.method_interception": ("capture.stflow",),
    "utils": ("capture.utils", _NAMES + "utils"),
}

#: modules of Sacred's that its other modules have under a name of their own
ALIASES = {"opt": "optional", "metrics_logger": "metrics_logger", "commandline_options": "commandline_options"}

#: what ``from sacred.MODULE import *`` gives
PUBLIC: dict[str, str] = {
    "": "Experiment Ingredient SETTINGS __author__ __author_email__ __url__ __version__ cli_option host_info_gatherer"
    " host_info_getter observers",
    "__about__": "__author__ __author_email__ __url__ __version__",
    "arg_parser": "format_usage get_config_updates",
    "commands": "help_for_command print_config print_dependencies print_named_configs save_config",
    "config": "ConfigDict ConfigScope chain_evaluate_config_scopes create_captured_function dogmatize"
    " load_config_file save_config_file undogmatize",
    "config.config_files": "load_config_file save_config_file",
    "experiment": "Experiment",
    "host_info": "get_host_info host_info_gatherers host_info_getter",
    "ingredient": "Ingredient",
    "observers": "FileStorageObserver GoogleCloudStorageObserver MongoObserver QueueObserver QueuedMongoObserver"
    " RunObserver S3Observer SlackObserver SqlObserver TelegramObserver TinyDbObserver TinyDbReader",
    "observers.base": "RunObserver td_format",
    "observers.tinydb_hashfs": "TinyDbObserver TinyDbReader tiny_db_option",
    "serializer": "flatten restore",
    "settings": "SETTINGS SettingError",
    "stflow": "LogFileWriter",
    "utils": "CircularDependencyError IntervalTimer NO_LOGGER ObserverError PYTHON_IDENTIFIER PathType SacredInterrupt"
    " TimeoutInterrupt apply_backspaces_and_linefeeds convert_camel_case_to_snake_case convert_to_nested_dict"
    " create_basic_stream_logger get_by_dotted_path get_inheritors is_prefix iter_prefixes iterate_flattened"
    " iterate_flattened_separately join_paths optional_kwargs_decorator print_filtered_stacktrace recursive_update"
    " rel_path set_by_dotted_path",
}

#: (Sacred's module, names of its that are not here, what to use in their place)
_GONE = [
    ("arg_parser", "USAGE_TEMPLATE", "ex.get_usage()"),
    ("commandline_options", "help_option", "ex.get_usage()[1]"),
    ("commands", "ConfigEntry PathEntry LEGEND", "capture.commands.print_config, or ex.build_config() for the values"),
    (
        "config.config_files",
        "HANDLER_BY_EXT Handler get_handler load_yaml yaml_extensions yaml_handler",
        "load_config_file and save_config_file, which go by the ending of the file's name",
    ),
    (
        "config.config_scope",
        "COMMENT add_doc dedent_function_body dedent_line find_doc_for get_config_comments get_function_body"
        " get_function_body_code is_empty_or_comment is_ignored iscomment",
        "ConfigScope(function).docs for what comments say; a scope stays a real function, whose text is not evaluated",
    ),
    (
        "config.custom_containers",
        "NP_FLOATS NP_INTS SIMPLIFY_TYPE",
        "type_changed(old, new), which takes numpy's numbers for Python's",
    ),
    (
        "config.custom_containers",
        "read_only_dict_representer read_only_list_representer",
        "yaml.dump as it is: it writes read-only dicts and lists as plain ones",
    ),
    ("config.signature", "ARG_TYPES POSARG_TYPES", "inspect.Parameter's kinds"),
    (
        "dependencies",
        "MODULE_BLACKLIST PackageDependency Source convert_path_to_module_parts dependency_discovery_strategies"
        " gather_sources_and_dependencies get_commit_if_possible get_dependencies_from_imported_modules"
        " get_dependencies_from_modules get_dependencies_from_pkg get_dependencies_from_sys_modules get_main_file"
        " get_py_file_if_possible get_sources_from_imported_modules get_sources_from_local_dir"
        " get_sources_from_modules get_sources_from_sys_modules is_local_source iterate_all_python_files"
        " iterate_imported_modules iterate_sys_modules source_discovery_strategies",
        "ex.get_experiment_info() for what a run records; ex.add_source_file(path) and"
        " ex.add_package_dependency(name, version) to add to it",
    ),
    (
        "ingredient",
        "PackageDependency Source collect_repositories gather_sources_and_dependencies",
        "ex.get_experiment_info()",
    ),
    ("observers.gcs_observer", "gcs_option", "the option -o gs://BUCKET/FOLDER"),
    ("observers.gcs_observer", "gcs_join", "'/'.join(...)"),
    ("observers.s3_observer", "s3_join", "'/'.join(...)"),
    (
        "observers.mongo",
        "QueueCompatibleMongoObserver",
        "MongoObserver: each observer has a queue of its own, and what fails is tried again",
    ),
    ("observers.mongo", "get_pattern parse_mongo_db_arg", "MongoObserver.from_argument(text)"),
    (
        "observers.queue",
        "WrappedEvent",
        "the observer itself: each has a queue of its own, and what fails is tried again",
    ),
    (
        "stdout_capturing",
        "CapturedStdout TeeingStreamProxy get_stdcapturer no_tee tee_output_fd tee_output_python",
        "SETTINGS.CAPTURE_MODE, contextlib.redirect_stdout outside of runs, or a subprocess of your own",
    ),
    ("run", "get_stdcapturer", "SETTINGS.CAPTURE_MODE"),
    ("stflow.method_interception", "ContextMethodDecorator tf", "LogFileWriter"),
    ("stflow", "internal", "LogFileWriter"),
    ("utils", "FilteredTracebackException", "format_filtered_stacktrace()"),
    ("", "pytee", "tee"),
    ("observers", "sql_bases", "capture.open_store(url) to read runs; the tables are described in docs/format.md"),
    ("observers.tinydb_hashfs", "bases", "capture.open_store(url), or TinyDbReader, to read runs"),
]

#: name of Sacred's, with its module -> what to use in its place
INSTEAD: dict[str, str] = {
    f"{module}.{name}" if module else name: instead for module, names, instead in _GONE for name in names.split()
}


def public_names(module: str) -> list[str]:
    """Return the names that ``from sacred.MODULE import *`` gives, [] where Sacred does not say."""
    return PUBLIC.get(module, "").split()
