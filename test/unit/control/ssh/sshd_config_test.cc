// The configuration written for sshd: what is in it, and that nobody else can put anything into it. What it
// does is proved against a real sshd by test_gate.py.
#include "control/ssh/sshd_config.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace flowtap::control::ssh {
namespace {

SshdSettings settings() {
    return {{"/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key"},
            "/usr/sbin/flowtap-dtcp",
            "/run/flowtap/dtcp.sock",
            "00112233445566778899aabbccddeeff"};
}

class Directory {
  public:
    Directory() {
        std::string name = "/tmp/ft-ssh-unit-XXXXXX";
        path_ = ::mkdtemp(name.data());
        REQUIRE_FALSE(path_.empty());
    }
    ~Directory() { std::filesystem::remove_all(path_); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

std::string content(const std::filesystem::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
}

TEST_CASE("the subsystem is the token, and the forced command serves the token only") {
    const auto text = sshd_config_text(settings()).value();
    CHECK(text.find("\nSubsystem flow-tap-dtcp 00112233445566778899aabbccddeeff\n") != std::string::npos);
    CHECK(text.find("\nForceCommand exec /usr/sbin/flowtap-dtcp --socket /run/flowtap/dtcp.sock --only "
                    "00112233445566778899aabbccddeeff\n") != std::string::npos);
    CHECK(text.find("\nHostKey /etc/ssh/ssh_host_ed25519_key\nHostKey /etc/ssh/ssh_host_rsa_key\n") !=
          std::string::npos);
}

TEST_CASE("a path that sshd's parser or the account's shell would read differently is refused") {
    for (const auto* path : {"relative/path", "/with space", "/a;b", "/a$b", "/a'b", "/a\"b",
                             "/a\nPermitTTY yes", "/a#b", "/a%u", "/a\\b", "/\xc3\xa9"}) {
        auto wrong = settings();
        wrong.bridge = path;
        CHECK(sshd_config_text(wrong).error().code == ExitCode::configuration);
        wrong = settings();
        wrong.socket = path;
        CHECK_FALSE(sshd_config_text(wrong).has_value());
        wrong = settings();
        wrong.host_keys.emplace_back(path);
        CHECK_FALSE(sshd_config_text(wrong).has_value());
    }
}

TEST_CASE("tokens are 128 bits and never the same") {
    std::set<std::string> seen;
    for (int i = 0; i < 100; ++i) {
        const auto token = random_token().value();
        CHECK(token.size() == 32);
        CHECK(std::ranges::all_of(token,
                                  [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }));
        CHECK(seen.insert(token).second);
    }
}

TEST_CASE("the file is root's alone, replaces an older one, and follows no link") {
    if (::geteuid() != 0) {
        SUCCEED("needs root: run-dir must be root's");
        return;
    }
    const Directory directory;
    const auto elsewhere = directory.path() / "elsewhere";
    std::ofstream(elsewhere) << "untouched";
    const auto run_dir = directory.path() / "run";
    REQUIRE(install_sshd_config("one\n", run_dir).value() == run_dir / "sshd_config");
    std::filesystem::create_symlink(elsewhere, run_dir / "sshd_config.new");
    std::filesystem::remove(run_dir / "sshd_config");
    std::filesystem::create_symlink(elsewhere, run_dir / "sshd_config");

    const auto file = install_sshd_config("two\n", run_dir).value();
    CHECK(content(file) == "two\n");
    CHECK(content(elsewhere) == "untouched");
    struct stat status{};
    REQUIRE(::lstat(file.c_str(), &status) == 0);
    CHECK(S_ISREG(status.st_mode));
    CHECK((status.st_mode & 07777U) == 0600U);
    CHECK(status.st_uid == 0);
}

TEST_CASE("a run-dir in which another user could swap the file is refused") {
    if (::geteuid() != 0) {
        SUCCEED("needs root: run-dir must be root's");
        return;
    }
    const Directory directory;
    const auto run_dir = directory.path() / "run";
    std::filesystem::create_directory(run_dir);
    const auto accepted = [&run_dir] { return install_sshd_config("x\n", run_dir).has_value(); };
    REQUIRE(accepted());

    REQUIRE(::chmod(run_dir.c_str(), 0775) == 0);
    CHECK_FALSE(accepted());
    CHECK(install_sshd_config("x\n", run_dir).error().code == ExitCode::configuration);
    REQUIRE(::chmod(run_dir.c_str(), 0777) == 0);
    CHECK_FALSE(accepted());
    REQUIRE(::chmod(run_dir.c_str(), 01775) == 0);
    CHECK(accepted());
    REQUIRE(::chown(run_dir.c_str(), 65534, 65534) == 0);
    CHECK_FALSE(accepted());
    REQUIRE(::chown(run_dir.c_str(), 0, 65534) == 0);
    CHECK(accepted());
    // The directories above count as well.
    REQUIRE(::chown(directory.path().c_str(), 65534, 0) == 0);
    CHECK_FALSE(accepted());
    REQUIRE(::chown(directory.path().c_str(), 0, 0) == 0);
    CHECK(accepted());
}

}  // namespace
}  // namespace flowtap::control::ssh
