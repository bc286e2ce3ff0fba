// Containers of records that may hold keys: their memory is wiped whenever it is given back, growth included.
#pragma once

#include <openssl/crypto.h>

#include <cstddef>
#include <memory>

namespace flowtap::lib {

template <typename Type>
struct CleansingAllocator {
    using value_type = Type;

    CleansingAllocator() = default;
    template <typename Other>
    // NOLINTNEXTLINE(google-explicit-constructor): containers convert allocators
    CleansingAllocator(const CleansingAllocator<Other>&) noexcept {}

    Type* allocate(std::size_t count) { return std::allocator<Type>{}.allocate(count); }
    void deallocate(Type* memory, std::size_t count) noexcept {
        OPENSSL_cleanse(memory, count * sizeof(Type));
        std::allocator<Type>{}.deallocate(memory, count);
    }

    template <typename Other>
    bool operator==(const CleansingAllocator<Other>&) const noexcept {
        return true;
    }
};

}  // namespace flowtap::lib
