#include "dataplane/large_pages.h"

#include <cstdint>
#include <new>
#include <sys/mman.h>

namespace flowtap::dataplane {
namespace {

std::size_t round_to_page(std::size_t bytes) {
    return (bytes + LargePages::page - 1) / LargePages::page * LargePages::page;
}

}  // namespace

void* LargePages::do_allocate(std::size_t bytes, std::size_t alignment) {
    if (bytes < page || alignment > page) {
        return ::operator new(bytes, std::align_val_t{alignment});
    }
    // One page more than is needed holds an aligned block somewhere; the rest is given back.
    const std::size_t size = round_to_page(bytes);
    void* const mapped =
        mmap(nullptr, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        throw std::bad_alloc{};
    }
    auto* const start = static_cast<std::uint8_t*>(mapped);
    const std::size_t before = (page - reinterpret_cast<std::uintptr_t>(mapped) % page) % page;
    if (before != 0) {
        munmap(start, before);
    }
    if (const std::size_t after = page - before; after != 0) {
        munmap(start + before + size, after);
    }
    madvise(start + before, size, MADV_HUGEPAGE);  // refused: ordinary pages do as well, only slower
    return start + before;
}

void LargePages::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
    if (bytes < page || alignment > page) {
        ::operator delete(block, bytes, std::align_val_t{alignment});
        return;
    }
    munmap(block, round_to_page(bytes));
}

}  // namespace flowtap::dataplane
