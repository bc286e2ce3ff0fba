#include "lib/secret.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using Catch::Contains;
using flowtap::lib::constant_time_equal;
using flowtap::lib::read_secret_file;
using flowtap::lib::SecretBytes;

/// The kernel's flags of the mapping that holds the address ("rd", "lo", ...), from /proc/self/smaps.
std::string mapping_flags(const void* address) {
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    std::ifstream smaps("/proc/self/smaps");
    bool inside = false;
    for (std::string line; std::getline(smaps, line);) {
        std::uintptr_t first = 0;
        std::uintptr_t last = 0;
        char dash = 0;
        std::istringstream head(line);
        if (line.find(':') > line.find('-') && head >> std::hex >> first >> dash >> last && dash == '-') {
            inside = wanted >= first && wanted < last;
        } else if (inside && line.starts_with("VmFlags:")) {
            return line + " ";
        }
    }
    return "no such mapping";
}

/// Whether this process could read a byte there; asks the kernel instead of trying.
bool readable(const std::uint8_t* address) {
    std::uint8_t byte = 0;
    const iovec local{&byte, 1};
    const iovec remote{const_cast<std::uint8_t*>(address), 1};
    return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == 1;
}

/// Runs `work` in a child and returns its wait status; what it returns is the child's exit code.
template <typename Work>
int in_child(const Work& work) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::signal(SIGSEGV, SIG_DFL);
        const rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
        ::_exit(work());
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return status;
}

class Folder {
  public:
    Folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "flowtap-secret-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path_); }

    std::filesystem::path file(const std::string& name, const std::string& content, mode_t mode) const {
        const auto path = path_ / name;
        std::ofstream(path, std::ios::binary) << content;
        REQUIRE(::chmod(path.c_str(), mode) == 0);
        return path;
    }
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

std::string text(const SecretBytes& secret) {
    return {reinterpret_cast<const char*>(secret.data()), secret.size()};
}

TEST_CASE("a secret's pages are locked, kept out of core files and of children, and fenced", "[as-shipped]") {
    for (const std::size_t size : {std::size_t{1}, std::size_t{36}, std::size_t{4096}, std::size_t{4097}}) {
        const auto secret = SecretBytes::allocate(size);
        REQUIRE(secret.has_value());
        REQUIRE(secret->size() == size);
        CHECK(std::ranges::all_of(secret->bytes(), [](std::uint8_t byte) { return byte == 0; }));
        const std::string flags = mapping_flags(secret->data());
        CHECK_THAT(flags, Contains(" lo ") && Contains(" dd ") && Contains(" dc "));
        const std::size_t pages = (size + 4095) / 4096;
        CHECK(readable(secret->data() + pages * 4096 - 1));
        CHECK_FALSE(readable(secret->data() - 1));
        CHECK_FALSE(readable(secret->data() + pages * 4096));
    }
}

TEST_CASE("a secret's memory goes when its owner goes") {
    const std::uint8_t* where = nullptr;
    {
        auto secret = SecretBytes::from_hex("0102");
        REQUIRE(secret.has_value());
        where = secret->data();
        SecretBytes other = std::move(*secret);
        CHECK(secret->empty());
        CHECK(other.data() == where);
        CHECK(readable(where));
        other = SecretBytes();
        CHECK_FALSE(readable(where));
    }
}

TEST_CASE("a child that touches a parent's secret is killed") {
    const auto secret = SecretBytes::from_hex("0102");
    REQUIRE(secret.has_value());
    const volatile std::uint8_t* const first = secret->data();
    const int status = in_child([&] { return *first == 1 ? 0 : 1; });
    // A sanitizer turns the signal into an exit code of its own; 0 and 1 would mean that the child read on.
    CHECK((WIFSIGNALED(status) || WEXITSTATUS(status) > 1));
}

TEST_CASE("truncation wipes what it cuts off") {
    auto secret = SecretBytes::from_hex("0102030405");
    REQUIRE(secret.has_value());
    secret->truncate(9);
    CHECK(secret->size() == 5);
    secret->truncate(2);
    CHECK(secret->size() == 2);
    CHECK(std::equal(secret->data(), secret->data() + 5, std::array<std::uint8_t, 5>{1, 2, 0, 0, 0}.begin()));
}

TEST_CASE("memory that cannot be locked is refused with the limit's name", "[as-shipped]") {
    const int status = in_child([] {
        const rlimit none{0, 0};
        if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (::geteuid() == 0 && ::setuid(65'534) != 0)) {
            return 2;
        }
        const auto secret = SecretBytes::allocate(32);
        return !secret && secret.error().find("RLIMIT_MEMLOCK") != std::string::npos ? 0 : 1;
    });
    CHECK(status == 0);
}

TEST_CASE("hexadecimal digits become bytes, anything else is named by its place") {
    const auto good = SecretBytes::from_hex("00fFaB7e");
    REQUIRE(good.has_value());
    CHECK(std::ranges::equal(good->bytes(), std::array<std::uint8_t, 4>{0x00, 0xff, 0xab, 0x7e}));
    CHECK(SecretBytes::from_hex("").value().empty());
    CHECK_THAT(SecretBytes::from_hex("00g1").error(), Contains("character 3"));
    CHECK_THAT(SecretBytes::from_hex("0x11").error(), Contains("character 2"));
    CHECK_THAT(SecretBytes::from_hex(" 011").error(), Contains("character 1"));
    CHECK_THAT(SecretBytes::from_hex("001").error(), Contains("3 hexadecimal digits"));
}

TEST_CASE("equality looks at length and content") {
    const std::array<std::uint8_t, 3> a{1, 2, 3};
    const std::array<std::uint8_t, 3> b{1, 2, 4};
    CHECK(constant_time_equal(a, a));
    CHECK_FALSE(constant_time_equal(a, b));
    CHECK_FALSE(constant_time_equal(a, std::span(a).first(2)));
    CHECK(constant_time_equal({}, {}));
}

TEST_CASE("a secret file is read whole, whatever bytes it holds") {
    const Folder folder;
    const std::string content("a\0b\r\n\xff", 6);
    CHECK(text(read_secret_file(folder.file("a", content, 0600)).value()) == content);
    CHECK(text(read_secret_file(folder.file("b", content, 0400)).value()) == content);
    CHECK(read_secret_file(folder.file("c", "", 0600)).value().empty());
    std::filesystem::create_symlink(folder.path() / "a", folder.path() / "link");
    CHECK(text(read_secret_file(folder.path() / "link").value()) == content);
}

TEST_CASE("a secret file that others may read is refused") {
    const Folder folder;
    for (const mode_t mode :
         {mode_t{0640}, mode_t{0604}, mode_t{0644}, mode_t{0620}, mode_t{0700}, mode_t{04600}}) {
        const auto secret = read_secret_file(folder.file("wide", "x", mode));
        REQUIRE_FALSE(secret.has_value());
        CHECK_THAT(secret.error(), Contains("mode is ") && Contains("chmod 600"));
    }
    CHECK(read_secret_file(folder.file("group", "x", 0640), {.widest_mode = 0640}).has_value());
}

TEST_CASE("what is not a regular file of a sensible size is refused, and never waited for") {
    const Folder folder;
    const auto fifo = folder.path() / "fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    CHECK_THAT(read_secret_file(fifo).error(), Contains("not a regular file"));
    CHECK_THAT(read_secret_file(folder.path()).error(), Contains("not a regular file"));
    CHECK_THAT(read_secret_file(folder.path() / "none").error(), Contains("No such file"));
    const auto big = folder.file("big", std::string(101, 'x'), 0600);
    CHECK_THAT(read_secret_file(big, {.largest = 100}).error(), Contains("101 bytes") && Contains("100"));
    CHECK(read_secret_file(big, {.largest = 101}).value().size() == 101);
}

}  // namespace
