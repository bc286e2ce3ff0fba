// Key bytes in memory that is not swapped, not dumped, not inherited by a child, and wiped when it is given
// back.
//
// Each secret has pages of its own between two inaccessible ones: mlock() (no swap), MADV_DONTDUMP (no core
// file) and MADV_DONTFORK (a child that touches a key crashes; a wiped copy would go on under a key that
// everyone knows). Thread safety: as of a plain value. Nothing in here logs, and no error message quotes the
// secret.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace flowtap::lib {

/// Owns its bytes; move-only. Page-aligned. Wiped (OPENSSL_cleanse) on destruction and on being moved over.
class SecretBytes {
  public:
    SecretBytes() = default;
    SecretBytes(SecretBytes&& other) noexcept;
    SecretBytes& operator=(SecretBytes&& other) noexcept;
    SecretBytes(const SecretBytes&) = delete;
    SecretBytes& operator=(const SecretBytes&) = delete;
    ~SecretBytes();

    /// `size` zero bytes. Fails when the memory cannot be locked (RLIMIT_MEMLOCK without CAP_IPC_LOCK) or
    /// had.
    static std::expected<SecretBytes, std::string> allocate(std::size_t size);

    /// A copy of the bytes; the original is still the caller's to wipe.
    static std::expected<SecretBytes, std::string> copy_of(std::span<const std::uint8_t> bytes);

    /// An even number of hexadecimal digits of either case, nothing else. The error says where (from 1) the
    /// first wrong character stands, not what it is.
    static std::expected<SecretBytes, std::string> from_hex(std::string_view digits);

    std::span<std::uint8_t> bytes() { return {data_, size_}; }
    std::span<const std::uint8_t> bytes() const { return {data_, size_}; }
    std::uint8_t* data() { return data_; }
    const std::uint8_t* data() const { return data_; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    /// Forgets the bytes from `size` on (wiped at once); `size` beyond the end changes nothing.
    void truncate(std::size_t size);

  private:
    SecretBytes(std::uint8_t* data, std::size_t size) : data_(data), size_(size), capacity_(size) {}
    void release() noexcept;

    std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;  ///< bytes asked for at allocation: what is mapped and to be wiped
};

/// Equal in length and content, in a time that depends on the lengths only.
bool constant_time_equal(std::span<const std::uint8_t> left, std::span<const std::uint8_t> right);

/// What read_secret_file accepts.
struct SecretFileRules {
    std::size_t largest = std::size_t{64} * 1024;  ///< bytes
    mode_t widest_mode = 0600;                     ///< no permission bit outside of these
};

/// The whole content of a regular file, checked on the opened descriptor, never buffered elsewhere. The error
/// says what is wrong and what would be right; naming the file is left to the caller.
std::expected<SecretBytes, std::string> read_secret_file(const std::filesystem::path& file,
                                                         const SecretFileRules& rules = {});

}  // namespace flowtap::lib
