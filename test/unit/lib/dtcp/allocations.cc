#include "test/unit/lib/dtcp/allocations.h"

#include <cstdlib>
#include <new>

namespace {

std::size_t allocated = 0;  // the tests run in one thread

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // whose own these are

void* operator new(std::size_t size) {
    allocated += size;
    if (void* const memory = std::malloc(size == 0 ? 1 : size); memory != nullptr) {
        return memory;
    }
    throw std::bad_alloc{};
}

void operator delete(void* memory) noexcept {
    std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

#endif

namespace flowtap::test {

Allocations::Allocations() : start_{allocated} {}

std::size_t Allocations::bytes_since() const {
    return allocated - start_;
}

}  // namespace flowtap::test
