#include "lib/secret.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace flowtap::lib {
namespace {

std::string reason(int error) {
    return std::generic_category().message(error);
}

std::size_t page_size() {
    static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

/// The accessible part of an allocation: whole pages.
std::size_t whole_pages(std::size_t size) {
    return (size + page_size() - 1) / page_size() * page_size();
}

/// Closes a descriptor at the end of a scope.
class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    int get() const { return number_; }

  private:
    int number_;
};

std::optional<unsigned> hex_value(char digit) {
    if (digit >= '0' && digit <= '9') {
        return static_cast<unsigned>(digit - '0');
    }
    if (digit >= 'a' && digit <= 'f') {
        return static_cast<unsigned>(digit - 'a' + 10);
    }
    if (digit >= 'A' && digit <= 'F') {
        return static_cast<unsigned>(digit - 'A' + 10);
    }
    return std::nullopt;
}

/// Reads until `buffer` is full or the file ends; bytes read.
std::expected<std::size_t, int> read_fully(int descriptor, std::span<std::uint8_t> buffer) {
    std::size_t done = 0;
    while (done < buffer.size()) {
        const ssize_t got = ::read(descriptor, buffer.data() + done, buffer.size() - done);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return std::unexpected(errno);
        }
        if (got == 0) {
            break;
        }
        done += static_cast<std::size_t>(got);
    }
    return done;
}

}  // namespace

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
        release();
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
        capacity_ = std::exchange(other.capacity_, 0);
    }
    return *this;
}

SecretBytes::~SecretBytes() {
    release();
}

void SecretBytes::release() noexcept {
    if (data_ == nullptr) {
        return;
    }
    OPENSSL_cleanse(data_, capacity_);
    ::munmap(data_ - page_size(), whole_pages(capacity_) + 2 * page_size());  // also unlocks
    data_ = nullptr;
    size_ = 0;
    capacity_ = 0;
}

std::expected<SecretBytes, std::string> SecretBytes::allocate(std::size_t size) {
    if (size == 0) {
        return SecretBytes();
    }
    const std::size_t inside = whole_pages(size);
    const std::size_t mapped = inside + 2 * page_size();
    void* const outer = ::mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (outer == MAP_FAILED) {
        return std::unexpected(fmt::format("no memory for {} secret bytes: {}", size, reason(errno)));
    }
    std::uint8_t* const data = static_cast<std::uint8_t*>(outer) + page_size();
    const bool made = ::mprotect(data, inside, PROT_READ | PROT_WRITE) == 0 &&
                      ::madvise(data, inside, MADV_DONTDUMP) == 0 &&
                      ::madvise(data, inside, MADV_DONTFORK) == 0;
    if (!made) {
        const int error = errno;
        ::munmap(outer, mapped);
        return std::unexpected(fmt::format("cannot protect memory for a secret: {}", reason(error)));
    }
    if (::mlock(data, inside) != 0) {
        const int error = errno;
        ::munmap(outer, mapped);
        return std::unexpected(
            fmt::format("cannot lock {} bytes in memory for a secret: {}; raise RLIMIT_MEMLOCK (ulimit -l, "
                        "LimitMEMLOCK=) or "
                        "grant CAP_IPC_LOCK",
                        inside, reason(error)));
    }
    return SecretBytes(data, size);
}

std::expected<SecretBytes, std::string> SecretBytes::copy_of(std::span<const std::uint8_t> bytes) {
    auto secret = allocate(bytes.size());
    if (secret && !bytes.empty()) {
        std::memcpy(secret->data(), bytes.data(), bytes.size());
    }
    return secret;
}

std::expected<SecretBytes, std::string> SecretBytes::from_hex(std::string_view digits) {
    // Every character is judged before the count is: "where is the typo" is the more useful answer.
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (!hex_value(digits[i])) {
            return std::unexpected(
                fmt::format("character {} is not a hexadecimal digit (0-9, a-f, A-F)", i + 1));
        }
    }
    if (digits.size() % 2 != 0) {
        return std::unexpected(
            fmt::format("{} hexadecimal digits; an even number, two a byte, is needed", digits.size()));
    }
    auto secret = allocate(digits.size() / 2);
    if (!secret) {
        return secret;
    }
    for (std::size_t i = 0; i < secret->size(); ++i) {
        secret->data()[i] =
            static_cast<std::uint8_t>(*hex_value(digits[2 * i]) << 4 | *hex_value(digits[2 * i + 1]));
    }
    return secret;
}

void SecretBytes::truncate(std::size_t size) {
    if (size < size_) {
        OPENSSL_cleanse(data_ + size, size_ - size);
        size_ = size;
    }
}

bool constant_time_equal(std::span<const std::uint8_t> left, std::span<const std::uint8_t> right) {
    return left.size() == right.size() &&
           (left.empty() || CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0);
}

std::expected<SecretBytes, std::string> read_secret_file(const std::filesystem::path& file,
                                                         const SecretFileRules& rules) {
    const auto refuse = [](std::string why) { return std::unexpected(std::move(why)); };
    // Non-blocking, because opening a FIFO would wait for its writer.
    const Descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (opened.get() < 0) {
        return refuse(fmt::format("cannot open: {}", reason(errno)));
    }
    struct stat status{};
    if (::fstat(opened.get(), &status) != 0) {
        return refuse(fmt::format("cannot read its attributes: {}", reason(errno)));
    }
    if (!S_ISREG(status.st_mode)) {
        return refuse("not a regular file; a secret has to be in one");
    }
    if (const mode_t mode = status.st_mode & 07777; (mode & ~rules.widest_mode) != 0) {
        return refuse(fmt::format("mode is {:04o}; it may be {:04o} at most (chmod {:o})", mode,
                                  rules.widest_mode, rules.widest_mode));
    }
    if (status.st_size < 0 || static_cast<std::uintmax_t>(status.st_size) > rules.largest) {
        return refuse(fmt::format("{} bytes long; at most {} are read", status.st_size, rules.largest));
    }
    // One byte more than it should hold, to notice a file that grows while it is read.
    auto secret = SecretBytes::allocate(static_cast<std::size_t>(status.st_size) + 1);
    if (!secret) {
        return refuse(secret.error());
    }
    const auto got = read_fully(opened.get(), secret->bytes());
    if (!got) {
        return refuse(fmt::format("cannot read: {}", reason(got.error())));
    }
    if (*got == secret->size()) {
        return refuse("grew while it was read; write it aside and rename it into place");
    }
    secret->truncate(*got);
    return secret;
}

}  // namespace flowtap::lib
