"""Accounts of a box that exist for one test or demo only.

A directory holds a passwd, group and shadow file of its own, home directories, SSH keys and an empty /run; the script
DIRECTORY/enter runs a command in a private mount namespace in which these lie over the machine's. Whatever is started
through it sees the accounts (PAM and sshd too) and shares that /run; the machine itself never changes. Root only.

    with Accounts() as accounts:
        Daemon("flowtap-gate", "--config", file, prefix=accounts.prefix, log=...)

From a shell: `accounts.py DIRECTORY` makes the directory (which must not exist), `DIRECTORY/enter COMMAND ...` uses it,
`rm -r DIRECTORY` ends it. In a network namespace: `ip netns exec NAME DIRECTORY/enter COMMAND ...`.
"""

import dataclasses
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile

# Above what Debian gives to accounts and services (adduser.conf: 1000..59999).
FIRST_ID = 64100


@dataclasses.dataclass(frozen=True)
class User:
    name: str
    groups: tuple = ()
    shell: str = "/bin/sh"


GROUPS = ("flowtap", "flowtap-control", "flowtap-operation")
USERS = (
    User("ft-ttp", ("flowtap-operation",)),  # a mediation device
    User("ft-two", ("flowtap-operation",)),  # another agency's
    User("officer", ("flowtap-operation",)),  # a lawful-interception officer
    User("noc", ("flowtap",)),
    User("flowtap-control", ("flowtap-control",), "/usr/sbin/nologin"),  # the control process's account
)

ENTER = """#!/bin/sh
# Runs a command where the accounts of {directory} exist; the process id stays the caller's.
exec unshare --mount --propagation private /bin/sh -c '
set -e
d={directory}
for name in passwd group shadow gshadow nsswitch.conf; do
    mount --bind "$d/etc/$name" "/etc/$name"
done
# The named network namespaces stay usable; mounted over /run and not in the directory, which is removed some day.
if [ -d /run/netns ]; then
    exec 9</run/netns
    mkdir -p "$d/run/netns"
    mount --bind "$d/run" /run
    mount --no-canonicalize --rbind /proc/self/fd/9 /run/netns
    exec 9<&-
else
    mount --bind "$d/run" /run
fi
exec "$@"
' enter "$@"
"""


def _others_can_reach(path):
    for parent in [path, *path.parents]:
        if not parent.stat().st_mode & 0o001:
            raise AssertionError(f"{parent} cannot be passed by other users: accounts cannot live in {path}")


def _crypt(password):
    return subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, text=True, check=True,
                          capture_output=True).stdout.strip()


class Accounts:
    """Makes the directory; as a `with` block it is removed at the end (processes that use it must be gone)."""

    def __init__(self, directory=None, users=USERS, groups=GROUPS):
        if directory is None:
            self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ft-accounts-"))
        else:
            self.directory = pathlib.Path(directory).absolute()
            self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)
        _others_can_reach(self.directory)
        self.users = {user.name: user for user in users}
        self.passwords = {user.name: secrets.token_urlsafe(12) for user in users}
        self._ids = {name: FIRST_ID + i for i, name in
                     enumerate(dict.fromkeys([*groups, *(user.name for user in users)]))}
        for part in ("etc", "home", "keys", "run", "bin"):
            (self.directory / part).mkdir(mode=0o755)
        (self.directory / "keys").chmod(0o700)
        self._write_databases()
        self._write_keys()
        self.enter = self.directory / "enter"
        self._write("enter", ENTER.format(directory=self.directory), 0o755)

    @property
    def prefix(self):
        """What to put before a command so that it runs with the accounts."""
        return [str(self.enter)]

    @property
    def run(self):
        """The /run of the commands inside, as it is seen outside."""
        return self.directory / "run"

    @property
    def host_key(self):
        """For sshd: `host-keys` of the configuration."""
        return self.directory / "keys" / "host"

    def identity(self, user):
        """The private key that logs the user in."""
        return self.directory / "keys" / user

    def uid(self, user):
        return self._ids[user]

    def install(self, program):
        """A copy of the program that every account can run, wherever it was built."""
        copy = self.directory / "bin" / pathlib.Path(program).name
        fresh = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
        shutil.copy2(program, fresh)
        fresh.chmod(0o755)
        fresh.rename(copy)  # an older copy may be running
        return copy

    def known_hosts(self, host, port):
        """A known_hosts file that holds the host key for this host and port."""
        kind, key = pathlib.Path(f"{self.host_key}.pub").read_text().split()[:2]
        line = f"[{host}]:{port} {kind} {key}\n"
        path = self.directory / "known_hosts"
        # Clients that are on their way are reading it: it is not written again for nothing.
        if path.exists() and path.read_text() == line:
            return path
        return self._write("known_hosts", line, 0o644)

    def remove(self):
        shutil.rmtree(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def _write(self, name, text, mode):
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        path.chmod(mode)
        return path

    def _write_databases(self):
        mine = set(self._ids)
        def others(file):
            return [line for line in pathlib.Path(file).read_text().splitlines()
                    if line and line.split(":")[0] not in mine]

        passwd, group = others("/etc/passwd"), others("/etc/group")
        # The machine's own passwords stay where they are: nobody but the new accounts can log in by one.
        shadow = [f"{line.split(':')[0]}:*:19000:0:99999:7:::" for line in passwd]
        for name in self._ids:
            members = ",".join(user.name for user in self.users.values() if name in user.groups)
            group.append(f"{name}:x:{self._ids[name]}:{members}")
        for name, user in self.users.items():
            passwd.append(f"{name}:x:{self.uid(name)}:{self.uid(name)}::{self.directory}/home/{name}:{user.shell}")
            shadow.append(f"{name}:{_crypt(self.passwords[name])}:19000:0:99999:7:::")
        gshadow = [f"{line.split(':')[0]}:*::" for line in group]
        nsswitch = [f"{what}: files" for what in ("passwd", "group", "shadow", "gshadow")] + ["hosts: files dns"]
        for name, lines, mode in (("passwd", passwd, 0o644), ("group", group, 0o644), ("shadow", shadow, 0o600),
                                  ("gshadow", gshadow, 0o600), ("nsswitch.conf", nsswitch, 0o644)):
            self._write(f"etc/{name}", "\n".join(lines) + "\n", mode)

    def _write_keys(self):
        for name in ("host", *self.users):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f",
                            str(self.directory / "keys" / name)], check=True)
        for name in self.users:
            home = self.directory / "home" / name
            (home / ".ssh").mkdir(parents=True)
            shutil.copy(self.directory / "keys" / f"{name}.pub", home / ".ssh" / "authorized_keys")
            for path, mode in ((home, 0o700), (home / ".ssh", 0o700), (home / ".ssh" / "authorized_keys", 0o600)):
                path.chmod(mode)
                os.chown(path, self.uid(name), self.uid(name))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY")
    print(Accounts(sys.argv[1]).enter)
