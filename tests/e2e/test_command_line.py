"""What stands on the command line: options in every way engines write them, the log, the help."""

import datetime
import json
import os
import re
import subprocess

import pytest

from lib import proc
from lib.container import runtime

COMMANDS = ["completion", "create", "delete", "events", "exec", "features", "help", "kill", "list",
            "pause", "ps", "resume", "run", "spec", "start", "state", "update"]
SUB_COMMANDS = ["bundle create", "bundle shift", "spec generate", "spec import", "spec validate"]


# Options

@pytest.mark.parametrize("write", [
    lambda name, value: [f"--{name}={value}"],
    lambda name, value: [f"--{name}", value],
    lambda name, value: [f"-{name}={value}"],
    lambda name, value: [f"-{name}", value],
], ids=["--x=y", "--x y", "-x=y", "-x y"])
def test_options_can_be_written_in_four_ways(rt, container, write, work):
    c = container(["sleep", "1000"])
    c.write_config()
    root = work + "/another root"
    rt(*write("root", root), "run", "-detach", *write("bundle", c.dir),
       *write("pid-file", c.pid_file), c.id)
    assert os.path.isdir(f"{root}/{c.id}")
    assert proc.alive(c.pid)
    rt(*write("root", root), "delete", "-force", c.id)


@pytest.mark.parametrize("words", [
    ["-d", "-b", "{dir}", "{id}"], ["-b", "{dir}", "-d", "{id}"], ["{id}", "-d", "-b", "{dir}"],
    ["-b={dir}", "--detach=true", "{id}"], ["--detach=1", "--bundle", "{dir}", "--", "{id}"],
], ids=" ".join)
def test_letters_and_places_are_free(container, words):
    c = container(["sleep", "1000"])
    c.write_config()
    c.rt("run", *[w.format(dir=c.dir, id=c.id) for w in words], stdout=subprocess.DEVNULL)
    assert c.status == "running"


def test_a_flag_can_be_switched_off(container):
    c = container(["true"])
    c.write_config()
    c.rt("run", "--detach=false", "--keep=false", "--bundle", c.dir, c.id)
    assert not c.exists()


def test_the_last_of_several_counts(container):
    c = container(["true"])
    c.write_config()
    c.rt("run", "--bundle", "/nonexistent", "--bundle", c.dir, c.id)


def test_what_stands_after_the_id_of_exec_is_the_commands(running):
    c = running()
    assert c.exec("echo", "-n", "--tty", "--env", "x").out == "--tty --env x"
    assert c.exec("--", "echo", "--").out == "--\n"


@pytest.mark.parametrize("words, named", [
    (["--nosuch", "list"], "nosuch"),
    (["list", "--nosuch"], "nosuch"),
    (["list", "--nosuch=5"], "nosuch"),
    (["list", "-nosuch"], "nosuch"),
    (["list", "-x"], "x"),
    (["list", "--format"], "format"),
    (["list", "--format=xml"], "format"),
    (["list", "--quiet=perhaps"], "quiet"),
    (["list", "operand"], "list"),
    (["--log-format", "yaml", "list"], "log-format"),
    (["--rootless", "perhaps", "list"], "rootless"),
    (["--cgroup-manager", "none", "list"], "cgroup-manager"),
    (["run", "--preserve-fds", "-1", "x"], "preserve-fds"),
    (["run", "--preserve-fds", "many", "x"], "preserve-fds"),
    (["state"], "container-id"),
    (["state", "a", "b"], "state"),
    (["kill", "a", "b", "c"], "kill"),
    (["update", "--memory", "much", "x"], "memory"),
    (["update", "--pids-limit", "1.5", "x"], "pids-limit"),
    (["update", "--cpu-share", "-1", "x"], "cpu-share"),
    (["completion", "tcsh"], "tcsh"),
    (["nosuchcommand"], "nosuchcommand"),
    (["spec", "nosuch"], "'rt spec' has no command 'nosuch', only: "),
    (["spec", "nosuch", "validate"], "'rt spec' has no command 'nosuch', only: "),
    (["spec", "validate", "a", "b"], "'rt spec validate' takes [bundle|file|-]"),
    (["spec", "validate", "--nosuch"], "nosuch"),
    (["help", "nosuch"], "nosuch"),
    (["help", "spec", "nosuch"], "spec nosuch"),
    (["help", "kill", "validate"], "kill validate"),
    (["man", "spec", "nosuch"], "spec nosuch"),
    ([""], "command"),
], ids=lambda x: " ".join(x) if isinstance(x, list) else None)
def test_a_wrong_word_is_named_in_one_sentence(rt, words, named):
    result = rt(*words, ok=False)
    assert result.code == 1
    assert result.out == ""
    assert result.err.startswith("rt: ") and named in result.err
    assert len(result.err.splitlines()) == 1


def test_a_restore_option_without_its_argument_is_told_in_the_words_podman_looks_for(rt):
    assert "flag needs an argument" in rt("create", "--bundle", ok=False).err


def test_the_bundle_is_the_current_directory_by_default(container):
    c = container(["echo", "here"])
    c.write_config()
    assert c.rt("run", c.id, cwd=c.dir).out == "here\n"


def test_a_relative_root_starts_at_the_current_directory(rt, container, work):
    c = container(["sleep", "1000"])
    c.write_config()
    rt("--root", "a/../relative//root", "run", "--detach", "--bundle", c.dir, c.id, cwd=work,
       stdout=subprocess.DEVNULL)
    assert os.path.isdir(f"{work}/relative/root/{c.id}")
    assert rt("--root", work + "/relative/root", "list", "-q").out == c.id + "\n"
    rt("--root", "relative/root", "delete", "--force", c.id, cwd=work)


def test_a_bundle_and_its_files_can_be_relative(container, work):
    c = container(["echo", "here"])
    c.write_config()
    name = os.path.basename(c.dir)
    c.rt("run", "--detach", "--bundle", name, "--pid-file", "pid.relative", c.id, cwd=work)
    with open(work + "/pid.relative") as f:
        assert f.read().isdigit()


def test_a_configuration_of_another_name(container):
    c = container(["echo", "other"])
    c.write_config()
    os.rename(c.dir + "/config.json", c.dir + "/other.json")
    assert c.rt("run", "--config", c.dir + "/other.json", "--bundle", c.dir, c.id).out == "other\n"


def test_a_root_that_cannot_be_made_is_named(rt, container, work):
    c = container()
    c.write_config()
    with open(work + "/file", "w"):
        pass
    result = rt("--root", work + "/file/root", "create", "--bundle", c.dir, c.id, ok=False)
    assert work + "/file" in result.err


@pytest.mark.parametrize("name", ["bundle", "pid-file", "console-socket", "pidfd-socket"])
def test_files_that_cannot_be_used_are_named(container, name, work):
    c = container(changes={"process": {"terminal": True}} if name == "console-socket" else None)
    c.write_config()
    path = work + "/no/such/thing"
    flags = ["--bundle", c.dir, f"--{name}", path]
    result = c.rt("create", *flags, c.id, ok=False)
    assert path in result.err
    assert not c.exists()


# The log

def test_an_error_goes_to_the_log_and_to_standard_error(rt, work):
    log = work + "/log"
    result = rt("--root", work, "--log", log, "--log-format=json", "state", "nobody", ok=False)
    with open(log) as f:
        lines = [json.loads(line) for line in f]
    assert len(lines) == 1
    assert lines[0]["level"] == "error"
    assert "container 'nobody' does not exist" in lines[0]["msg"]
    told = datetime.datetime.strptime(lines[0]["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert abs((datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - told).total_seconds()) < 5
    assert "container 'nobody' does not exist" in result.err


def test_a_text_log_is_as_engines_read_it(rt, work):
    log = work + "/log"
    rt("--root", work, "--log", log, "state", 'quo"te', ok=False)
    with open(log) as f:
        line = f.read()
    assert re.fullmatch(r'time="[^"]+" level=error msg="(\\.|[^"\\])*"\n', line)


def test_the_log_is_appended_to(rt, work):
    log = work + "/log"
    for _ in range(3):
        rt("--root", work, "--log", log, "--log-format", "json", "state", "nobody", ok=False)
    with open(log) as f:
        assert len(f.readlines()) == 3


@pytest.mark.parametrize("bytes", [
    b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82",
    b"\xf4\x90\x80\x80",
    b"\x01\x1f\x7f", b"quote\" backslash\\ newline\n tab\t", "ünïcödé €".encode(),
], ids=repr)
def test_whatever_an_argument_is_the_json_log_can_be_read(rt, work, bytes):
    log = work + "/log"
    subprocess.run([*map(os.fsencode, logging_argv(work, log)), b"state", bytes],
                   stdin=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False)
    with open(log, "rb") as f:
        line = json.loads(f.read().decode("utf-8", errors="strict"))
    assert line["level"] == "error" and "id" in line["msg"]


def logging_argv(work, log):
    return [runtime(), "--root", work, "--log", log, "--log-format", "json"]


def test_a_successful_command_logs_nothing(container, work):
    c = container(["true"], globals=["--log", work + "/log", "--log-format", "json"])
    result = c.run()
    assert result.err == ""
    assert os.path.getsize(work + "/log") == 0


def test_a_log_that_cannot_be_opened_is_an_error(rt, work):
    assert "/no/such" in rt("--log", work + "/no/such/log", "list", ok=False).err


def test_debug_tells_where_an_error_comes_from(rt, work):
    err = rt("--root", work, "--debug", "state", "nobody", ok=False).err
    assert re.search(r"runtime/\w+/\w+\.c:\d+", err)


def test_what_a_failed_child_says_is_in_the_log_of_the_engine(container, work):
    c = container(["nosuchprogram"], globals=["--log", work + "/log", "--log-format", "json"])
    c.create(ok=False)
    with open(work + "/log") as f:
        messages = [json.loads(line)["msg"] for line in f]
    assert any("executable file not found in $PATH" in m for m in messages)


def test_a_full_standard_output_is_an_error(rt):
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        for words in (["features"], ["--version"], ["--help"], ["completion", "bash"]):
            assert "no space left" in rt(*words, stdout=fd, ok=False).err
    finally:
        os.close(fd)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(container, closed):
    c = container(["sh", "-c", "ls -l /proc/self/fd > /fds"])
    c.write_config()
    command = " ".join(c.argv("run", "--bundle", c.dir, c.id))
    assert proc.run(["sh", "-c", f"{command} {closed}"], ok=None).code == 0
    with open(c.host_path("/fds")) as f:
        links = [line for line in f if "->" in line]
    assert all("config.json" not in line and "lock" not in line for line in links)


# Help and what comes of the table

def test_the_version_is_as_docker_parses_it(rt):
    for word in ("--version", "-v"):
        lines = rt(word).out.splitlines()
        assert re.fullmatch(r"rt version \d+\.\d+\.\d+\S*", lines[0])
        if not lines[1].startswith("spec"):  # built from a checkout
            assert re.fullmatch(r"commit: \S*", lines.pop(1))
        assert re.fullmatch(r"spec: 1\.\d+\.\d+\S*", lines[1])
        assert all(": " in line or line.startswith("+") for line in lines[1:])


def test_without_a_command_there_is_help(rt):
    assert rt().out == rt("--help").out == rt("-h").out == rt("help").out
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", rt("--help").out, re.M)


@pytest.mark.parametrize("name", COMMANDS + SUB_COMMANDS)
def test_every_command_has_help_and_a_manual_page(rt, name, work):
    words = name.split()
    text = rt(*words, "--help").out
    assert text == rt(*words, "-h").out == rt("help", *words).out
    assert f"rt [global options] {name}" in text or f"rt {name}" in text
    page = rt("man", *words).out
    assert page.startswith(f".TH RT-{name.upper().replace(' ', '-')} 1 ")
    assert page.startswith(".TH") and ".SH NAME" in page and ".SH SYNOPSIS" in page
    for option in re.findall(r"^ +(?:-\w, |    )--([\w-]+)", text, re.M):
        assert option == "help" or option.replace("-", "\\-") in page
    assert rt(*words, "--help", "--nosuch", ok=None).code in (0, 1)


def test_a_command_names_its_sub_commands_and_its_page_leads_to_theirs(rt):
    assert re.search(r"^  validate  ", rt("spec", "--help").out, re.M)
    assert not re.search(r"^  spec validate ", rt("--help").out, re.M)
    assert ".BR rt\\-spec\\-validate (1)" in rt("man", "spec").out
    assert ".BR rt\\-spec (1)" in rt("man", "spec", "validate").out
    assert "rt\\-spec\\-validate" not in rt("man").out


def test_help_needs_nothing_else(rt, work):
    """Engines probe like this, with options or operands missing."""
    assert rt("--root", "/nonexistent", "create", "--help").out
    assert rt("exec", "--tty", "--help").out


@pytest.mark.parametrize("shell, check", [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]),
                                          ("fish", ["fish", "--no-execute"])])
def test_completions_are_the_shells_own_language(rt, work, shell, check):
    text = rt("completion", shell).out
    for name in COMMANDS:
        assert name in text
    assert "console-socket" in text
    path = f"{work}/completion"
    with open(path, "w") as f:
        f.write(text)
    if not any(os.access(f"{d}/{check[0]}", os.X_OK) for d in ("/bin", "/usr/bin")):
        pytest.skip(f"no {shell} on this machine")
    assert proc.run([*check, path]).err == ""


def complete(rt, work, *words):
    """What bash offers for the last of the words."""
    with open(work + "/completion", "w") as f:
        f.write(rt("completion", "bash").out)
    quoted = " ".join(f"'{w}'" for w in words)
    script = (f". {work}/completion; name=$(complete -p rt | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
              f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMP_LINE='{' '.join(words)}'; "
              f"COMP_POINT=${{#COMP_LINE}}; $name rt '{words[-1]}' '{words[-2]}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    env = {"PATH": f"{work}/bin:/usr/bin:/bin"}
    os.makedirs(work + "/bin", exist_ok=True)
    if not os.path.exists(work + "/bin/rt"):
        os.symlink(runtime(), work + "/bin/rt")
    return [w.strip() for w in proc.run(["bash", "-c", script], env=env).out.splitlines()]


def test_bash_completes_commands_and_options_and_ids(rt, work, container):
    assert {"pause", "ps"} == set(complete(rt, work, "rt", "p"))
    assert "--console-socket" in complete(rt, work, "rt", "create", "--c")
    assert "--root" in complete(rt, work, "rt", "--ro")
    c = container(id="completeme")
    c.create()
    assert complete(rt, work, "rt", "--root", c.root, "state", "comp") == ["completeme"]
    assert "validate" in complete(rt, work, "rt", "spec", "v")
    assert complete(rt, work, "rt", "spec", "generate", "--hostn") == ["--hostname"]
    assert complete(rt, work, "rt", "spec", "--bundle=x", "v") != ["validate"]
    assert complete(rt, work, "rt", "--root", "/x", "spec", "validate", "--") == ["--host", "--help"]
    assert "--bundle" in complete(rt, work, "rt", "spec", "--")


def test_features_are_what_the_specification_describes(rt):
    features = json.loads(rt("features").out)
    assert features["ociVersionMin"].startswith("1.") and features["ociVersionMax"] == "1.3.0"
    assert "createRuntime" in features["hooks"]
    assert {"rbind", "ro", "idmap"} <= set(features["mountOptions"])
    linux = features["linux"]
    assert set(linux["namespaces"]) == {"cgroup", "ipc", "mount", "network", "pid", "time", "user",
                                        "uts"}
    assert "CAP_SYS_ADMIN" in linux["capabilities"]
    assert linux["seccomp"]["enabled"] is True and "SCMP_ACT_NOTIFY" in linux["seccomp"]["actions"]
    assert linux["cgroup"]["v1"] and linux["cgroup"]["v2"]


# spec

def test_the_specs_configuration_runs(rt, container):
    c = container()
    rt("spec", "--bundle", c.dir)
    with open(c.dir + "/config.json") as f:
        c.config = json.load(f)
    assert c.config["process"]["args"] == ["sh"]
    c.config["process"].update(terminal=False, args=["echo", "hello"])
    assert c.run().out == "hello\n"


def test_spec_never_overwrites(rt, work):
    with open(work + "/config.json", "w") as f:
        f.write("mine")
    assert "exists" in rt("spec", cwd=work, ok=False).err
    with open(work + "/config.json") as f:
        assert f.read() == "mine"
